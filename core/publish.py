"""A run for others: a folder that is a Hugging Face Space with the clinician's page, or a model repository.

    python -m core.publish {space,model} --run ID --out FOLDER [--push OWNER/NAME]

What goes out is the network and what it needs to answer. What could lead to a patient or to this computer stays: the
table of images and the features of each, names of files and folders.
"""

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from core.diagnoses import notices
from core.engines import openvino_files
from core.errors import RunError, command
from core.evaluation.card_texts import TAGS, Kind, kind_of
from core.evaluation.model_card import model_card
from core.places import PROJECT
from core.runs.all_runs import find_run, promote
from core.runs.run import (
    CALIBRATION,
    CONFIG,
    HEATMAPS,
    MANIFEST,
    MEMBERS,
    METRICS,
    MODEL,
    MODEL_CARD,
    OPENVINO,
    OUTLIERS,
    PATIENT,
    Run,
)
from core.runs.status import Status

AS_THEY_ARE = (
    CALIBRATION,
    METRICS,
    HEATMAPS,
    OUTLIERS,
    PATIENT,
    MODEL,
)  # files of a run that name no image and no folder
DATA = ("fingerprint", "images", "lesions", "extra_images", "synthetic")  # what a manifest may say of the data
CODE = (  # of the project, for the clinician's page
    "core/**/*.py", "dashboard/__init__.py", "dashboard/__main__.py", "dashboard/login.py", "dashboard/spreadsheet.py",
    "dashboard/clinic/**/*",
)  # fmt: skip
SUFFIXES = (".py", ".js", ".css", ".json", ".ttf", ".txt")
PACKAGES = (  # that the clinician's page answers with: neither TensorFlow, nor the dashboard, nor what trains
    "openvino", "numpy", "scipy", "pandas", "scikit-learn", "crepes", "opencv-python", "pillow", "pydicom", "pyjpegls",
    "gradio", "fpdf2", "uharfbuzz", "fonttools", "psutil", "SQLAlchemy", "filelock",
)  # fmt: skip
WITHOUT_WINDOWS = {"opencv-python": "opencv-python-headless"}  # the same, without libraries of a desktop
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

APP = '''"""The clinician's page of DermLens, as a Space starts it."""

import os
import sys
import tempfile
from pathlib import Path

os.environ["DERMLENS_RUNS"] = str(Path(__file__).resolve().parent / "runs")
os.environ["DERMLENS_ENGINE"] = "openvino"
os.environ.setdefault("DERMLENS_LOGIN", "open")  # a Space is public; or name:password, among the Space's secrets
os.environ.setdefault("DERMLENS_CLINIC_PORT", "7860")

from dashboard.clinic.__main__ import main  # noqa: E402 - it reads what is set above

if __name__ == "__main__":
    # kept cases are images of people: they go with the process, unless the owner names a database for them
    with tempfile.TemporaryDirectory(prefix="dermlens-cases-") as folder:
        os.environ.setdefault("DERMLENS_CASES", f"sqlite:///{Path(folder) / 'cases.sqlite'}")
        sys.exit(main(["--host", "0.0.0.0"]))
'''

EXAMPLE = '''"""Ask this model about one image, in an environment with DermLens's requirements:

    PYTHONPATH=<checkout of DermLens> python example.py photo.jpg
"""

import sys
from pathlib import Path

from core.diagnoses import CODES, notices
from core.predictor import Predictor

predictor = Predictor.load(str(Path(__file__).resolve().parent))
answer = predictor.predict(sys.argv[1])
if answer.refused:
    print("No answer should be given:", ", ".join(answer.refusals))
else:
    print("The image speaks for", answer.code)
    for code, probability in zip(CODES, answer.probabilities, strict=True):
        print(f"{code:>6} {probability:6.1%}")
print(*notices(answer.synthetic), sep="\\n")
'''

ABOUT = """# DermLens

{notices}

DermLens names one of seven diagnoses for a dermatoscopic image of a skin lesion, with calibrated probabilities, what
cannot be ruled out, and a heatmap of what the answer rests on. How well it does, on whom it was measured and where it
fails: [the model card](runs/{run}/MODEL_CARD.md).

What you upload is deleted when you close the page. A case that you keep lies in this Space until it starts anew, and
nobody is shown it. Do not upload images of people who have not agreed to it.

## Licence

{licence}
"""


