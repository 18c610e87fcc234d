"""FireEdge: files that it needs, login and sessions, the zone endpoint, and what it passes on."""

from __future__ import annotations

import base64
import hmac
import http.client
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from lab.standins.opennebula.services import Service
from tests.lab.standins.services.conftest import Start
from tests.lab.standins.services.events import Events
from tests.lab.standins.services.fake_oned import FakeOned
from tests.lab.standins.services.web import Browser, Desk, WebSocket, until

LOGIN = {"user": "oneadmin", "token": "rehearsal"}
API = "/fireedge/api"


@pytest.fixture
def fireedge(install: Start, oned: FakeOned) -> Service:
    service = install("fireedge", {"one_xmlrpc": oned.endpoint})
    service.start()
    return service


@pytest.fixture
def browser(fireedge: Service) -> Browser:
    """Logged in."""
    browser = Browser(fireedge.port)
    assert browser.ask("POST", f"{API}/auth", LOGIN).status == 200
    return browser


def test_paths_before_a_login(fireedge: Service) -> None:
    browser = Browser(fireedge.port)
    first = browser.ask("GET", "/")
    assert (first.status, first.headers["location"]) == (302, "/fireedge/sunstone")
    for path in ("/fireedge/sunstone", "/fireedge/sunstone/dashboard", "/fireedge/sunstone/host"):
        page = browser.ask("GET", path)
        assert page.status == 200
        assert "rehearsal stand-in" in page.text
    assert browser.ask("GET", f"{API}/user/info").json == {"id": 401, "message": "Unauthorized"}
    assert browser.ask("PUT", f"{API}/vm/allocate", {"template": "CPU=1"}).status == 401
    assert browser.ask("GET", f"{API}/nothing/there").json == {"id": 404, "message": "Not Found"}


def test_a_page_without_the_probes_configuration_ends_the_process(install: Start, oned: FakeOned) -> None:
    """As the real 7.4 on a machine that has not oned's package; 6.10 asks for no such file."""
    fireedge = install("fireedge", {"one_xmlrpc": oned.endpoint})
    shutil.rmtree(fireedge.directory / "var" / "remotes")
    process = fireedge.launch()
    until(lambda: "Server listen" in fireedge.said())
    with pytest.raises((OSError, http.client.HTTPException)):
        Browser(fireedge.port).ask("GET", "/fireedge/sunstone")
    assert process.wait(10) != 0
    assert "remotes/etc/im" in fireedge.said()


def test_drivers_defaults_come_from_its_own_machine(fireedge: Service, browser: Browser) -> None:
    assert "GUEST_AGENT" in browser.ask("GET", f"{API}/system/vmmconfig?hypervisor=kvm").json["data"]["FEATURES"]
    assert browser.ask("GET", f"{API}/system/vmmconfig?hypervisor=lxc").status == 404
    shutil.rmtree(fireedge.directory / "etc" / "vmm_exec")
    refused = browser.ask("GET", f"{API}/system/vmmconfig?hypervisor=kvm").json
    assert (refused["id"], refused["message"]) == (500, "Failed to load vmm_exec config")


