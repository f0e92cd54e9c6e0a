"""The dashboard as people meet it: the counts behind its matrix, waiting, memory, and several people at once.

    python benchmarks/pages.py RUN [--training-data FOLDER] [--changes 200] [--rounds 10] [--only cells times ...]

RUN is the id or the folder of a finished run. The dashboard is a process of its own, started as `python -m dashboard`
does; headless Chromium uses it with the mouse. A wait begins when the mouse button goes down and ends when the page is
*drawn*: what the click had to bring is visible and was not before, the server's script is over, nothing of the page
before is left, nothing waits to be filled, and every chart and image is there. The page looks every 20 ms itself.

cells     every cell of the confusion matrix, clicked somewhere inside. The gallery must state the cell's count as
          predictions.csv has it, and show cards of that cell alone. The time is that from the click to the number.
times     a fresh server's first page (three servers), changes of page, and clicks. "first": the first time on a fresh
          server; median and worst: of those after it. With --training-data once more, while those images are learned.
memory    resident memory of the server in one session, over --changes changes of page.
sessions  five people at once, each with another run while there are so many.
"""

import argparse
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count, cycle, islice, product
from pathlib import Path

import psutil
from playwright.sync_api import Error, Locator, Playwright, sync_playwright

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))  # before this folder, where `dashboard` is this file

from core.diagnoses import BY_CODE, CODES  # noqa: E402
from core.runs.all_runs import find_run, list_runs  # noqa: E402
from core.runs.run import Run  # noqa: E402
from dashboard.__main__ import HOST, Server, end, start, wait_until_they_answer  # noqa: E402

Waits = dict[str, list[float]]  # what is waited for -> seconds of each time
PAGES = ("Data set", "Audit", "Training", "Evaluation", "Gallery", "Explain", "Retrain", "Overview")
SECTIONS = {  # what each section of a page alone shows; the one that is shown at first comes last
    "Data set": {
        "Patients": ".st-key-dataset_patients", "Lesions": ".st-key-dataset_lesions",
        "Images": ".st-key-dataset_shuffle", "Map": ".st-key-dataset_ink",
        "Leakage and gaps": "#images-that-were-left-out", "Diagnoses": ".st-key-dataset_classes",
    },
    "Evaluation": {
        "Probabilities": ".st-key-evaluation_statement", "Prediction sets": ".st-key-evaluation_level",
        "Operating points": ".st-key-evaluation_point", "Subgroups": ".st-key-evaluation_measure",
        "Refusal": "#which-images-would-be-refused", "Diagnoses": ".st-key-evaluation_cells",
    },
}  # fmt: skip
PLOT, CARDS = ".st-key-evaluation_matrix_test .nsewdrag", "[class*=st-key-card_]"
ON_A_PAGE, NONE_FITS = 12, "No answer fits these filters."
STARTS, PEOPLE, STEPS = 3, 5, 20
DRAWN = """(wanted) => {  // pairs of a selector, and the whole text of what it finds, "" for any
  const app = document.querySelector("[data-testid=stApp]"), main = document.querySelector("[data-testid=stMain]");
  if (!main || app.dataset.testScriptState !== "notRunning") return false;
  const shown = ([selector, words]) => [...main.querySelectorAll(selector)].some(
    (found) => found.checkVisibility() && (!words || found.textContent.trim() === words));
  return wanted.every(shown)
    && !main.querySelector("[data-stale=true], [data-testid=stSkeleton], [data-testid=stSpinner]")
    && [...main.querySelectorAll(".stPlotlyChart")].every((chart) => chart.querySelector(".main-svg"))
    && [...main.querySelectorAll("img")].every((image) => image.complete);
}"""
STATED = """(none) => {  // the number that the gallery states, as soon as it does
  const main = document.querySelector("[data-testid=stMain]");
  if (main?.querySelector("h1")?.textContent.trim() !== "Gallery") return false;
  const words = [...main.querySelectorAll("strong, [data-testid=stAlert] p")].map((found) => found.textContent.trim());
  return words.find((text) => text === none || /^[\\d,]+ images?$/.test(text)) || false;
}"""


def images(number: int) -> str:
    """A number of images as the gallery states it."""
    return "1 image" if number == 1 else f"{number:,} images"


