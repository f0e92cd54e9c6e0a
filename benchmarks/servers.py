"""From `python -m dashboard` to two answering pages, and the memory of both after each has done its work.

    python benchmarks/servers.py

Needs a finished run that is served (`make demo` leaves one).
"""

import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil

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
        time.sleep(25)  # both load their network in the background
        processes = psutil.Process(servers.pid).children(recursive=True)
        memory = sum(process.memory_info().rss for process in processes) / 1e9
        print(f"memory     {memory:.2f} GB in {len(processes)} processes, networks loaded (bar: 2.5 GB)")
    finally:
        servers.send_signal(signal.SIGINT)
        servers.wait(timeout=30)


if __name__ == "__main__":
    main()
