"""The tree of exceptions. Every message states the rule, then what arrived, then what to do.

DermLensError
├── ConfigError           a hyper-parameter out of bounds, or an unknown name
├── DatasetError          a data set that cannot be found or used
│   └── SplitLeakError    a lesion stands on both sides of a split
├── ImageError            bytes that are no readable image
├── WeightsError          pretrained weights that cannot be had
├── RunError              a run folder that cannot be used
│   ├── RunNotFoundError  no such run
│   ├── RunSchemaError    written by another version of DermLens
│   └── RunBusyError      another process is writing it, or a training is already under way
├── CaseLogError          the log of cases cannot be used, or refuses a value
│   └── CaseLogVersionError  written by another version of DermLens
├── ClusterError          a Ray cluster that cannot be reached, or loses its workers
├── TrainingStopped       somebody asked the training to stop
└── ServerError           a port in use, a server that does not come up
"""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec


class DermLensError(Exception):
    """Base of every error that DermLens raises on purpose; its text is fit to be shown to a user."""


class ConfigError(DermLensError):
    """A hyper-parameter is out of bounds, or a name is unknown."""


class DatasetError(DermLensError):
    """A data set cannot be found, read or used as it is."""


class SplitLeakError(DatasetError):
    """Images of one lesion stand in more than one part of a split."""


class ImageError(DermLensError):
    """The bytes that arrived cannot be read as one image within the size limits."""


class WeightsError(DermLensError):
    """Pretrained weights cannot be found, fetched or fitted to the backbone."""


class RunError(DermLensError):
    """A run folder cannot be used for what was asked."""


class RunNotFoundError(RunError):
    """There is no run of that name."""


class RunSchemaError(RunError):
    """The run was written by a version of DermLens whose files this one does not know."""


class RunBusyError(RunError):
    """Another process is writing the run, or a training is already under way."""


class CaseLogError(DermLensError):
    """The log of cases cannot be reached, read or written, or refuses what it is given."""


class CaseLogVersionError(CaseLogError):
    """The log of cases was written by a version of DermLens whose tables this one does not know."""


class ClusterError(DermLensError):
    """A Ray cluster cannot be reached, or what was computed on it was lost too often."""


class TrainingStopped(DermLensError):
    """Somebody asked the training to stop; what it had is kept."""


class ServerError(DermLensError):
    """A server cannot start: its port is in use, or it does not answer."""


_Arguments = ParamSpec("_Arguments")


def command(main: Callable[_Arguments, int]) -> Callable[_Arguments, int]:
    """A command line that tells its user in words what ended it.

    Args:
        main: returns the exit code.

    Returns:
        The same; an error of ours goes to stderr, with exit code 1, and a stop that was asked for gives 130.
    """

    @functools.wraps(main)
    def told(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except TrainingStopped as stop:
            print(stop, flush=True)
            return 130
        except KeyboardInterrupt:
            print("Ended at once.", flush=True)
            return 130
        except DermLensError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            return 1

    return told
