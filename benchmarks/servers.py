"""From `python -m dashboard` to two answering pages, and the memory of both after each has done its work.

    python benchmarks/servers.py

Needs a finished run that is served (`make demo` leaves one), and Chromium.
"""

import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
from playwright.sync_api import sync_playwright

PROJECT = Path(__file__).resolve().parents[1]
PAGES = {"dashboard": "http://127.0.0.1:18501/_stcore/health", "clinic": "http://127.0.0.1:17860/"}
LIMIT = 120.0


def answers(address: str) -> bool:
    """Whether a page comes back."""
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def visit() -> None:
    """Look at the pages that need the network, until both servers have loaded it."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = chromium.new_page()
        page.goto("http://127.0.0.1:18501/explain")
        page.get_by_text("What speaks for").wait_for(timeout=60_000)
        page.goto(PAGES["clinic"])
        page.locator("#assess").wait_for(timeout=60_000)
        time.sleep(5)
        chromium.close()


def main() -> None:
    """Measure and print."""
    started = time.perf_counter()
    servers = subprocess.Popen(
        [sys.executable, "-m", "dashboard", "--dashboard-port", "18501", "--clinic-port", "17860"],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
    )
    try:
        waiting = dict(PAGES)
        while waiting and time.perf_counter() - started < LIMIT:
            for name, address in list(waiting.items()):
                if answers(address):
                    print(f"{name:<10} answers after {time.perf_counter() - started:.1f} s (bar: 20 s)")
                    del waiting[name]
            time.sleep(0.1)
        visit()
        processes = psutil.Process(servers.pid).children(recursive=True)
        memory = sum(process.memory_info().rss for process in processes) / 1e9
        for process in processes:
            print(f"  {process.memory_info().rss / 1e9:.2f} GB  {' '.join(process.cmdline()[2:5])}")
        print(f"memory     {memory:.2f} GB in {len(processes)} processes, networks loaded (bar: 2.5 GB)")
    finally:
        servers.send_signal(signal.SIGINT)
        servers.wait(timeout=30)


if __name__ == "__main__":
    main()
