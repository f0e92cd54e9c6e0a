"""Ray, where one machine is not enough: asked for by its address, and loaded only then."""

import logging
import os
import signal
import threading
import warnings
from importlib.util import find_spec
from types import ModuleType

from core.errors import ClusterError
from core.places import PROJECT

ENVIRONMENT = "DERMLENS_RAY"
ADDRESS_HELP = (
    "a Ray cluster to compute on: 'auto' for the one that this machine belongs to, or HOST:PORT of its head. "
    "Needs requirements-ray.txt"
)


def asked_for() -> str | None:
    """The address of the cluster that trunk outputs are to be computed on: `DERMLENS_RAY`. None: on this machine."""
    return os.environ.get(ENVIRONMENT) or None


def use(address: str | None) -> None:
    """Let this process and those it starts compute trunk outputs on a cluster; None changes nothing.

    Raises:
        ClusterError: Ray is not installed.
    """
    if address:
        _check_installed()
        os.environ[ENVIRONMENT] = address


def connect(address: str) -> ModuleType:
    """Ray, connected to a cluster whose workers know the package `core` as it is here.

    Args:
        address: "auto", "host:port" of the head, or "local" for a cluster on this machine that ends with the process.

    Returns:
        The module `ray`.

    Raises:
        ClusterError: Ray is not installed, or nothing answers there.
    """
    _check_installed()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a clinic's machine reports to nobody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray will do by itself in its next version
    os.environ.setdefault("RAY_TQDM_PATCH_PRINT", "0")  # or Ray puts a function of its own in the place of print
    import ray

    if ray.is_initialized():
        return ray
    main = threading.current_thread() is threading.main_thread()
    ours = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(
                address=address,
                logging_level=logging.ERROR,
                log_to_driver=False,
                runtime_env={"py_modules": [str(PROJECT / "core")], "env_vars": {"TF_CPP_MIN_LOG_LEVEL": "3"}},
            )
    except Exception as error:  # Ray raises ConnectionError, ValueError, RuntimeError and errors of its own
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ClusterError(
            f"--ray names a Ray cluster that this machine belongs to. Received: {address!r} ({reason[0]}). Start its "
            "head with 'ray start --head --port 6379', and on each other machine, this one included, "
            "'ray start --address HOST:6379', with the same versions everywhere."
        ) from error
    finally:
        if main and callable(ours):
            signal.signal(signal.SIGTERM, ours)  # Ray's ends the process at once; ours asks it to stop after its step
    return ray


def _check_installed() -> None:
    if find_spec("ray") is None:
        raise ClusterError(
            "A cluster is reached through Ray. Received: a Python without it. "
            "Install it here and on each machine: pip install -r requirements-ray.txt"
        )