def test_the_session_is_what_the_real_one_gives(fireedge: Service, oned: FakeOned) -> None:
    browser = Browser(fireedge.port)
    answer = browser.ask("POST", f"{API}/auth", LOGIN)
    assert answer.json == {"id": 200, "message": "OK", "data": {"status": "ok"}}
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("FireedgeToken=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    jwt = json.loads(unquote(browser.cookies["FireedgeToken"]))["token"]
    head, body, signature = jwt.split(".")
    key = (fireedge.directory / "var" / ".one" / "fireedge_key").read_text()
    expected = hmac.digest(key.encode(), f"{head}.{body}".encode(), "sha256")
    assert base64.urlsafe_b64decode(signature + "=") == expected
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    assert (claims["iss"], claims["aud"]) == ("0", "serveradmin:oneadmin")
    # serveradmin's session for the user reaches oned: it is oneadmin who asks.
    before = oned.asked("one.hostpool.info")
    hosts = browser.ask("GET", f"{API}/hostpool/info").json["data"]["HOST_POOL"]["HOST"]
    assert [(host["NAME"], host["STATE"]) for host in hosts] == [("node-kvm", "2"), ("node-lxc", "3")]
    assert oned.asked("one.hostpool.info") == before + 1
    assert oned.calls[-1][0] == "oneadmin"


@pytest.mark.parametrize(
    "login", [{"user": "oneadmin", "token": "wrong"}, {"user": "nobody", "token": "rehearsal"}, {}]
)
def test_a_wrong_login(fireedge: Service, login: dict[str, str]) -> None:
    answer = Browser(fireedge.port).ask("POST", f"{API}/auth", login)
    assert answer.json == {"id": 401, "message": "core user not found"}
    assert "set-cookie" not in answer.headers


def test_a_wrong_sunstone_auth_fails_at_the_login(fireedge: Service) -> None:
    fireedge.auth.write_text("serveradmin:another\n")
    assert Browser(fireedge.port).ask("POST", f"{API}/auth", LOGIN).status == 500


def test_a_restart_logs_everybody_out_although_the_key_stays(fireedge: Service, browser: Browser) -> None:
    assert browser.ask("GET", f"{API}/user/info").status == 200
    assert fireedge.stop() == 0
    fireedge.start()
    answer = browser.ask("GET", f"{API}/user/info")
    assert (answer.status, answer.json) == (401, {"data": "expired"})


def test_logging_out(browser: Browser) -> None:
    kept = dict(browser.cookies)
    assert browser.ask("POST", f"{API}/auth/logout", {}).status == 200
    browser.cookies = kept
    assert browser.ask("GET", f"{API}/user/info").status == 401


def test_a_signed_token_that_no_login_gave(fireedge: Service, browser: Browser) -> None:
    key = (fireedge.directory / "var" / ".one" / "fireedge_key").read_text().encode()
    claims = {"iss": "0", "aud": "serveradmin:oneadmin", "jti": "another"}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "HS256"}, claims)]
    text = b".".join(parts)
    signature = base64.urlsafe_b64encode(hmac.digest(key, text, "sha256")).rstrip(b"=")
    stranger = Browser(
        fireedge.port, {"FireedgeToken": quote(json.dumps({"token": (text + b"." + signature).decode()}))}
    )
    assert stranger.ask("GET", f"{API}/user/info").json == {"data": "expired"}
    assert browser.ask("GET", f"{API}/user/info").status == 200


def test_another_key_signed_the_token(browser: Browser) -> None:
    jwt = json.loads(unquote(browser.cookies["FireedgeToken"]))["token"]
    forged = jwt[:-4] + ("AAAA" if jwt[-4:] != "AAAA" else "BBBB")
    browser.cookies["FireedgeToken"] = json.dumps({"token": forged})
    assert browser.ask("GET", f"{API}/user/info").json == {"id": 401, "message": "Unauthorized"}


def test_the_zone_endpoint_of_the_database_counts_after_the_first_login(install: Start, oned: FakeOned) -> None:
    oned.zone_endpoint = "http://localhost:1/RPC2"  # where nothing listens, as localhost in another pod
    fireedge = install("fireedge", {"one_xmlrpc": oned.endpoint})
    fireedge.start()
    browser = Browser(fireedge.port)
    assert browser.ask("POST", f"{API}/auth", LOGIN).status == 200
    until(lambda: "zones cached" in fireedge.log())
    assert browser.ask("GET", f"{API}/hostpool/info").status == 500
    assert Browser(fireedge.port).ask("POST", f"{API}/auth", LOGIN).status == 500


