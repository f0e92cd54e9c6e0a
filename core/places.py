"""Where DermLens keeps what it writes; each place can be moved by an environment variable."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def folder_named(name: str | Path) -> Path | None:
    """The folder that somebody named, whole, `~` included; None where there is none, or none that may be looked at."""
    path = os.path.expanduser(name)
    return Path(os.path.realpath(path)) if os.path.isdir(path) else None


def runs_root() -> Path:
    """The folder of all runs, absolute: `DERMLENS_RUNS`, or `runs/` in the project."""
    return Path(os.path.abspath(os.environ.get("DERMLENS_RUNS") or PROJECT / "runs"))


def cache_root() -> Path:
    """The folder of trunk outputs and other things that can be computed again, absolute: `DERMLENS_CACHE`."""
    return Path(os.path.abspath(os.environ.get("DERMLENS_CACHE") or PROJECT / "cache"))


def places() -> dict[str, str]:
    """Environment variables: where this process writes, for one with another working folder."""
    return {"DERMLENS_RUNS": str(runs_root()), "DERMLENS_CACHE": str(cache_root())}


def synthetic_folder() -> Path:
    """The folder of the synthetic data set: `DERMLENS_SYNTHETIC`, or `data/synthetic/`."""
    return Path(os.environ.get("DERMLENS_SYNTHETIC") or PROJECT / "data" / "synthetic")


def decisions_root() -> Path:
    """The folder of what people decided about images of a data set: `DERMLENS_DECISIONS`, or `data/decisions/`."""
    return Path(os.environ.get("DERMLENS_DECISIONS") or PROJECT / "data" / "decisions")


def selections_root() -> Path:
    """The folder of sets of images that somebody picked on a chart: `DERMLENS_SELECTIONS`, or `data/selections/`."""
    return Path(os.environ.get("DERMLENS_SELECTIONS") or PROJECT / "data" / "selections")


def cases_address() -> str:
    """The database of the case log, as SQLAlchemy writes it: `DERMLENS_CASES`, or a SQLite file in `data/cases/`."""
    return os.environ.get("DERMLENS_CASES") or f"sqlite:///{PROJECT / 'data' / 'cases' / 'cases.sqlite'}"


def confirmed_cases_folder() -> Path:
    """Where confirmed cases are handed over to training by default: beside the case log, or `data/cases/confirmed/`."""
    address = cases_address()
    file = Path(address.removeprefix("sqlite:///"))
    return (file.parent if address.startswith("sqlite:///") else PROJECT / "data" / "cases") / "confirmed"
