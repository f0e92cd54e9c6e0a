"""Where a run stands: what its process wrote, and what a reader finds when that process is gone."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import psutil

ACTIVE = ("queued", "running")
STATES = (*ACTIVE, "finished", "failed", "stopped", "lost")
SAME_START = 1.0  # seconds: a start is told again with a clock that may have been set


@dataclass(frozen=True)
class Status:
    """Where a run stands.

    Attributes:
        state: one of `STATES`. "lost" is never written: it is what a reader finds when the process is gone
            and nobody had asked it to stop.
        phase: "waiting", "data", "trunk", "training", "evaluation", "examination" or "done".
        epoch, epochs: whole epochs done, and at most to do.
        share: of the present phase that is done, 0 to 1, or None.
        images_per_second: speed of the present phase, or None.
        seconds_left: estimate to the end of the present phase, or None.
        message: one line for people.
        error: why the run failed, or None.
        pid, pid_started: the writing process and the time it started at, in seconds since 1970.
        updated: when this was written, in seconds since 1970.
    """

    state: str = "queued"
    phase: str = "waiting"
    epoch: int = 0
    epochs: int = 0
    share: float | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None
    message: str = ""
    error: str | None = None
    pid: int | None = None
    pid_started: float | None = None
    updated: float = 0.0

    @property
    def examining(self) -> bool:
        """Whether a finished run is still being examined."""
        return self.state == "finished" and self.phase == "examination" and self._is_alive()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Status":
        """The status in `values`; names that are not known are left out.

        Raises:
            ValueError: the state is none, or its process cannot be one.
        """
        names = {item.name for item in dataclasses.fields(cls)}
        status = cls(**{name: value for name, value in values.items() if name in names})
        pid, started = status.pid, status.pid_started
        pid_fits = pid is None or (type(pid) is int and pid > 0)
        if status.state not in STATES or not pid_fits or type(started) not in (int, float, type(None)):
            raise ValueError(f"{status.state!r} of process {pid!r}, started at {started!r}")
        return status

    def observed(self, stop_requested: bool) -> "Status":
        """What holds now: a run that says it is under way, but whose process is gone, is not.

        Args:
            stop_requested: whether somebody had asked it to stop.
        """
        if self.state not in ACTIVE or self._is_alive():
            return self
        if stop_requested:  # the process was too young, or too busy, to say so itself
            return dataclasses.replace(self, state="stopped", message="Stopped on request.")
        return dataclasses.replace(
            self, state="lost", message="Its process is gone. Go on from its last whole epoch with 'resume'."
        )

    def _is_alive(self) -> bool:
        """Whether the process that wrote this still runs: a pid can be given to another one."""
        if self.pid is None:
            return False
        try:
            process = psutil.Process(self.pid)
            same = self.pid_started is None or abs(process.create_time() - self.pid_started) < SAME_START
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def own_process() -> dict[str, Any]:
    """`pid` and `pid_started` of this process."""
    me = psutil.Process()
    return {"pid": me.pid, "pid_started": me.create_time()}