def test_a_vm_from_a_template_text(browser: Browser, oned: FakeOned) -> None:
    made = browser.ask("PUT", f"{API}/vm/allocate", {"template": 'NAME="first"\nCPU="1"\nMEMORY="64"'})
    assert made.json == {"id": 200, "message": "OK", "data": 0}
    oned.run(oned.vms[0])
    seen = browser.ask("GET", f"{API}/vm/info/0").json["data"]["VM"]
    assert (seen["NAME"], seen["STATE"], seen["LCM_STATE"], seen["UNAME"]) == ("first", "3", "3", "oneadmin")
    assert browser.ask("GET", f"{API}/vmpool/info").json["data"]["VM_POOL"]["VM"]["ID"] == "0"
    assert browser.ask("PUT", f"{API}/vm/action/0", {"action": "terminate"}).json["data"] == 0
    missing = browser.ask("GET", f"{API}/vm/info/7")
    assert (missing.status, missing.json["data"]) == (404, "[one.vm.info] Error getting virtual machine [7].")


def test_instantiating_a_template(browser: Browser, oned: FakeOned) -> None:
    oned.templates.append("CPU=1")
    made = browser.ask("PUT", f"{API}/template/instantiate/0", {"name": "from-template", "template": "", "hold": False})
    assert made.json["data"] == 0
    assert oned.vms[0].name == "from-template"


def test_oned_is_away(install: Start) -> None:
    fireedge = install("fireedge", {"one_xmlrpc": "http://127.0.0.1:1/RPC2"})
    fireedge.start()  # as the real one
    answer = Browser(fireedge.port).ask("POST", f"{API}/auth", LOGIN)
    assert answer.json == {"id": 500, "message": "Internal Server Error"}


@pytest.mark.parametrize("content", [None, ""])
def test_without_sunstone_auth(install: Start, content: str | None) -> None:
    fireedge = install("fireedge")
    fireedge.auth.unlink() if content is None else fireedge.auth.write_text(content)
    assert fireedge.fails() == 1
    assert "sunstone_auth" in fireedge.said()


def test_the_key_is_kept_and_a_missing_one_is_made(install: Start) -> None:
    fireedge = install("fireedge")
    key = fireedge.auth.with_name("fireedge_key")
    fireedge.start()
    made = key.read_text()
    assert len(made) == 32
    fireedge.stop()
    fireedge.start()
    assert key.read_text() == made


