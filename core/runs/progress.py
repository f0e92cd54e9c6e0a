"""Say how far a run is, in its status file and on the terminal, and notice when it is asked to stop."""

import dataclasses
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from core.errors import DermLensError, TrainingStopped
from core.runs.run import STOP_REQUEST, Run
from core.runs.status import Status, own_process

HEARTBEAT = 2.0  # seconds between two writings of the status
PRINTING = 10.0  # seconds between two lines on the terminal


class Progress:
    """The voice of one training process.

    Args:
        run: the run that this process writes.
        epochs: at most so many.
    """

    def __init__(self, run: Run, epochs: int) -> None:
        self.run = run
        self.status = Status(state="running", epoch=run.status().epoch, epochs=epochs, **own_process())
        self._last_beat = self._last_line = 0.0
        self._phase_started = time.monotonic()

    @contextmanager
    def examining(self) -> Iterator[None]:
        """Examine a finished run in here: it stays finished, whatever happens, and the status says what did."""
        self.status = dataclasses.replace(self.status, state="finished", epoch=self.run.status().epoch)
        try:
            yield
        except BaseException as error:
            (self.run.folder / STOP_REQUEST).unlink(missing_ok=True)
            self._end("finished", "Not examined to the end.", str(error) or type(error).__name__)
            raise
        else:
            self._end("finished", "Finished and examined.")

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Run the training in here: however it ends, the status says so."""
        try:
            yield
        except TrainingStopped as stop:
            (self.run.folder / STOP_REQUEST).unlink(missing_ok=True)
            self._end("stopped", str(stop))
            raise
        except KeyboardInterrupt:
            self._end("stopped", "Ended at once.")
            raise
        except DermLensError as error:
            self._end("failed", "Failed.", str(error))
            raise
        except BaseException as error:
            self._end("failed", "Failed.", f"{type(error).__name__}: {error}")
            traceback.print_exc()
            raise
        else:
            self._end("finished", "Finished.")

    def phase(self, name: str, message: str) -> None:
        """Begin a phase."""
        self._phase_started = time.monotonic()
        self._write(phase=name, message=message, share=None, images_per_second=None, seconds_left=None)
        print(f"[{name}] {message}", flush=True)

    def step(self, done: int, total: int, already: int = 0) -> None:
        """Report images done in this phase; writes and prints every few seconds only.

        Args:
            done: images done so far.
            total: images to do.
            already: how many of `done` an earlier process had done.

        Raises:
            TrainingStopped: somebody asked the run to stop.
        """
        self.stop_if_asked()
        if time.monotonic() - self._last_beat < HEARTBEAT and done < total:
            return
        seconds = time.monotonic() - self._phase_started
        speed = (done - already) / seconds if seconds > 0 else 0.0
        left = (total - done) / speed if speed > 0 else None
        message = f"{done:,} of {total:,} images, {speed:,.0f} images/s, {_clock(left)} left"
        self._write(message=message, share=done / total, images_per_second=speed, seconds_left=left)
        if time.monotonic() - self._last_line >= PRINTING or done == total:
            self._last_line = time.monotonic()
            print(f"[{self.status.phase}] {message}", flush=True)

    def epoch(self, epoch: int, speed: float, seconds_left: float, message: str) -> None:
        """Report a whole epoch."""
        self._write(epoch=epoch, images_per_second=speed, seconds_left=seconds_left, message=message)
        counted = f"epoch {epoch} of at most {self.status.epochs}"
        left = f"at most {_clock(seconds_left)} left in this phase"
        print(f"[training] {counted}: {message}, {speed:,.0f} images/s, {left}", flush=True)

    def beat(self) -> None:
        """Keep the status fresh within an epoch.

        Raises:
            TrainingStopped: somebody asked the run to stop.
        """
        self.stop_if_asked()
        if time.monotonic() - self._last_beat >= HEARTBEAT:
            self._write()

    def stop_if_asked(self) -> None:
        """Raise `TrainingStopped` when there is a stop request."""
        if self.run.stop_requested():
            finished = self.status.state == "finished"
            command = "python -m core.evaluation --run" if finished else "python train.py --resume"
            raise TrainingStopped(f"Stopped on request. Go on with: {command} {self.run.called}")

    def _end(self, state: str, message: str, error: str | None = None) -> None:
        phase = "done" if state == "finished" else self.status.phase
        self._write(state=state, phase=phase, message=message, error=error, images_per_second=None, seconds_left=None)

    def _write(self, **changes: Any) -> None:
        self.status = dataclasses.replace(self.status, **changes)
        self.run.write_status(self.status)
        self._last_beat = time.monotonic()


def _clock(seconds: float | None) -> str:
    """Minutes and seconds, as on a clock."""
    if seconds is None:
        return "?"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
