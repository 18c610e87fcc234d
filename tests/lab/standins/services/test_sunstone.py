"""The legacy Sunstone of 6.10 and the noVNC proxy beside it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from lab.standins.opennebula.services import Service
from tests.lab.standins.services.conftest import Start
from tests.lab.standins.services.fake_oned import FakeOned
from tests.lab.standins.services.web import Browser, Desk, WebSocket, basic

LOGIN = basic("oneadmin:rehearsal")


@pytest.fixture
def sunstone(install: Start, oned: FakeOned) -> Service:
    service = install("sunstone", {":one_xmlrpc": oned.endpoint})
    service.start()
    return service


def csrf(browser: Browser) -> str:
    found = re.search(r'csrftoken = "(\w+)"', browser.ask("GET", "/").text)
    assert found is not None
    return found[1]


def test_login_and_hosts(sunstone: Service) -> None:
    browser = Browser(sunstone.port)
    page = browser.ask("GET", "/login")
    assert page.status == 200
    assert "OpenNebula 6.10.5 Sunstone rehearsal stand-in" in page.text
    assert browser.ask("GET", "/host").status == 401
    assert browser.ask("POST", "/login", headers=basic("oneadmin:wrong")).status == 401
    assert browser.ask("POST", "/login").status == 401
    assert browser.ask("POST", "/login", headers=LOGIN).status == 204
    assert browser.ask("GET", "/host").status == 401, "a cookie alone is not enough"
    token = csrf(browser)
    hosts = browser.ask("GET", f"/host?csrftoken={token}").json["HOST_POOL"]["HOST"]
    assert [host["NAME"] for host in hosts] == ["node-kvm", "node-lxc"]
    assert browser.ask("GET", f"/nothing?csrftoken={token}").status == 404
    assert browser.ask("GET", "/version").json == {"version": "6.10.5"}
    browser.ask("POST", f"/logout?csrftoken={token}")
    assert browser.ask("GET", f"/host?csrftoken={token}").status == 401


def test_a_console_through_novnc(sunstone: Service, install: Start, oned: FakeOned, desk: Desk) -> None:
    novnc = install("novnc")
    novnc.start()
    oned._vm_allocate(oned.users[0], "NAME=shown", False)
    oned.vms[0].hostname, oned.vms[0].port = "127.0.0.1", desk.port
    browser = Browser(sunstone.port)
    browser.ask("POST", "/login", headers=LOGIN)
    path = f"/vm/0/startvnc?csrftoken={csrf(browser)}"
    assert browser.ask("POST", path).status == 400, "no lock file: the proxy is not running"
    (sunstone.directory / "var" / ".novnc.lock").write_text("1")
    token = browser.ask("POST", path).json["token"]
    assert WebSocket(novnc.port, "/?token=another").status == 0
    console = WebSocket(novnc.port, f"/?token={token}", protocol="binary")
    assert console.status == 101
    connection = desk.accept()
    assert console.read() == b"RFB 003.008\n"
    console.send(b"RFB 003.008\n", kind=2)
    assert connection.recv(64) == b"RFB 003.008\n"
    connection.close()
    assert console.read() is None
    assert Browser(novnc.port).ask("GET", "/").status == 405


def test_novnc_server_starts_and_stops_the_proxy(install: Start, oned: FakeOned) -> None:
    novnc = install("novnc")
    sunstone = install("sunstone", {":vnc_proxy_port": novnc.port})
    sunstone.write_config()

    def server(word: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ruby", sunstone.directory / "bin" / "novnc-server", word],
            env={"ONE_LOCATION": str(sunstone.directory), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    lock = sunstone.directory / "var" / ".novnc.lock"
    try:
        assert server("start").stdout == "VNC proxy started\n"
        assert novnc.listening()
        assert server("start").returncode != 0
        assert server("status").stdout == "VNC is running\n"
    finally:
        assert server("stop").stdout == "VNC proxy stopped\n"
    assert not lock.exists()
    assert not novnc.listening()
    assert server("status").returncode != 0


def test_without_its_credential(install: Start) -> None:
    service = install("sunstone")
    service.auth.unlink()
    assert service.fails() == 255
    assert "Error initializing authentication system" in service.log()


def test_a_configuration_that_is_refused(install: Start) -> None:
    service = install("sunstone", {":sessions": "redis"})
    assert service.fails() == 1
    assert ":sessions: cannot be" in service.said()


def test_oned_is_away(install: Start, tmp_path: Path) -> None:
    service = install("sunstone", {":one_xmlrpc": "http://127.0.0.1:1/RPC2"})
    service.start()
    assert Browser(service.port).ask("POST", "/login", headers=LOGIN).status == 500
