"""`python -m dashboard`: two addresses, one Ctrl-C, and a sentence when a port is taken."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest

from core.errors import ServerError
from core.places import PROJECT
from dashboard import __main__ as servers
from tests.dashboard.conftest import free_port

COMMAND = [sys.executable, "-m", "dashboard"]


@pytest.fixture
def taken_port():
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_port_in_use_is_named_with_the_option_that_changes_it(taken_port):
    with pytest.raises(ServerError, match=rf"127\.0\.0\.1:{taken_port}, which is in use.*--clinic-port"):
        servers.require_free_port("127.0.0.1", taken_port, "--clinic-port")


def test_command_line_says_so_without_a_traceback(taken_port):
    asked = [*COMMAND, "--dashboard-port", str(taken_port), "--clinic-port", str(free_port())]
    done = subprocess.run(asked, cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert str(taken_port) in done.stderr
    assert "--dashboard-port" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_two_ports_must_differ():
    done = subprocess.run(
        [*COMMAND, "--dashboard-port", "9999", "--clinic-port", "9999"],
        cwd=PROJECT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "two ports" in done.stderr


@pytest.mark.parametrize("value", ["0", "70000", "http", "-1"])
def test_port_out_of_range_is_refused(value):
    with pytest.raises(servers.argparse.ArgumentTypeError, match="1 to 65535"):
        servers.port_number(value)


def test_environment_sets_the_defaults(monkeypatch):
    monkeypatch.setenv("DERMLENS_HOST", "0.0.0.0")
    monkeypatch.setenv("DERMLENS_CLINIC_PORT", "7999")
    options = servers._parser().parse_args([])
    assert (options.host, options.clinic_port, options.dashboard_port) == ("0.0.0.0", 7999, 8501)


def test_server_that_ends_is_named_with_what_it_printed():
    server = servers.start("page", ["no_such_module_anywhere"], "127.0.0.1", free_port())
    server.process.wait(30)
    with pytest.raises(ServerError, match=r"the page ended with code 1(?s:.*)no_such_module_anywhere"):
        servers.check_alive([server])
    servers.end([server])


@pytest.mark.parametrize(("before", "ends"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
def test_servers_end_with_their_terminal_unless_they_run_under_nohup(before, ends, monkeypatch):
    seen = []

    def closed(servers, stop):
        os.kill(os.getpid(), signal.SIGHUP)
        seen.append(stop.is_set())
        stop.set()

    monkeypatch.setattr(servers, "start_both", lambda *_: [])
    monkeypatch.setattr(servers, "wait_until_they_answer", closed)
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGHUP, before)
    try:
        assert servers.main(["--dashboard-port", str(free_port()), "--clinic-port", str(free_port())]) == 0
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    assert seen == [ends]


def test_both_answer_and_end_on_one_interrupt(runs_folder):
    ports = free_port(), free_port()
    began = time.monotonic()
    launcher = subprocess.Popen(
        [*COMMAND, "--dashboard-port", str(ports[0]), "--clinic-port", str(ports[1])],
        cwd=PROJECT, env={**os.environ, "DERMLENS_RUNS": str(runs_folder)}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        printed = ""
        while "Ctrl-C" not in printed:
            line = launcher.stdout.readline()
            assert line, f"ended early: {printed}"
            printed += line
        assert time.monotonic() - began < 60
        children = psutil.Process(launcher.pid).children()
        addresses = re.findall(r"http://\S+", printed)
        assert addresses == [f"http://127.0.0.1:{port}" for port in ports]
        for address in addresses:
            with urllib.request.urlopen(address, timeout=10) as reply:
                assert reply.status == 200
        launcher.send_signal(signal.SIGINT)
        rest = launcher.communicate(timeout=30)[0]
        assert launcher.returncode == 0
        assert "Traceback" not in rest
        assert len(children) == 2
        assert not any(child.is_running() for child in children)
    finally:
        if launcher.poll() is None:
            launcher.kill()
            launcher.wait()