class Visitor:
    """Somebody with a browser of their own, who looks at one run."""

    def __init__(self, playwright: Playwright, address: str, run: Run, path: str = "", title: str = "Overview") -> None:
        program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        self.page = chromium.new_page(viewport={"width": 1366, "height": 900})
        self.page.set_default_timeout(60_000)
        self.address, self.run, self.dice = address, run, random.Random(0)
        self.waited = self.open(path, ("h1", title))

    def open(self, path: str, *wanted: tuple[str, str]) -> float:
        """Seconds from an address to its page, in a new session."""
        started = time.perf_counter()
        self.page.goto(f"{self.address}/{path}{'&' if '?' in path else '?'}run={self.run.id}")
        self.page.wait_for_function(DRAWN, arg=wanted, polling=20)
        return time.perf_counter() - started

    def press(self, script: str, wanted: object) -> tuple[float, str]:
        """Click where the mouse is: seconds to what that brings, and what the script says of it."""
        if self.page.evaluate(script, wanted):
            raise RuntimeError(f"A click is timed by what it brings. Received: {wanted}, which was there before.")
        started = time.perf_counter()
        self.page.mouse.down()
        self.page.mouse.up()
        said = self.page.wait_for_function(script, arg=wanted, polling=20)
        return time.perf_counter() - started, said.json_value()

    def click(self, target: Locator, *wanted: tuple[str, str]) -> float:
        """Seconds from a click there until that is drawn."""
        target.hover()
        return self.press(DRAWN, wanted)[0]

    def go(self, title: str) -> float:
        """Change the page by the sidebar."""
        return self.click(self.page.locator(f"[data-testid=stSidebarNav] [label='{title}']"), ("h1", title))

    def choose(self, key: str, label: str, *wanted: tuple[str, str]) -> float:
        """Choose one of a row of buttons."""
        return self.click(self.page.locator(f".st-key-{key}").get_by_role("radio", name=label, exact=True), *wanted)

    def see_section(self, title: str, section: str) -> float:
        """Choose a section of a page."""
        return self.choose(f"{title.replace(' ', '').lower()}_section", section, (SECTIONS[title][section], ""))

    def ask_for(self, code: str, found: int) -> float:
        """Let the gallery show one true diagnosis, of so many images; the list is open when the clock starts."""
        self.page.locator(".st-key-truth input").click()
        option = self.page.get_by_role("option", name=BY_CODE[code].name, exact=True)
        return self.click(option, ("strong", images(found)))

    def point_at_cell(self, truth: str, said: str) -> None:
        """Move the mouse to anywhere in a cell of the confusion matrix."""
        plot = self.page.locator(PLOT).first
        plot.evaluate("(plot) => plot.scrollIntoView({block: 'center'})")
        self.page.wait_for_timeout(500)  # Plotly draws once more when it has its final width
        box = plot.bounding_box()
        assert box is not None
        x = box["x"] + box["width"] * (CODES.index(said) + self.dice.uniform(0.1, 0.9)) / len(CODES)
        y = box["y"] + box["height"] * (CODES.index(truth) + self.dice.uniform(0.1, 0.9)) / len(CODES)
        self.page.mouse.move(x - 2, y)
        self.page.mouse.move(x, y)
        self.page.wait_for_timeout(150)  # nobody clicks in the moment of arriving

    def disagreement(self, stated: str, names: set[str]) -> str:
        """How the number that the gallery states, or its cards, disagree with these images; "" if they do not."""
        if stated != (images(len(names)) if names else NONE_FITS):
            return f"{stated!r} in place of {len(names)}"
        cards = self.page.locator(CARDS)
        if names:
            cards.nth(min(len(names), ON_A_PAGE) - 1).wait_for()
        classes = cards.evaluate_all("(cards) => cards.map((card) => card.className)")
        shown = {found.split("st-key-card_")[1].split()[0] for found in classes}
        right = shown <= names and len(classes) == min(len(names), ON_A_PAGE)
        return "" if right else f"{len(classes)} cards, {len(shown - names)} of other cells"

    def fault(self) -> str:
        """What is wrong on any page: another run than one's own, or an error; "" if nothing."""
        words = self.page.get_by_test_id("stSidebarUserContent").inner_text().split("\n")
        address = self.page.evaluate("new URLSearchParams(location.search).get('run')")
        if self.run.id not in words or address != self.run.id:
            return f"the sidebar names {words[-1]!r} and the address {address!r}, not {self.run.id!r}"
        broken = self.page.get_by_test_id("stException")
        return f"an error on the page: {broken.first.inner_text()[:200]}" if broken.count() else ""


