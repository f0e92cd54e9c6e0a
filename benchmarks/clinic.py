"""The clinician's page as people and programs meet it: from a click to the heatmap, many at once, and memory.

    python benchmarks/clinic.py [RUN] --images FOLDER [--rounds 20] [--clients 8] [--requests 25] [--more 500]

The page is a process of its own. click: headless Chromium is given one image after another; the wait ends when bars and
heatmap are drawn; of it, the server's part is what the same image costs `Predictor.predict` and two drawn pictures.
clients: processes that each ask `/predict` one image after another by plain HTTP, first one of them, then all at once;
every answer is compared with the command line's. memory: of the server, before and after that many more requests.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import httpx
import psutil
from playwright.sync_api import sync_playwright

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from core.data.images import at_most  # noqa: E402
from core.diagnoses import CODES  # noqa: E402
from core.predictor import Predictor  # noqa: E402
from core.runs.all_runs import named_or_served, promote  # noqa: E402
from core.runs.run import Run  # noqa: E402
from dashboard.__main__ import HOST, end, start, wait_until_they_answer  # noqa: E402
from dashboard.clinic import pictures  # noqa: E402

PORT = 17861
IMAGES = 40


def click(address: str, paths: list[Path], rounds: int) -> list[float]:
    """Seconds from giving an image to its drawn bars and heatmap, the first two left out."""
    waited = []
    with sync_playwright() as playwright:
        program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page(viewport={"width": 1366, "height": 900})
        for path in paths[: rounds + 2]:
            page.goto(address)  # an image is given to an empty page: its first upload is the way people use it
            page.wait_for_selector("#answer .dl-waiting")
            page.wait_for_timeout(300)
            started = time.perf_counter()
            page.set_input_files("#image input[type=file]", path)
            page.wait_for_function(
                "() => document.querySelector('#answer .dl-diagnosis, #answer .dl-refused') && "
                "(document.querySelector('#heat .dl-heat')?.complete || document.querySelector('#answer .dl-refused'))",
                polling=20,
            )
            waited.append(time.perf_counter() - started)
        chromium.close()
    return waited[2:]


def server_part(predictor: Predictor, paths: list[Path]) -> list[float]:
    """Seconds of what the server does for one image: predict it, and draw it with its heatmap."""
    waited = []
    for path in paths:
        started = time.perf_counter()
        prediction = predictor.predict(path)
        pictures.comparison(at_most(prediction.image, 1024), prediction.overlay(), prediction.code, "en")
        waited.append(time.perf_counter() - started)
    return waited[2:]


def ask(address: str, paths: list[Path], count: int, expected: dict[Path, dict[str, float]]) -> tuple[list[float], int]:
    """Seconds of each request of one client, and how many answers were wrong."""
    api = f"{address}/gradio_api"
    waited, wrong = [], 0
    with httpx.Client(timeout=120) as client:
        for number in range(-1, count):
            path = paths[number % len(paths)]
            started = time.perf_counter()
            with path.open("rb") as stream:
                sent = client.post(f"{api}/upload", files={"files": stream}).json()[0]
            data = [{"path": sent, "meta": {"_type": "gradio.FileData"}}, True]
            call = client.post(f"{api}/call/predict", json={"data": data}).json()["event_id"]
            reply = client.get(f"{api}/call/predict/{call}").text
            answer = json.loads(reply.partition("data: ")[2].partition("\n")[0])[0]
            if number >= 0:  # the first one connects
                waited.append(time.perf_counter() - started)
            wrong += any(abs(answer["probabilities"][code] - expected[path][code]) > 1e-5 for code in CODES)
    return waited, wrong


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="a run's id or folder; by default the one that is served")
    parser.add_argument("--images", type=Path, required=True, help="a folder of JPEG files")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=25)
    parser.add_argument("--more", type=int, default=500)
    options = parser.parse_args()
    run = named_or_served(options.run)
    everything = sorted(options.images.rglob("*.jpg"))
    paths = everything[:: max(1, len(everything) // IMAGES)][:IMAGES]
    predictor = Predictor(run)
    answers = dict(zip(paths, predictor.predict_many(paths), strict=True))
    expected = {path: answer.to_dict(insist=True)["probabilities"] for path, answer in answers.items()}

    with tempfile.TemporaryDirectory() as folder:
        copy = Run(shutil.copytree(run.folder, Path(folder) / run.id))
        os.environ["DERMLENS_RUNS"] = folder
        promote(copy)
        server = start("page", ["dashboard.clinic", "--port", str(PORT)], HOST, PORT)
        try:
            wait_until_they_answer([server], threading.Event())
            process = psutil.Process(server.process.pid)
            drawn = click(server.address, paths, options.rounds)
            own = server_part(predictor, paths)
            print(f"from click to bars and heatmap: median {statistics.median(drawn):.2f} s, worst {max(drawn):.2f} s")
            print(f"  of which the server's work: median {statistics.median(own) * 1000:.0f} ms")

            alone, wrong = ask(server.address, paths, options.requests, expected)
            with ProcessPoolExecutor(options.clients) as pool:
                jobs = [
                    pool.submit(ask, server.address, paths[number:] + paths[:number], options.requests, expected)
                    for number in range(options.clients)
                ]
                results = [job.result() for job in jobs]
            together = sorted(wait for waits, _ in results for wait in waits)
            wrong += sum(faults for _, faults in results)
            single, late = statistics.median(alone), together[int(0.95 * len(together))]
            print(f"one client: median {single * 1000:.0f} ms")
            print(f"{options.clients} at once, {options.requests} requests each:")
            print(f"  95th percentile {late * 1000:.0f} ms, {late / single:.1f} times; wrong answers {wrong}")

            before = process.memory_info().rss / 1e6
            ask(server.address, paths, options.more, expected)
            after = process.memory_info().rss / 1e6
            print(f"memory: {before:.0f} MB, after {options.more} more requests {after - before:+.0f} MB")
        finally:
            end([server])


if __name__ == "__main__":
    main()
