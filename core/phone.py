"""A static page that answers on the phone itself, without a server: open it once, and it works without a network.

    python -m core.phone --run ID --out FOLDER [--data-dir FOLDER] [--images N]      (or: make phone RUN=ID)

The folder holds the page of `phone/`, the texts of the clinician's page, the run's exported network (`core.export`) and
what runs it in a browser, fetched by npm in the version that `phone/package-lock.json` names. Any web server can serve
it; browsers give the camera and keep pages only over HTTPS, or from the same computer.
"""

import argparse
import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.diagnoses import CODES, DIAGNOSES, MALIGNANT, RESEARCH_NOTICE
from core.errors import RunError, command
from core.explain.overlay import COLORMAP
from core.export import ABOUT, FLOAT16, STRANGENESS, add_options, check_packages, fill_export, table
from core.places import PROJECT
from core.publish import write_whole
from core.runs.all_runs import find_run
from core.runs.files import write_json
from core.runs.run import Run

PAGE, LANGUAGE_FILES = PROJECT / "phone", PROJECT / "dashboard" / "clinic" / "languages"
LANGUAGES = ("en", "de", "es", "fr", "zh", "ar")
RIGHT_TO_LEFT = ("ar",)
RUNTIME = {  # of the npm package -> in the page's folder `litert/`
    "core/dist/index.js": "core.js",
    "wasm-utils/dist/index.js": "wasm-utils.js",
    "core/wasm/litert_wasm_internal.js": "litert_wasm_internal.js",
    "core/wasm/litert_wasm_internal.wasm": "litert_wasm_internal.wasm",
    "core/wasm/litert_wasm_compat_internal.js": "litert_wasm_compat_internal.js",
    "core/wasm/litert_wasm_compat_internal.wasm": "litert_wasm_compat_internal.wasm",
}
SOURCES = (".html", ".css", ".js", ".webmanifest", ".png")
TEXTS = (  # of the clinician's page, those that this one says
    "language", "research_notice", "synthetic_notice", "image_alt", "speaks_for", "confidence", "more_probable",
    "benign", "point_melanoma", "point_malignant", "flagged", "not_flagged", "found_measured", "found_target",
    "set", "set_all", "set_empty", "set_unpromised", "unsure", "all_seven", "choose", "calibrated", "waiting_title",
    "assessing_title", "heatmap", "heatmap_alt", "heatmap_for", "heatmap_empty", "heatmap_beats", "opacity",
    "legend_none", "legend_some", "legend_strong", "legend_unseen", "refused_title", "refused_next", "insist",
    "insist_hint", "insisted", "not_dermatoscopy", "too_small", "black", "empty", "few_pixels", "problem_title",
    "problem_body", "problem_next", "provenance", "language_label", "phone_camera", "phone_choose", "phone_waiting",
    "phone_loading", "phone_ready", "phone_online", "phone_broken_title", "phone_broken", "phone_failed",
    "phone_privacy", "phone_unchecked", "failed_title",
    *(f"{kind}_{code}" for kind in ("name", "sentence") for code in CODES), *(f"kind_{code}" for code in MALIGNANT),
)  # fmt: skip


def write_phone(run: Run, out: Path, data_dir: Path | None = None, images: int | None = None) -> dict[str, Any]:
    """Write the page with a run's network, whole or not at all.

    Args:
        run, out, data_dir, images: see `core.export.write_export`.

    Returns:
        What the page's `model/model.json` holds.

    Raises:
        RunError: as there, or npm is missing or cannot fetch the runtime.
        DatasetError: as there.
    """
    about: dict[str, Any] = {}

    def fill(folder: Path) -> None:
        _copy_runtime(folder / "litert")
        (folder / "model").mkdir()
        about.update(fill_export(run, folder / "model", data_dir, images))
        write_json(folder / "page.json", _page(run.synthetic))
        _copy_page(folder)

    check_packages()
    write_whole(run, out, fill)
    return about


def _copy_runtime(folder: Path) -> None:
    """What runs the network in a browser, as npm's lock file names it."""
    folder.mkdir()
    with tempfile.TemporaryDirectory(prefix="dermlens-npm-") as name:
        for file in ("package.json", "package-lock.json"):
            shutil.copyfile(PAGE / file, Path(name) / file)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        try:
            fetched = subprocess.run(command, cwd=name, capture_output=True, text=True, check=False)
        except OSError as error:
            raise RunError(
                f"The page's runtime is fetched by npm. Received: {error.strerror or error}. Install Node.js with npm."
            ) from error
        if fetched.returncode:
            reason = ((fetched.stderr + fetched.stdout).strip().splitlines() or ["npm ended without a word"])[0]
            raise RunError(
                f"npm must fetch the page's runtime from its registry. Received: {reason}. "
                "Try again with a network, or set npm's registry to one that can be reached."
            )
        for source, target in RUNTIME.items():
            shutil.copyfile(Path(name) / "node_modules" / "@litertjs" / source, folder / target)


def _page(synthetic: bool) -> dict[str, Any]:
    """What the page shows besides the model: words, names of colours, the heatmap's scale."""
    every = {code: json.loads((LANGUAGE_FILES / f"{code}.json").read_text(encoding="utf-8")) for code in LANGUAGES}
    scale = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], COLORMAP)[:, 0, ::-1]
    return {
        "texts": {code: {key: texts[key] for key in TEXTS} for code, texts in every.items()},
        "right_to_left": list(RIGHT_TO_LEFT),
        "synthetic": synthetic,
        "diagnoses": [{"code": one.code, "malignant": one.malignant, "colour": one.colour} for one in DIAGNOSES],
        "colours": scale.ravel().tolist(),
    }


def _copy_page(folder: Path) -> None:
    """The page itself; last, because its service worker is told every file and a version that changes with any."""
    for source in sorted(PAGE.rglob("*")):
        if source.suffix in SOURCES and "node_modules" not in source.parts:
            target = folder / source.relative_to(PAGE)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)
    index = folder / "index.html"
    html = index.read_text(encoding="utf-8")
    found = re.search(r'<script type="importmap">(.*?)</script>', html)
    if found is None:
        raise RunError("index.html must say where the runtime lies. Received: one without an import map. Restore it.")
    allowed = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
    html = html.replace("{{importmap}}", allowed).replace("{{notice}}", RESEARCH_NOTICE)
    index.write_text(html, encoding="utf-8")
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    own = {"sw.js", "index.html"}  # the browser looks after the first, and "./" is the second
    # of the runtime's programs for different browsers each browser keeps its own, and of the networks it asks for one
    files = [name for name in paths if name not in own and "_wasm_" not in name and not name.startswith("model/")]
    files += [f"model/{name}" for name in (ABOUT, FLOAT16, STRANGENESS) if f"model/{name}" in paths]
    version = hashlib.sha256(b"".join(hashlib.sha256(paths[name].read_bytes()).digest() for name in paths)).hexdigest()
    worker = (folder / "sw.js").read_text(encoding="utf-8")
    worker = worker.replace("{{version}}", f"dermlens-{version[:16]}")
    worker = worker.replace("['{{files}}']", json.dumps(["./", *files]))
    (folder / "sw.js").write_text(worker, encoding="utf-8")


@command
def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m core.phone", description="Write a page that answers on the phone.")
    add_options(parser)
    options = parser.parse_args(arguments)
    about = write_phone(find_run(options.run), options.out, options.data_dir, options.images)
    print(table(about))
    print(f"Serve the folder over HTTPS, or try it here: {sys.executable} -m http.server --directory {options.out}")
    print("\n".join(about["notices"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