@contextmanager
def serving() -> Iterator[Server]:
    """A fresh dashboard that answers."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    command = ["streamlit", "run", "dashboard/app.py", "--server.port", str(port), "--server.address", HOST,
               "--server.headless", "true", "--browser.gatherUsageStats", "false"]  # fmt: skip
    server = start("dashboard", command, HOST, port)
    try:
        wait_until_they_answer([server], threading.Event())
        yield server
    finally:
        end([server])


@contextmanager
def training(folder: Path) -> Iterator[subprocess.Popen]:
    """A training that keeps the processor busy, and of which nothing is left."""
    with tempfile.TemporaryDirectory() as place, Path(place, "log.txt").open("wb") as log:
        command = [sys.executable, "train.py", "--data-dir", str(folder), "--recipe", "tutorial",
                   "--backbone", "efficientnet_lite0", "--views", "4", "--train-from", "block6",
                   "--epochs", "50", "--run-dir", f"{place}/run"]  # fmt: skip
        environment = os.environ | {"DERMLENS_CACHE": f"{place}/cache"}
        with subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=log) as process:
            try:
                while b"images/s" not in (printed := Path(log.name).read_bytes()):
                    if process.poll() is not None:
                        raise SystemExit(printed.decode(errors="replace"))
                    time.sleep(0.5)
                yield process
            finally:
                process.kill()


def cells(run: Run) -> None:
    """Click every cell of the matrix, and print those that disagree."""
    test = run.predictions().query("split == 'test'")
    seconds, faults, total = [], [], len(CODES) ** 2
    with serving() as server, sync_playwright() as playwright:
        visitor = Visitor(playwright, server.address, run, "explain", "Explain")  # which loads the network
        visitor.go("Evaluation")
        for truth, said in product(CODES, repeat=2):
            try:
                visitor.point_at_cell(truth, said)
                waited, stated = visitor.press(STATED, NONE_FITS)
                seconds.append(waited)
                names = set(test.loc[(test["dx"] == truth) & (test["predicted"] == said), "image_id"])
                fault = visitor.disagreement(stated, names)
                visitor.go("Evaluation")
            except (Error, RuntimeError) as error:
                fault = str(error).split("\n")[0]
                visitor.open("evaluation", ("h1", "Evaluation"))
            faults += [f"  {truth} called {said}: {fault}"] if fault else []
    print(f"\ncells: {total - len(faults)} of {total} agree with predictions.csv", *faults, sep="\n")
    if seconds:
        print(f"  from click to count: median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s")


def waits(run: Run, rounds: int) -> Waits:
    """Everything that is waited for, the first time on a fresh server first."""
    seconds: Waits = defaultdict(list)
    for left in reversed(range(STARTS)):
        started = time.perf_counter()
        with serving() as server, sync_playwright() as playwright:
            seconds["a fresh server answers"].append(time.perf_counter() - started)
            visitor = Visitor(playwright, server.address, run)
            seconds["its first page"].append(visitor.waited)
            if not left:
                for title in PAGES * (rounds + 1):
                    seconds[f"to {title}"].append(visitor.go(title))
                for title, content in SECTIONS.items():
                    visitor.go(title)
                    for section in [*content] * (rounds + 1):
                        note(seconds[f"{title}: {section}"], partial(visitor.see_section, title, section))
                gallery_and_heatmaps(visitor, rounds + 1, seconds)
    return seconds


def note(seconds: list[float], act: Callable[[], float]) -> None:
    """Wait for it, for ever if it does not come: a run may lack a part of its examination."""
    if float("inf") not in seconds:
        try:
            seconds.append(act())
        except Error:
            seconds.append(float("inf"))


def gallery_and_heatmaps(visitor: Visitor, times: int, seconds: Waits) -> None:
    """From the matrix to the gallery, through it, and to other heatmaps; starts on the evaluation page."""
    table = visitor.run.predictions()
    test = table[table["split"] == "test"]
    for cell in islice(cycle(test.value_counts(["dx", "predicted"]).index), times):
        visitor.point_at_cell(*cell)
        seconds["Evaluation: a cell, to its images"].append(visitor.press(DRAWN, [("h1", "Gallery"), (CARDS, "")])[0])
        visitor.go("Evaluation")
    visitor.open("gallery?answers=All", ("strong", images(len(test))))
    for code, found in islice(cycle(test["dx"].value_counts().drop_duplicates().items()), times):
        seconds["Gallery: another truth"].append(visitor.ask_for(str(code), found))
    visitor.open("gallery?answers=All&part=All", ("strong", images(len(table))))
    for first in range(ON_A_PAGE + 1, min(ON_A_PAGE * times + 1, len(table) - ON_A_PAGE), ON_A_PAGE):
        words = f"{images(len(table))}, {first:,} to {first + ON_A_PAGE - 1:,} shown"
        following = visitor.page.get_by_test_id("stPaginationNext")
        seconds["Gallery: next page"].append(visitor.click(following, ("p", words)))
    card = visitor.page.locator("[class*=st-key-open_] button").first
    answer = table.set_index("image_id")["predicted"][card.inner_text().split()[-1]]
    visitor.click(card, ("h1", "Explain"))
    for code in islice(cycle(code for code in CODES if code != answer), times):
        caption = ("[data-testid=stImageCaption]", f"What speaks for {BY_CODE[code].name} (Grad-CAM)")
        note(seconds["Explain: another heatmap"], partial(visitor.choose, "explain_code", BY_CODE[code].name, caption))


def times(run: Run, rounds: int, folder: Path | None) -> None:
    """Print what is waited for, alone and beside a training."""
    found = [waits(run, rounds)]
    if folder:
        with training(folder) as process:
            found.append(waits(run, rounds))
            if process.poll() is not None:
                print("\nThe training ended before the measurement did: it needs more images.")
    heads = ["first", "median", "worst", "in training: first", "median", "worst"][: 3 * len(found)]
    print(f"\n{f'times, s, of {rounds} rounds':<36}", *(f"{head:>18}" for head in heads))
    for name in found[0]:
        figures: list[float] = []
        for first, *others in (column[name] for column in found):
            figures += [first, statistics.median(others or [first]), max(others or [first])]
        print(f"  {name:<34}", *(f"{figure:18.2f}" for figure in figures))


def memory(run: Run, changes: int) -> None:
    """Print the server's resident memory while pages are changed."""
    resident, own = [], []
    with serving() as server, sync_playwright() as playwright:
        process, visitor = psutil.Process(server.process.pid), Visitor(playwright, server.address, run)
        for number, title in zip(range(-2 * len(PAGES), changes), cycle(PAGES), strict=False):
            visitor.go(title)
            if number >= 0:
                family = [process, *process.children(recursive=True)]
                resident.append(sum(member.memory_info().rss for member in family) / 1e6)
                own.append(sum(member.memory_info().rss - member.memory_info().shared for member in family) / 1e6)
    print(f"\nmemory, MB, after {2 * len(PAGES)} changes of page; own: without what is mapped from files, mostly")
    print("TensorFlow's program, which is there once however many processes use it")
    for number in range(20, changes + 1, 20):
        print(f"  after {number:4d} changes {resident[number - 1]:8.0f}, own {own[number - 1]:8.0f}")
    last = min(100, changes - 1)
    print(f"  growth over the last {last}: {resident[-1] - resident[-1 - last]:+.0f}; peak {max(resident):.0f}")


