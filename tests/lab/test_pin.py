"""`make pin`: which hosts are asked, what people are shown, and that nothing is written that nobody asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.generated.keys import new_key_pair
from components.host_pins import fingerprint, parse
from lab import pin
from lab.errors import LabError
from lab.keyscan import Bastion, Offer, Place
from stacks import host_list

KEY, OTHER, THIRD = (new_key_pair().public_key for _ in range(3))
CONFIG: dict[str, Any] = {
    "hosts": [{"name": "single", "kind": "kvm", "address": "10.0.0.9", "port": 2222, "hostKey": KEY}],
    "hostGroups": {
        "a": {"kind": "kvm", "members": "kvm-[1-3]", "addresses": "10.0.0.1"},
        "b": {"kind": "lxc", "members": "lxc-1"},
    },
    "hostKeysFile": "pins/x.known_hosts",
}


class Project:
    """A checkout with one stack file, and hosts that answer with what stands in `offers`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.offers: dict[Place, Offer] = {}
        self.asked: list[tuple[list[Place], Bastion | None]] = []
        self.write(CONFIG)

    def write(self, config: Mapping[str, Any]) -> None:
        document = {"config": {f"opennebula:{key}": value for key, value in config.items()}}
        (self.root / "Pulumi.x.yaml").write_text(yaml.safe_dump(document))

    @property
    def pins(self) -> Path:
        return self.root / "pins" / "x.known_hosts"

    def answer(self, address: str, key: str, port: int = 22) -> None:
        self.offers[address, port] = Offer(keys={key.split(maxsplit=1)[0]: key})

    def scan(
        self,
        places: Iterable[Place],
        bastion: Bastion | None = None,
        known: Mapping[Place, Sequence[str]] | None = None,
    ) -> dict[Place, Offer]:
        asked = list(places)
        self.asked.append((asked, bastion))
        return {place: self.offers.get(place, Offer(keys={}, problem="Connection refused")) for place in asked}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    found = Project(tmp_path)
    monkeypatch.setattr(pin, "PROJECT", tmp_path)
    monkeypatch.setattr(pin, "read_file", lambda path: (tmp_path / path).read_text())
    monkeypatch.setattr(host_list, "PROJECT", tmp_path)
    monkeypatch.setattr(pin, "scan", found.scan)
    for number in (1, 2, 3):
        found.answer(f"10.0.0.{number}", [KEY, OTHER, THIRD][number - 1])
    return found


Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(project: Project, capsys: pytest.CaptureFixture[str]) -> Run:
    def start(**environ: str) -> tuple[str, str]:
        try:
            pin.run({"STACK": "x", **environ})
        finally:
            captured = capsys.readouterr()
            start.out, start.err = captured.out, captured.err  # type: ignore[attr-defined]
        return captured.out, captured.err

    return start


def test_a_range_is_asked_and_shown_with_fingerprints_and_nothing_is_written(project: Project, run: Run) -> None:
    out, err = run(HOST="kvm-[1-2]")
    assert project.asked == [([("10.0.0.1", 22), ("10.0.0.2", 22)], None)]
    assert [line.split()[0] for line in out.splitlines()] == ["kvm-1", "kvm-2"]
    assert fingerprint(KEY) in err and fingerprint(OTHER) in err
    assert "compare each fingerprint" in err and "nothing is pinned yet" in err
    assert not project.pins.exists()


def test_write_adds_what_is_new_and_leaves_the_rest(project: Project, run: Run) -> None:
    project.pins.parent.mkdir()
    project.pins.write_text(f"# ours\nkvm-1 {KEY} # by hand")
    out, err = run(GROUP="a", WRITE="1")
    text = project.pins.read_text()
    assert text.startswith(f"# ours\nkvm-1 {KEY} # by hand\nkvm-2 ")
    assert "kvm-1" in out and "pinned, unchanged" in err and "written to pins/x.known_hosts: kvm-[2-3]" in err
    pins, problems = parse(text)
    assert problems == [] and pins.of(["kvm-3"]) == {"ssh-ed25519": THIRD}
    run(GROUP="a", WRITE="1")
    assert project.pins.read_text() == text


def test_without_a_name_every_host_without_a_pin_is_asked(project: Project, run: Run) -> None:
    project.pins.parent.mkdir()
    project.pins.write_text(f"kvm-1 {KEY}\nlxc-1 {KEY}\n")
    run()
    assert project.asked[0][0] == [("10.0.0.2", 22), ("10.0.0.3", 22)]


def test_a_changed_key_is_shouted_about_and_never_written(project: Project, run: Run) -> None:
    project.pins.parent.mkdir()
    project.pins.write_text(f"kvm-1 {THIRD}\n")
    with pytest.raises(LabError, match="kvm-1: not the pinned host key"):
        run(HOST="kvm-[1-2]", WRITE="1")
    assert "!!! THE HOST KEY OF kvm-1" in run.err  # type: ignore[attr-defined]
    assert fingerprint(THIRD) in run.err and fingerprint(KEY) in run.err  # type: ignore[attr-defined]
    assert "kvm-1" not in run.out  # type: ignore[attr-defined]
    assert parse(project.pins.read_text())[0].of(["kvm-1"]) == {"ssh-ed25519": THIRD}
    assert parse(project.pins.read_text())[0].of(["kvm-2"]) == {"ssh-ed25519": OTHER}


def test_a_pinned_key_of_a_kind_that_is_gone_is_a_changed_one() -> None:
    target = pin.Target(
        name="a", address="a", port=22, written="a", known={"ecdsa-sha2-nistp256": "ecdsa x"}, declared=True
    )
    assert pin.judge(target, Offer(keys={"ssh-ed25519": KEY})).state == "changed"
    assert pin.judge(target, Offer(keys={"ssh-ed25519": KEY, "ecdsa-sha2-nistp256": "ecdsa x"})).state == "same"


