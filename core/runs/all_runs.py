"""All the runs: list them, find one, and say which is served."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from core.errors import RunError, RunNotFoundError
from core.places import runs_root
from core.runs.files import read_json, write_json
from core.runs.run import CONFIG, Run

CURRENT = "current.json"  # beside the runs: which one is served
KEPT = 200  # promotions on record


def list_runs(root: Path | None = None) -> list[Run]:
    """Every run below the root, the newest first."""
    found = []
    for path in (root or runs_root()).glob(f"*/{CONFIG}"):
        with suppress(OSError, RunNotFoundError):  # deleted while we look
            found.append((path.stat().st_mtime_ns, path.parent.name, Run(path.parent)))
    return [run for *_, run in sorted(found, key=lambda entry: entry[:2], reverse=True)]


def find_run(name: str | Path) -> Run:
    """The run of that id below `runs_root()`, or the one at that path.

    Raises:
        RunNotFoundError: there is neither.
    """
    for folder in (runs_root() / name, Path(name)):
        if (folder / CONFIG).is_file():
            return Run(folder)
    known = [run.id for run in list_runs()][:5]
    raise RunNotFoundError(
        f"A run is named by its id below {runs_root()} or by its folder's path. Received: {str(name)!r}. "
        f"Runs here: {', '.join(known) or 'none yet; train one with train.py'}."
    )


def served_run(root: Path | None = None) -> Run | None:
    """The run that `current.json` names, if it is still there. Only a run below the root is ever served.

    Raises:
        RunError: `current.json` cannot be read.
    """
    root = root or runs_root()
    name = read_json(root / CURRENT, "Promote a run again.").get("run")
    if not isinstance(name, str) or name in ("", ".", "..") or Path(name).name != name:
        return None
    return Run(root / name) if (root / name / CONFIG).is_file() else None


def served_or_none() -> Run | None:
    """As `served_run`; None too where `current.json` is damaged: to promote a run is how that is mended."""
    try:
        return served_run()
    except RunError:
        return None


def named_or_served(name: str | Path | None) -> Run:
    """The run that is asked for, see `find_run`; without a name the one that is served.

    Raises:
        RunNotFoundError: there is no such run, or none is served.
        RunError: `current.json` cannot be read.
    """
    run = find_run(name) if name else served_run()
    if run is None:
        raise RunNotFoundError(
            "A run must be served before anything can be predicted. Received: none. Train one first."
        )
    return run


def promotions(root: Path | None = None) -> list[dict[str, str]]:
    """Every promotion, the newest first: run, promoted (ISO 8601), and reason where one was given.

    Raises:
        RunError: `current.json` cannot be read.
    """
    current = read_json((root or runs_root()) / CURRENT, "Promote a run again.")
    if not isinstance(current.get("run"), str):
        return []
    earlier = current.get("earlier")
    now = {name: str(current[name]) for name in ("run", "promoted", "reason") if current.get(name)}
    return [now, *(entry for entry in (earlier if isinstance(earlier, list) else []) if isinstance(entry, dict))]


def promote(run: Run, reason: str = "") -> None:
    """Serve this run from now on: both interfaces follow without a restart. Earlier promotions stay on record.

    Args:
        run: a finished run.
        reason: why, in words; see `core.evaluation.promotion`, which asks for one where the run is worse.

    Raises:
        RunError: the run is not finished.
    """
    if not run.usable:
        raise RunError(
            f"Only a finished run can be served. Received: run {run.id!r}, {run.status().state}. "
            "Wait for it, or go on with it through --resume."
        )
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    root = run.folder.parent
    try:
        earlier = promotions(root)
    except RunError:  # damaged: to promote a run is how that is mended
        earlier = []
    # by name, not by path: the folder of all runs can be moved
    entry = {"run": run.id, "promoted": moment} | ({"reason": reason} if reason else {})
    write_json(root / CURRENT, entry | {"earlier": earlier[:KEPT]})