def session(number: int, run: Run, address: str) -> list[str]:
    """One person's pages, sections and filters, other ones than those of the rest; what went wrong in each step."""
    wrong = run.predictions().query("split == 'test' and dx != predicted")["dx"].value_counts()
    faults: list[str] = []
    with sync_playwright() as playwright:
        visitor = Visitor(playwright, address, run)
        for place in count(number):
            title = PAGES[place % len(PAGES)]
            acts: list[Callable[[], float]] = [partial(visitor.go, title)]
            if title in SECTIONS:  # not the last one, which is there at first
                acts.append(partial(visitor.see_section, title, [*SECTIONS[title]][place % 5]))
            elif title == "Gallery" and len(wrong) > 1:  # with the count of another run this waits in vain
                code = wrong.index[place % len(wrong)]
                acts.append(partial(visitor.ask_for, code, wrong[code]))
            for act in acts:
                try:
                    act()
                    fault = visitor.fault()
                except (Error, RuntimeError) as error:
                    fault = str(error).split("\n")[0]
                faults.append(fault and f"  {number + 1}, {run.id}, {title}: {fault}")
                if len(faults) == STEPS:
                    return faults
    return faults


def sessions(run: Run) -> None:
    """Print how often one of several people saw what is not theirs."""
    runs = [run, *(other for other in list_runs() if other.usable and other.id != run.id)]
    chosen = [*islice(cycle(runs), PEOPLE)]
    with serving() as server, ThreadPoolExecutor(PEOPLE) as pool:
        faults = sum(pool.map(session, range(PEOPLE), chosen, [server.address] * PEOPLE), [])
    errors = [*filter(None, faults)]
    words = f"{PEOPLE} at once, {len(set(chosen))} runs, {len(faults)} checks, {len(errors)} errors"
    print(f"\nsessions: {words}", *errors, sep="\n")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=find_run)
    parser.add_argument("--training-data", type=Path)
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=(parts := ("cells", "times", "memory", "sessions")), default=parts)
    options = parser.parse_args()
    run = options.run
    os.environ["DERMLENS_RUNS"] = str(run.folder.parent)
    print(f"{run.id} among {len(list_runs())} runs, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    measures = {
        "cells": partial(cells, run),
        "times": partial(times, run, options.rounds, options.training_data),
        "memory": partial(memory, run, options.changes),
        "sessions": partial(sessions, run),
    }
    for part in options.only:
        measures[part]()


if __name__ == "__main__":
    main()
