"""onemonitord's rules and the messages of hosts, with a clock of the test's own and no network."""

from __future__ import annotations

import base64
import subprocess
import zlib
from pathlib import Path

import pytest
from standin.log import Log
from standin.messages import Message, MessageError, pack, read, unpack
from standin.monitord.manager import Manager
from standin.monitord.protocol import Protocol
from standin.monitord.rsa import KeyFileError, PrivateKey
from standin.template import Template

INTERVAL = 180


class Driver:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)

    @property
    def actions(self) -> list[tuple[str, int]]:
        return [(message.kind, message.oid) for message in (read(line, timestamp=True) for line in self.lines)]


class Rows:
    def __init__(self) -> None:
        self.rows: list[tuple[int, str]] = []

    def add(self, oid: int, stamp: int, probes: Template) -> bool:
        self.rows.append((oid, probes.get("FREECPU")))
        return True

    def add_machine(self, oid: int, stamp: int, probes: Template) -> bool:
        return True

    def expire(self) -> None:
        pass


class Zone:
    """A manager with everything around it in view."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: PrivateKey | None = None) -> None:
        self.now = 1000.0
        monkeypatch.setattr("time.time", lambda: self.now)
        self.driver = Driver()
        self.rows = Rows()
        self.told: list[tuple[str, int, str]] = []
        self._log = tmp_path / "monitor.log"
        log = Log("file", 5, self._log, "test")
        self.manager = Manager(
            drivers={"kvm": self.driver},
            client_config="<MONITOR_CONFIGURATION/>",
            history=self.rows,
            tell_oned=lambda message: self.told.append((message.kind, message.oid, message.payload)),
            interval_seconds=INTERVAL,
            timer_seconds=15,
            log=log,
        )
        self.protocol = Protocol(self.manager, log, key)

    def lead(self) -> None:
        self.manager.raft_status("SOLO")

    def host(self, oid: int = 7, state: int = 0, driver: str = "kvm") -> None:
        self.manager.update_host(
            f"<HOST><ID>{oid}</ID><NAME>h{oid}</NAME><STATE>{state}</STATE><IM_MAD>{driver}</IM_MAD>"
            f"<VM_MAD>{driver}</VM_MAD><CLUSTER_ID>0</CLUSTER_ID><CLUSTER>default</CLUSTER><TEMPLATE/></HOST>"
        )

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.manager.tick()

    def log(self) -> str:
        return self._log.read_text()

    def receive(self, kind: str, payload: str, *, status: str = "SUCCESS", oid: int = 7, stamp: int = 1) -> None:
        self.protocol.take(f"{kind} {status} {oid} {stamp} {pack(payload)}")


@pytest.fixture
def zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zone:
    zone = Zone(tmp_path, monkeypatch)
    zone.lead()
    return zone


def test_a_new_host_is_probed_at_once(zone: Zone) -> None:
    zone.host()
    assert zone.driver.actions == [("START_MONITOR", 7)]
    assert "Monitoring host h7(7)" in zone.log()
    action = read(zone.driver.lines[0], timestamp=True).payload
    assert action.startswith("<MONITOR_DRIVER_ACTION><HOST><ID>7</ID><NAME>h7</NAME>")


def test_after_a_restart_even_a_new_host_waits_for_the_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = Zone(tmp_path, monkeypatch)
    zone.manager.host_list("<HOST_POOL/>")
    zone.host()  # the list arrives before the news that this oned leads
    zone.lead()
    zone.tick(INTERVAL)
    assert zone.driver.actions == []
    zone.tick(1)
    assert zone.driver.actions == [("START_MONITOR", 7)]


def test_a_silent_host_is_probed_again_and_a_beacon_is_a_sign_of_life(zone: Zone) -> None:
    zone.host()
    zone.manager.started(7)
    zone.tick(INTERVAL - 1)
    zone.receive("BEACON_HOST", "1")
    zone.tick(INTERVAL)
    assert len(zone.driver.actions) == 1
    zone.tick(1)
    assert zone.driver.actions == [("START_MONITOR", 7)] * 2


def test_a_probe_that_never_answers_is_given_up_after_five_minutes(zone: Zone) -> None:
    zone.host()
    zone.tick(299)
    assert len(zone.driver.actions) == 1
    zone.tick(1)
    assert len(zone.driver.actions) == 2


def test_a_driver_that_nobody_has_is_complained_about_again_and_again(zone: Zone) -> None:
    zone.host(driver="none")
    zone.tick(INTERVAL + 1)
    zone.tick(15)
    assert zone.log().count("start_monitor: Cannot find driver none") == 3
    assert (zone.driver.actions, zone.told) == ([], [])


def test_offline_stops_the_client_and_leaving_offline_starts_it(zone: Zone) -> None:
    zone.host()
    zone.manager.started(7)
    zone.host(state=8)
    zone.receive("MONITOR_HOST", "FREECPU = 1")
    zone.host(state=0)
    assert zone.driver.actions == [("START_MONITOR", 7), ("STOP_MONITOR", 7), ("START_MONITOR", 7)]
    assert zone.rows.rows == []


def test_disabled_is_still_monitored(zone: Zone) -> None:
    zone.host()
    zone.host(state=4)
    zone.receive("MONITOR_HOST", "FREECPU = 5")
    assert zone.rows.rows == [(7, "5")]


def test_a_probe_start_that_fails_says_error_without_a_cause(zone: Zone) -> None:
    zone.host()
    zone.receive("START_MONITOR", "Permission denied (publickey).", status="FAILURE")
    assert zone.told == [("HOST_STATE", 7, "ERROR")]
    assert "Start monitor failed for host 7: Permission denied (publickey)." in zone.log()


def test_the_answer_to_a_probe_start_is_a_full_report(zone: Zone) -> None:
    zone.host()
    packed = {
        kind: base64.b64encode(text.encode()).decode()
        for kind, text in (("SYSTEM_HOST", "ARCH=x"), ("MONITOR_HOST", "FREECPU=9"))
    }
    inner = "".join(f"<{kind}>{text}</{kind}>" for kind, text in packed.items())
    zone.receive("START_MONITOR", f"<MONITOR_MESSAGES>{inner}<TIMESTAMP>5</TIMESTAMP></MONITOR_MESSAGES>")
    assert zone.told == [("HOST_SYSTEM", 7, "ARCH=x")]
    assert zone.rows.rows == [(7, "9")]
    assert "Start monitor success, host: 7" in zone.log()


@pytest.mark.parametrize("kind", ["MONITOR_HOST", "SYSTEM_HOST", "BEACON_HOST"])
def test_a_failing_probe_puts_the_host_into_error_with_its_cause(zone: Zone, kind: str) -> None:
    zone.host()
    zone.receive(kind, "Error executing pci.sh: no lspci", status="FAILURE")
    assert zone.told == [("HOST_STATE", 7, "ERROR Error executing pci.sh: no lspci")]


def test_older_messages_and_unknown_hosts_are_ignored(zone: Zone) -> None:
    zone.host()
    zone.receive("MONITOR_HOST", "FREECPU = 1", stamp=10)
    zone.receive("MONITOR_HOST", "FREECPU = 2", stamp=9)
    zone.receive("MONITOR_HOST", "FREECPU = 3", stamp=11, oid=8)
    assert zone.rows.rows == [(7, "1")]
    assert "out of order message ignored for host 7" in zone.log()
    assert "message ignored for unknown host 8" in zone.log()


def test_a_report_that_is_no_template_is_an_error(zone: Zone) -> None:
    zone.host()
    zone.receive("MONITOR_HOST", "FREECPU = [")
    assert zone.told == [("HOST_STATE", 7, "ERROR Error parsing monitor information")]


@pytest.mark.parametrize(
    "line", ["", "HELLO", "MONITOR_HOST SUCCESS x 1 -", "MONITOR_HOST SUCCESS 7 1 !!!", "NEWS SUCCESS 7 1 -"]
)
def test_what_is_no_message_is_dropped(zone: Zone, line: str) -> None:
    zone.host()
    zone.protocol.take(line)
    assert (zone.rows.rows, zone.told) == ([], [])


def test_a_deleted_host_is_not_probed(zone: Zone) -> None:
    zone.host()
    zone.manager.stop_monitor(7)
    zone.manager.delete_host(7)
    zone.tick(INTERVAL + 1)
    assert zone.driver.actions == [("START_MONITOR", 7), ("STOP_MONITOR", 7)]


def test_messages_survive_the_wire() -> None:
    message = Message("HOST_STATE", "", 3, "ERROR said <\u00e4>\nand more")
    assert read(message.line()).payload == message.payload
    assert read(Message("INIT", "SUCCESS", -1).line()).payload == ""
    with pytest.raises(MessageError):
        unpack("not base64 of zlib")


@pytest.mark.parametrize("form", [["-traditional"], []])
def test_encrypted_reports_are_read_and_plain_ones_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: list[str]
) -> None:
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    subprocess.run(["openssl", "genrsa", *form, "-out", private, "1024"], check=True, capture_output=True)
    subprocess.run(["openssl", "rsa", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)

    def encrypt(text: bytes) -> bytes:
        command = ["openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", str(public)]
        return subprocess.run(command, input=text, check=True, capture_output=True).stdout

    key = PrivateKey.load(private)
    assert key.decrypt(encrypt(b"one, ") + encrypt(b"two")) == b"one, two"
    assert key.decrypt(b"x" * 128) is None
    zone = Zone(tmp_path, monkeypatch, key)
    zone.lead()
    zone.host()
    secret = base64.b64encode(zlib.compress(encrypt(b"FREECPU ") + encrypt(b"= 42\n"))).decode()
    zone.protocol.take(f"MONITOR_HOST SUCCESS 7 1 {secret}")
    zone.receive("MONITOR_HOST", "FREECPU = 43", stamp=2)
    assert zone.rows.rows == [(7, "42"), (7, "43")]


def test_a_file_that_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(KeyFileError):
        PrivateKey.load(tmp_path / "key")


def test_what_nobody_expected_costs_one_message_and_not_the_listener(
    zone: Zone, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone.host()
    monkeypatch.setattr(zone.rows, "add", lambda *_: 1 / 0)
    zone.receive("MONITOR_HOST", "FREECPU = 1", stamp=1)
    assert "Unexpected ZeroDivisionError while taking a message" in zone.log()
    monkeypatch.undo()
    zone.receive("MONITOR_HOST", "FREECPU = 2", stamp=int(2e9))
    assert zone.rows.rows == [(7, "2")]