def test_a_host_that_does_not_answer_is_named_and_the_others_are_shown(project: Project, run: Run) -> None:
    del project.offers["10.0.0.2", 22]
    with pytest.raises(LabError, match=r"kvm-2: no host key\n.*Connection refused"):
        run(GROUP="a")
    assert "kvm-3" in run.out and "kvm-2" not in run.out  # type: ignore[attr-defined]


def test_declared_ports_and_own_keys_count(project: Project, run: Run) -> None:
    project.answer("10.0.0.9", KEY, 2222)
    assert "pinned, unchanged" in run(HOST="single")[1]
    with pytest.raises(LabError, match="declared with port 2222"):
        run(HOST="single", PORT="22")


def test_an_address_that_nobody_declared(project: Project, run: Run) -> None:
    project.answer("192.0.2.1", KEY, 2222)
    out, err = run(HOST="192.0.2.1", PORT="2222")
    assert out.startswith("[192.0.2.1]:2222 ssh-ed25519") and "not declared" in err


def test_machines_from_one_image_are_told(project: Project, run: Run) -> None:
    project.answer("10.0.0.2", KEY)
    assert "kvm-[1-2] have the same key" in run(GROUP="a")[1]


def test_hosts_go_through_the_bastion_and_the_bastion_does_not(project: Project, run: Run) -> None:
    gate = {"host": "gate.example", "hostKey": OTHER, "user": "jump", "port": 2022}
    project.write(CONFIG | {"ssh": {"user": "deploy", "bastion": gate}})
    project.answer("gate.example", OTHER, 2022)
    run(HOST="kvm-1,gate.example")
    (direct, none), (behind, bastion) = project.asked
    assert (direct, none) == ([("gate.example", 2022)], None)
    assert behind == [("10.0.0.1", 22)] and bastion is not None
    assert (bastion.host, bastion.port, bastion.user, bastion.key) == ("gate.example", 2022, "jump", OTHER)


def test_a_bastion_without_a_key_is_told_how_to_come_by_one(project: Project, run: Run) -> None:
    project.write(CONFIG | {"ssh": {"bastion": {"host": "gate.example", "port": 2022}}})
    with pytest.raises(LabError) as caught:
        run(HOST="gate.example")
    assert "make pin HOST='gate.example' PORT=2022 (without STACK)" in str(caught.value.fix)
    project.answer("gate.example", OTHER, 2022)
    out, _ = run(STACK="", HOST="gate.example", PORT="2022")
    assert OTHER in out and project.asked == [([("gate.example", 2022)], None)]


def test_only_new_keys_are_written(tmp_path: Path) -> None:
    """Whatever is asked of it: a changed key, or the bastion's, which is pinned elsewhere."""
    target = pin.Target(name="a", address="a", port=22, written="a", known={}, declared=True)
    gate = pin.Target(name="g", address="g", port=22, written="g", known={}, declared=True, bastion=True)
    found = [
        pin.Finding(target=target, state="changed", key=KEY),
        pin.Finding(target=gate, state="new", key=KEY),
        pin.Finding(target=target, state="silent"),
    ]
    assert pin.append(tmp_path / "pins", found) == []
    assert parse((tmp_path / "pins").read_text())[0].keys == {}


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"HOST": "kvm-[3-1]"}, "counts down"),
        ({"GROUP": "zz"}, "one of a, b"),
        ({"HOST": "a b;c"}, "no DNS name"),
        ({"HOST": "-oProxyCommand=x"}, "no DNS name"),
        ({"PORT": "0"}, "is no port"),
        ({"WRITE": "yes"}, "WRITE=1"),
        ({"IDENTITY": "/nonexistent"}, "is no file"),
        ({"STACK": "nowhere", "HOST": "a"}, "does not exist"),
    ],
)
def test_wrong_calls_say_what_is_wrong(run: Run, environ: dict[str, str], words: str) -> None:
    with pytest.raises(LabError, match=words):
        run(**environ)


def test_writing_needs_a_file_that_is_whole(project: Project, run: Run) -> None:
    project.write({key: value for key, value in CONFIG.items() if key != "hostKeysFile"})
    with pytest.raises(LabError, match=r"hostKeysFile: pins/x.known_hosts in Pulumi.x.yaml"):
        run(GROUP="a", WRITE="1")
    project.write(CONFIG)
    project.pins.parent.mkdir()
    project.pins.write_text("|1|hashed|name ssh-ed25519 AAAA\n")
    with pytest.raises(LabError, match="hashed"):
        run(GROUP="a", WRITE="1")


@pytest.mark.parametrize(
    ("environ", "again"),
    [
        ({"HOST": "192.0.2.99"}, "make pin STACK=x HOST=192.0.2.99"),
        ({"HOST": "kvm-1 192.0.2.99", "WRITE": "1"}, "make pin STACK=x HOST=192.0.2.99 WRITE=1"),
        ({"HOST": "192.0.2.98 192.0.2.99", "PORT": "2022"}, "make pin STACK=x HOST='192.0.2.98 192.0.2.99' PORT=2022"),
        ({"GROUP": "b"}, "make pin STACK=x GROUP=b"),
    ],
)
def test_silent_hosts_are_asked_again_by_the_same_words(run: Run, environ: dict[str, str], again: str) -> None:
    with pytest.raises(LabError) as caught:
        run(**environ)
    assert caught.value.fix.endswith(f"then: {again}")