def write_space(run: Run, out: Path) -> None:
    """Write a Gradio Space that serves the clinician's page with one run, whole or not at all.

    Args:
        run: a finished run.
        out: a folder that is not there yet, or empty.

    Raises:
        RunError: the run is not finished, its network cannot be converted, or the folder cannot be written.
    """

    def fill(folder: Path) -> None:
        kind = _kind(run)
        copy = folder / "runs" / run.id
        _copy_run(run, copy)
        (copy / MODEL_CARD).write_text(_card(run), encoding="utf-8")
        promote(Run(copy))
        _copy_code(folder)
        (folder / "requirements.txt").write_text("\n".join(_requirements()) + "\n", encoding="utf-8")
        (folder / "app.py").write_text(APP, encoding="utf-8")
        (folder / "README.md").write_text(_space_readme(run, kind), encoding="utf-8")

    write_whole(run, out, fill)


def write_model(run: Run, out: Path) -> None:
    """Write a model repository: the card as its README, the network, and an example that asks it. See `write_space`."""

    def fill(folder: Path) -> None:
        _copy_run(run, folder)
        (folder / "README.md").write_text(_card(run), encoding="utf-8")
        (folder / "example.py").write_text(EXAMPLE, encoding="utf-8")

    write_whole(run, out, fill)


WRITERS: dict[str, Callable[[Run, Path], None]] = {"space": write_space, "model": write_model}


# ---- the files -----------------------------------------------------------------------------------