def test_a_key_that_cannot_be_made(install: Start) -> None:
    fireedge = install("fireedge")
    fireedge.auth.with_name("fireedge_key").symlink_to("/proc/fireedge_key")  # nobody can write there, root neither
    assert fireedge.fails() != 0
    assert "ENOENT" in fireedge.said()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("prot: 2616\n", 'unknown key "prot"'),
        ("port: '2616'\n", 'port cannot be "2616"'),
        ("guacd:\n  prt: 4822\n", 'unknown key "guacd.prt"'),
        ("host: a\nhost: b\n", 'line 2: key "host" is there twice'),
        ("host: &anchor a\n", "line 1"),
        ("\thost: a\n", "a tab cannot indent"),
        ("host: 'a\n", "is not closed"),
        ("one_xmlrpc: localhost:2633\n", "one_xmlrpc cannot be"),
        ("subscriber_endpoint: localhost:2101\n", "subscriber_endpoint cannot be"),
        ("- a\n", "not a mapping"),
    ],
)
def test_a_configuration_that_is_refused(
    install: Start, monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    fireedge = install("fireedge")
    monkeypatch.setattr(fireedge, "write_config", lambda: None)
    fireedge.config.write_text(text)
    assert fireedge.fails() == 1
    assert problem in fireedge.said()


def test_no_configuration(install: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    fireedge = install("fireedge")
    monkeypatch.setattr(fireedge, "write_config", lambda: None)
    assert fireedge.fails() == 1
    assert "fireedge-server.conf: ENOENT" in fireedge.said()


def test_the_shipped_files_as_they_are(install: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    fireedge = install("fireedge")
    fireedge.write_config()
    shipped = (fireedge.directory / "lib").resolve().parents[2] / "etc" / "one" / "fireedge-server.conf"
    monkeypatch.setattr(fireedge, "write_config", lambda: None)
    fireedge.config.write_text(shipped.read_text().replace("port: 2616", f"port: {fireedge.port}"))
    fireedge.start()


def upload(browser: Browser, field: str, content: bytes) -> tuple[int, dict[str, object]]:
    boundary = "----rehearsal"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="disk.img"\r\n\r\n'.encode()
    answer = browser.ask(
        "POST",
        f"{API}/image/upload",
        raw=head + content + f"\r\n--{boundary}--\r\n".encode(),
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    return answer.status, answer.json


def test_an_uploaded_file_lies_in_tmpdir(install: Start, oned: FakeOned, tmp_path: Path) -> None:
    target = tmp_path / "uploads"
    target.mkdir()
    fireedge = install("fireedge", {"one_xmlrpc": oned.endpoint})
    config = fireedge.directory / "etc" / "fireedge" / "sunstone" / "sunstone-server.conf"
    config.write_text(config.read_text().replace("'/var/tmp'", str(target)).replace("10737418240", "300000"))
    fireedge.start()
    browser = Browser(fireedge.port)
    assert upload(browser, "files", b"x")[0] == 401
    browser.ask("POST", f"{API}/auth", LOGIN)
    content = bytes(range(256)) * 1000 + b"\r\n--almost\r\n"
    status, answer = upload(browser, "files", content)
    assert status == 200
    [stored] = answer["data"] if isinstance(answer["data"], list) else []
    assert Path(stored).parent == target
    assert Path(stored).read_bytes() == content
    assert upload(browser, "other", b"x")[0] == 400
    assert upload(browser, "files", bytes(300001))[0] == 400
    assert list(target.iterdir()) == [Path(stored)]


def test_services_go_to_oneflow_with_the_users_session(install: Start, oned: FakeOned) -> None:
    oneflow = install("oneflow", {":one_xmlrpc": oned.endpoint})
    oneflow.start()
    fireedge = install("fireedge", {"one_xmlrpc": oned.endpoint, "oneflow_server": oneflow.url})
    fireedge.start()
    browser = Browser(fireedge.port)
    browser.ask("POST", f"{API}/auth", LOGIN)
    assert browser.ask("GET", f"{API}/service").json["data"] == {"DOCUMENT_POOL": {}}
    assert oned.calls[-1] == ("oneadmin", "one.documentpool.info")
    oneflow.stop()
    assert browser.ask("GET", f"{API}/service").status == 500


def test_events_of_one_resource(install: Start, events: Events, oned: FakeOned) -> None:
    fireedge = install("fireedge", {"one_xmlrpc": oned.endpoint, "subscriber_endpoint": events.endpoint})
    oned.zone_endpoint = ""  # an unusable pool entry would hide the configured publisher; an empty pool does not
    oned._zonepool_info = lambda _user: "<ZONE_POOL></ZONE_POOL>"  # type: ignore[method-assign]
    fireedge.start()
    browser = Browser(fireedge.port)
    browser.ask("POST", f"{API}/auth", LOGIN)
    browser.ask("PUT", f"{API}/vm/allocate", {"template": "NAME=watched"})
    path = "/fireedge/websockets/hooks?resource=VM&id=0"
    cookie = {"Cookie": f"FireedgeToken={browser.cookies['FireedgeToken']}"}
    assert WebSocket(fireedge.port, path).status == 401
    assert WebSocket(fireedge.port, path, cookie).status == 403, "only what was looked at may be followed"
    browser.ask("GET", f"{API}/vm/info/0")
    follower = WebSocket(fireedge.port, path, cookie)
    assert follower.status == 101
    events.subscribed("EVENT VM 0")
    oned.publish = events.publish
    oned.run(oned.vms[0])
    message = json.loads(follower.read() or b"")
    assert message["command"].startswith("EVENT VM 0/ACTIVE/RUNNING")
    assert message["data"]["HOOK_MESSAGE"]["VM"]["NAME"] == "watched"
    follower.close()


CONSOLE = Path(__file__).parents[4] / "lab/standins/opennebula/root/var/lib/one/remotes/vmm/lib/console.rb"


@contextmanager
def machine_console(lock: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The console of a machine of the rehearsal, as a host starts it, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = ["ruby", str(CONSOLE), "one-0", str(server.fileno()), lock]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=(server.fileno(),)) as process:
            try:
                yield int(server.getsockname()[1]), process
            finally:
                process.kill()


def open_console(install: Start, oned: FakeOned, port: int) -> WebSocket:
    """The browser's WebSocket to the console of a machine."""
    guacd = install("guacd")
    guacd.start()
    fireedge = install("fireedge", {"one_xmlrpc": oned.endpoint, "guacd": {"host": "127.0.0.1", "port": guacd.port}})
    fireedge.start()
    browser = Browser(fireedge.port)
    browser.ask("POST", f"{API}/auth", LOGIN)
    browser.ask("PUT", f"{API}/vm/allocate", {"template": "NAME=shown"})
    assert browser.ask("GET", f"{API}/vm/0/guacamole/vnc").status == 400, "not on a host yet"
    oned.vms[0].hostname, oned.vms[0].port = "127.0.0.1", port
    token = browser.ask("GET", f"{API}/vm/0/guacamole/vnc").json["data"]
    assert WebSocket(fireedge.port, "/fireedge/guacamole?token=forged").status == 400
    return WebSocket(fireedge.port, f"/fireedge/guacamole?token={quote(token)}", protocol="guacamole")


def said_until(console: WebSocket, words: bytes) -> bytes:
    said = b""
    while words not in said:
        frame = console.read()
        assert frame is not None, said
        said += frame
    return said


def test_a_console_reaches_the_host_through_guacd(install: Start, oned: FakeOned) -> None:
    """Both ways: the desktop's name comes to the browser, a key of the browser's to the machine."""
    with machine_console("open") as (port, machine):
        console = open_console(install, oned, port)
        assert console.status == 101
        said = said_until(console, b"a rehearsal stand-in")
        assert said.startswith(b"5.ready,37.$")
        assert b"4.size,1.0,3.640,3.480;" in said
        assert f".one-0 on {socket.gethostname()}, a rehearsal stand-in".encode() in said
        console.send(b"3.key,2.97,1.1;3.key,2.97,1.0;")
        assert machine.stdout is not None
        assert [machine.stdout.readline() for _ in range(2)] == ["key 97 pressed\n", "key 97 released\n"]


def test_a_console_that_lets_nobody_in(install: Start, oned: FakeOned) -> None:
    with machine_console("locked") as (port, _):
        console = open_console(install, oned, port)
        assert b"3.769;" in said_until(console, b"5.error")


def test_a_console_that_speaks_something_else(install: Start, oned: FakeOned, desk: Desk) -> None:
    console = open_console(install, oned, desk.port)
    with desk.accept("SSH-2.0-door\r\n"):
        assert b"not a VNC server" in said_until(console, b"3.519;")


def test_a_console_of_a_host_that_is_away(install: Start, oned: FakeOned) -> None:
    guacd = install("guacd")
    guacd.start()
    fireedge = install("fireedge", {"one_xmlrpc": oned.endpoint, "guacd": {"host": "127.0.0.1", "port": guacd.port}})
    fireedge.start()
    browser = Browser(fireedge.port)
    browser.ask("POST", f"{API}/auth", LOGIN)
    browser.ask("PUT", f"{API}/vm/allocate", {"template": "NAME=shown"})
    oned.vms[0].hostname, oned.vms[0].port = "127.0.0.1", 1
    token = browser.ask("GET", f"{API}/vm/0/guacamole/vnc").json["data"]
    console = WebSocket(fireedge.port, f"/fireedge/guacamole?token={token.replace('+', '%2B')}")
    frames = []
    while (frame := console.read()) is not None:
        frames.append(frame)
    assert b"".join(frames).endswith(b",3.519;")
