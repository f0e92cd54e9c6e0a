"""Nobody else's computer reaches a page without a login, and a login lets in only those who have one."""

import os
import subprocess
import sys

import httpx
import pytest
from streamlit.testing.v1 import AppTest

from core.errors import ServerError
from core.places import PROJECT
from dashboard import login
from tests.dashboard.conftest import free_port


@pytest.mark.parametrize(("host", "own"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False),
                                           ("192.168.1.5", False), ("clinic.example", False)])  # fmt: skip
def test_another_address_than_ones_own_needs_a_login(host, own, monkeypatch):
    monkeypatch.delenv("DERMLENS_LOGIN", raising=False)
    if own:
        login.require_login(host)
    else:
        with pytest.raises(ServerError, match="needs a login"):
            login.require_login(host)
    monkeypatch.setenv("DERMLENS_LOGIN", "anna:secret")
    login.require_login(host)
    monkeypatch.setenv("DERMLENS_LOGIN", "open")
    login.require_login(host)


def test_only_whole_pairs_enter(monkeypatch):
    monkeypatch.setenv("DERMLENS_LOGIN", "anna:se:cret, ben:other")
    assert login.may_enter("anna", "se:cret") and login.may_enter("ben", "other")
    for name, password in (("anna", "other"), ("anna", ""), ("", ""), ("ben", "se:cret"), ("anna", "se:cret ")):
        assert not login.may_enter(name, password)


@pytest.mark.parametrize("value", ["anna", ":", "anna:", ":secret", "anna:secret,"])
def test_a_broken_setting_is_named_without_its_secret(value, monkeypatch):
    monkeypatch.setenv("DERMLENS_LOGIN", value)
    with pytest.raises(ServerError) as caught:
        login.logins()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("module", ["dashboard", "dashboard.clinic"])
def test_servers_refuse_to_be_reached_by_everybody(module):
    environment = {key: value for key, value in os.environ.items() if key != "DERMLENS_LOGIN"}
    command = [sys.executable, "-m", module, "--host", "0.0.0.0"]
    ports = ["--dashboard-port", str(free_port()), "--clinic-port", str(free_port())]
    command += ports if module == "dashboard" else ["--port", str(free_port())]
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "DERMLENS_LOGIN=name:password" in done.stderr


def test_the_dashboard_shows_nothing_before_the_login(served_run, monkeypatch):
    monkeypatch.setenv("DERMLENS_LOGIN", "anna:secret")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    page = AppTest.from_file(str(PROJECT / "dashboard" / "app.py"), default_timeout=60).run()
    assert not page.title and served_run.id not in str(page)
    page.text_input[0].set_value("anna")
    page.text_input[1].set_value("wrong")
    page.button[0].click().run()
    assert page.error and not page.title
    page.text_input[1].set_value("secret")
    page.button[0].click().run()
    assert page.title[0].value and not page.exception


def test_the_clinicians_page_asks_who_it_is(served_run):
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "dashboard.clinic", "--port", str(port)], cwd=PROJECT, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "DERMLENS_LOGIN": "anna:secret"},
    )  # fmt: skip
    try:
        assert "http" in server.stdout.readline()
        address = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{address}/config").status_code == 401
        call = httpx.post(f"{address}/gradio_api/call/predict", json={"data": [None, False]})
        assert call.status_code == 401
        with httpx.Client(base_url=address) as visitor:
            assert visitor.post("/login", data={"username": "anna", "password": "wrong"}).status_code == 400
            assert visitor.post("/login", data={"username": "anna", "password": "secret"}).status_code == 200
            assert visitor.get("/config").status_code == 200
    finally:
        server.terminate()
        server.communicate(timeout=30)