def write_whole(run: Run, out: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write into a folder that becomes `out` when it is whole; see `write_space`."""
    if not run.usable:
        raise RunError(
            f"Only a finished run can be published. Received: run {run.id!r}, {run.status().state}. Wait for it, or "
            "go on with it through --resume."
        )
    out = out.absolute()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise RunError(
            f"--out must name a folder that is empty or not there yet. Received: {str(out)!r}, which holds files or "
            "is one. Name another one, or delete it."
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
            folder = Path(temporary) / out.name
            folder.mkdir()
            fill(folder)
            if out.exists():
                out.rmdir()  # it is empty; not every system renames over a folder
            folder.replace(out)
    except OSError as error:
        raise RunError(
            f"--out must name a folder that can be written. Received: {str(out)!r} ({error.strerror or error}). "
            "Name another one, or free some disk."
        ) from error


def _copy_run(run: Run, folder: Path) -> None:
    """What a run answers with. Its manifest and settings are copied without names of folders and images."""
    members = run.members()
    openvino = None if members else openvino_files(run)
    folder.mkdir(parents=True, exist_ok=True)
    settings = run.config().to_dict() | {"data_dir": None, "extra_data": None}
    for name in ("weights", "teacher"):
        settings[name] = settings[name] and re.split(r"[/\\]", settings[name])[-1]
    manifest = run.manifest()
    manifest["data"] = {name: value for name, value in manifest.get("data", {}).items() if name in DATA}
    # first what makes the folder a run
    (folder / CONFIG).write_text("{}", encoding="utf-8")
    copy = Run(folder)
    copy.write_json(CONFIG, settings)
    copy.write_json(MANIFEST, manifest)
    copy.write_status(Status(state="finished", phase="done"))
    for name in AS_THEY_ARE:
        if (run.folder / name).is_file():
            shutil.copyfile(run.folder / name, folder / name)
    if openvino:
        shutil.copytree(openvino, folder / OPENVINO)
    for member in members:
        _copy_run(member, folder / MEMBERS / member.id)


def _copy_code(folder: Path) -> None:
    paths = {path for pattern in CODE for path in PROJECT.glob(pattern) if path.suffix in SUFFIXES}
    for path in sorted(paths | {PROJECT / "LICENSE"}):
        target = folder / path.relative_to(PROJECT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _pinned() -> dict[str, str]:
    """Name of each package in requirements.txt -> its line without the reason."""
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line.partition("#")[0].strip() for line in lines]
    return {re.split(r"[\[=]", line)[0]: line for line in wanted if line}


def _requirements() -> list[str]:
    pinned = _pinned()
    return [pinned[name].replace(name, WITHOUT_WINDOWS.get(name, name), 1) for name in PACKAGES]


# ---- the words -----------------------------------------------------------------------------------


def _kind(run: Run) -> Kind:
    return kind_of(run.synthetic, run.splits()["image_id"])


def _card(run: Run) -> str:
    card = run.model_card() or model_card(run)
    for number, name in enumerate(run.evaluations(), 1):  # made of a folder's name
        card = card.replace(name, f"external data {number}")
    return card


def _space_readme(run: Run, kind: Kind) -> str:
    front: dict[str, Any] = {
        "title": "DermLens",
        "emoji": "🔬",
        "colorFrom": "green",
        "colorTo": "blue",
        "sdk": "gradio",
        "sdk_version": _pinned()["gradio"].partition("==")[2],
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "app_file": "app.py",
        "license": kind.license,
        "short_description": "Skin lesions, calibrated. For research only",
        "suggested_hardware": "cpu-basic",
        "tags": [*TAGS, *(["synthetic-data"] if run.synthetic else [])],
    }
    quoted = "\n>\n".join(f"> **{notice}**" for notice in notices(run.synthetic))
    matter = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{matter}---\n\n" + ABOUT.format(notices=quoted, run=run.id, licence=kind.licence)


# ---- to the hub ----------------------------------------------------------------------------------


def check_push(name: str) -> str:
    """The token to push with; asked before anything is written.

    Raises:
        RunError: the name is no repository's, or nobody is logged in.
    """
    from huggingface_hub import get_token

    if not NAME.fullmatch(name):
        raise RunError(f"--push names a repository as OWNER/NAME. Received: {name!r}. Correct it.")
    token = get_token()
    if not token:
        raise RunError(
            "Who pushes to the hub is logged in there. Received: no token. Run `hf auth login`, or set HF_TOKEN to a "
            "token that may write."
        )
    return token


def push(folder: Path, kind: str, name: str, token: str) -> str:
    """Send a written folder to the hub; the repository is created where it is missing.

    Args:
        folder: see `write_space` and `write_model`.
        kind: "space" or "model".
        name: OWNER/NAME.
        token: see `check_push`.

    Returns:
        The address of the repository.

    Raises:
        RunError: the hub refuses it or cannot be reached; the folder is kept.
    """
    import huggingface_hub

    api = huggingface_hub.HfApi(token=token)
    sdk = "gradio" if kind == "space" else None
    own = ["runs/**", "core/**", "dashboard/**"] if kind == "space" else None  # of an earlier version: it goes
    try:
        address = api.create_repo(name, repo_type=kind, space_sdk=sdk, exist_ok=True)
        api.upload_folder(
            repo_id=name, repo_type=kind, folder_path=folder, delete_patterns=own, commit_message="DermLens"
        )
    except Exception as error:  # the hub's client raises errors of several libraries
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"{kind.capitalize()} {name} must be written on the hub. Received: {reason}. {folder} is whole: mend what "
            "is said, delete the folder and push again."
        ) from error
    return str(address)


@command
def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m core.publish", description="Write a run for others to use.")
    parser.add_argument("kind", choices=WRITERS, help="a Space with the clinician's page, or a model repository")
    parser.add_argument("--run", required=True, help="the run's id, or the path of its folder")
    parser.add_argument("--out", required=True, type=Path, help="the folder that is written: empty, or not there yet")
    parser.add_argument("--push", metavar="OWNER/NAME", help="send it to Hugging Face's hub as well, under this name")
    options = parser.parse_args(arguments)
    token = check_push(options.push) if options.push else ""
    run = find_run(options.run)
    WRITERS[options.kind](run, options.out)
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    print(f"{options.out}: {size / 1e6:.0f} MB, licence {_kind(run).license}")
    if options.push:
        print(push(options.out, options.kind, options.push, token))
    print("\n".join(notices(run.synthetic)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
