"""python -m dashboard [--host 127.0.0.1] [--dashboard-port 8501] [--clinic-port 7860]: both servers, one Ctrl-C."""

import argparse
import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from types import FrameType
from typing import IO

from core.diagnoses import RESEARCH_NOTICE
from core.engines import add_option, use
from core.errors import ServerError, command
from core.places import PROJECT
from core.runs.jobs import active_run
from dashboard.login import require_login

HOST = "127.0.0.1"
DASHBOARD_PORT = 8501
CLINIC_PORT = 7860

START_SECONDS = 90.0  # a cold disk is slow; a warm one takes about ten
STOP_SECONDS = 8.0
POLL_SECONDS = 0.2
LAST_LINES = 15


@dataclass
class Server:
    """One child process and what it prints.

    Attributes:
        name: for people.
        address: where it answers.
        process: the child, in a session of its own: Ctrl-C reaches it through us alone.
        output: a temporary file with what it has printed.
    """

    name: str
    address: str
    process: subprocess.Popen
    output: IO[bytes]

    def last_output(self) -> str:
        """The last lines that it printed."""
        self.output.seek(0)
        return "\n".join(self.output.read().decode("utf-8", errors="replace").splitlines()[-LAST_LINES:])

    def answers(self) -> bool:
        """Whether it serves its page by now."""
        try:
            # no proxy: this is our own machine, whatever the environment says
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(self.address, timeout=2) as reply:
                return reply.status == 200
        except (urllib.error.URLError, OSError):
            return False


def port_number(value: str) -> int:
    """A port, as an argument's type."""
    if not value.isdigit() or not 1 <= int(value) <= 65535:
        raise argparse.ArgumentTypeError(f"A port is a whole number from 1 to 65535. Received: {value!r}.")
    return int(value)


def require_free_port(host: str, port: int, option: str) -> None:
    """Check that a server can listen there.

    Args:
        option: what to change it with, for the message.

    Raises:
        ServerError: it cannot.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port just left is free
            probe.bind(address)
    except OSError as error:
        reason = (
            "which is in use"
            if error.errno == errno.EADDRINUSE
            else f"which cannot be used ({error.strerror or error})"
        )
        raise ServerError(
            f"A server needs a free port. Received: {host}:{port}, {reason}. "
            f"Name another one with {option}, or end the program that holds it."
        ) from None


def start(name: str, command: list[str], host: str, port: int) -> Server:
    """Start one server; it does not answer yet."""
    output = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the server; `end` closes it
    environment = {
        "MALLOC_TRIM_THRESHOLD_": "100000",  # bytes: what loading a network took goes back to the system, 0.3 GB
        **os.environ,
        "PYTHONPATH": _python_path(),
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, stdout=output,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    return Server(name, f"http://{_reachable(host)}:{port}", process, output)


def start_both(host: str, dashboard_port: int, clinic_port: int) -> list[Server]:
    """Start the dashboard and the clinician's page."""
    streamlit = [
        "streamlit", "run", "dashboard/app.py", "--server.port", str(dashboard_port), "--server.address", host,
        "--server.headless", "true", "--browser.gatherUsageStats", "false",
    ]  # fmt: skip
    clinic = ["dashboard.clinic", "--host", host, "--port", str(clinic_port)]
    return [
        start("dashboard", streamlit, host, dashboard_port),
        start("clinician's page", clinic, host, clinic_port),
    ]


def check_alive(servers: list[Server]) -> None:
    """Raises ServerError with its last output when one has ended."""
    for server in servers:
        code = server.process.poll()
        if code is not None:
            raise ServerError(
                f"Both servers must keep running. Received: the {server.name} ended with code {code}; "
                f"the other one was stopped too. It printed last:\n{server.last_output() or '(nothing)'}"
            )


def wait_until_they_answer(servers: list[Server], stop: threading.Event) -> None:
    """Wait until both answer, or somebody asks to stop.

    Raises:
        ServerError: one has ended, or they take too long.
    """
    deadline = time.monotonic() + START_SECONDS
    missing = list(servers)
    while missing and not stop.is_set():
        check_alive(servers)
        missing = [server for server in missing if not server.answers()]
        if missing and time.monotonic() > deadline:
            slow = missing[0]
            raise ServerError(
                f"A server must answer within {START_SECONDS:.0f} seconds. Received: nothing from the {slow.name} "
                f"at {slow.address}. It printed last:\n{slow.last_output() or '(nothing)'}"
            )
        stop.wait(POLL_SECONDS)


def end(servers: list[Server]) -> None:
    """End all servers: ask, wait, then insist."""
    for server in servers:
        if server.process.poll() is None:
            server.process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for server in servers:
        try:
            server.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
        server.output.close()


@command
def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    use(options.engine)
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)
    closed = getattr(signal, "SIGHUP", None)  # the terminal is gone; Windows has no such signal
    if closed and signal.getsignal(closed) != signal.SIG_IGN:  # as under nohup
        signal.signal(closed, ask_to_stop)
    servers: list[Server] = []
    try:
        if options.dashboard_port == options.clinic_port:
            raise ServerError(f"The two servers need two ports. Received: {options.clinic_port} for both.")
        require_free_port(options.host, options.dashboard_port, "--dashboard-port")
        require_free_port(options.host, options.clinic_port, "--clinic-port")
        require_login(options.host)
        servers = start_both(options.host, options.dashboard_port, options.clinic_port)
        print("Starting both servers ...", flush=True)
        wait_until_they_answer(servers, stop)
        if not stop.is_set():
            print(_welcome(servers), flush=True)
        while not stop.wait(1.0):
            check_alive(servers)
    finally:
        end(servers)
    print("Both servers have ended.", flush=True)
    training = active_run()
    if training is not None:
        print(f"Run {training.id} goes on training, in process {training.status().pid}.", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dashboard", description="Serve both user interfaces.")
    for option, variable, default, kind, meaning in (
        ("--host", "DERMLENS_HOST", HOST, str, "address to listen on"),
        ("--dashboard-port", "DERMLENS_DASHBOARD_PORT", str(DASHBOARD_PORT), port_number, "the analyst's dashboard"),
        ("--clinic-port", "DERMLENS_CLINIC_PORT", str(CLINIC_PORT), port_number, "the clinician's page"),
    ):
        value = os.environ.get(variable) or default
        parser.add_argument(option, type=kind, default=value, help=f"{meaning} ({variable}; now {value})")
    add_option(parser)
    return parser


def _welcome(servers: list[Server]) -> str:
    lines = [f"  {server.name.capitalize():<18}{server.address}" for server in servers]
    return "\n".join(["", *lines, "", RESEARCH_NOTICE, "Ctrl-C ends both.", ""])


def _reachable(host: str) -> str:
    """An address that a browser on this computer can open."""
    if host in ("0.0.0.0", "::", ""):
        return HOST
    return f"[{host}]" if ":" in host else host


def _python_path() -> str:
    """The project first: `streamlit run` puts only the script's own folder on the path."""
    return os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))


if __name__ == "__main__":
    sys.exit(main())
