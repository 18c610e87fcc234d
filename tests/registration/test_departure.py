"""Whether a host that has left oned is taken back: read from the configuration of the moment in which it goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.preparing import undoing
from components.preparing.values import Endpoint, Way
from components.registration import names, same_machine
from components.registration.declared import Declared
from components.registration.errors import HostNotCleaned

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "B" * 43
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "C" * 43
PROPS = {"name": "kvm-9", "login": "deploy@192.0.2.9:22", "host_key": KEY}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the SSH side is asked for. On the host `new` it finds nothing."""
    calls: list[tuple[Any, ...]] = []

    def undo(name: str, endpoint: Endpoint, way: Way, private_key: str | None, *, uninstall: bool) -> bool:
        calls.append((name, endpoint, way.connect, private_key, uninstall))
        return name != "new"

    monkeypatch.setattr(undoing, "undo", undo)
    return calls


def take_back(props: dict[str, Any], *, with_the_stack: bool = False, **config: Any) -> None:
    values = {"fleet": {"onRemoval": "clean"}, **config}
    texts = {
        f"opennebula:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in values.items()
    }
    Declared.read(texts.get).departure.take_back({**PROPS, **props}, with_the_stack=with_the_stack)


def test_off_by_default(asked: list[tuple[Any, ...]]) -> None:
    take_back({}, fleet={})
    take_back({}, fleet={"onRemoval": "keep"})
    take_back({"on_removal": "keep"})
    take_back({}, fleet="nonsense")
    assert asked == []


@pytest.mark.parametrize(
    ("own", "fleet", "uninstall"),
    [(None, "clean", False), (None, "uninstall", True), ("clean", "keep", False), ("uninstall", "clean", True)],
)
def test_a_hosts_own_wish_before_the_fleets(
    asked: list[tuple[Any, ...]], own: str | None, fleet: str, uninstall: bool
) -> None:
    take_back({"on_removal": own}, fleet={"onRemoval": fleet}, ssh={"dialTimeout": 2}, sshPrivateKey="the key")
    assert asked == [("kvm-9", Endpoint("deploy", "192.0.2.9", 22, KEY), 2, "the key", uninstall)]


def test_a_host_without_a_preparation_is_gone_and_told(
    asked: list[tuple[Any, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    """Installed anew, for example."""
    take_back({})
    take_back({"name": "new"})
    assert [record.getMessage() for record in caplog.records] == [
        "host kvm-9: what was prepared on it is taken back",
        "host new: nothing of a preparation was found on it: it was installed anew, or all was taken back before",
    ]


def test_without_a_key_the_agent_is_used(asked: list[tuple[Any, ...]]) -> None:
    take_back({})
    assert [call[3] for call in asked] == [None]


def test_a_lost_host_is_not_asked(asked: list[tuple[Any, ...]]) -> None:
    take_back({}, fleet={"onRemoval": "clean", "lost": ["kvm-9"]})
    assert asked == []


@pytest.mark.parametrize(("named", "asks"), [("kvm-9", 0), ("lxc-1, kvm-9", 0), ("kvm-99,", 1), ("", 1)])
def test_a_destroy_is_told_by_the_environment_which_hosts_are_lost(
    asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, named: str, asks: int
) -> None:
    monkeypatch.setenv("OPENNEBULA_LOST", named)
    take_back({}, with_the_stack=True)
    assert len(asked) == asks


@pytest.mark.parametrize(
    "config",
    [
        {"hosts": [{"name": "new-name", "address": "192.0.2.9", "kind": "kvm"}]},
        {"hosts": [{"name": "new-name", "address": "192.0.2.9", "port": 22, "kind": "kvm"}]},
        {"hostGroups": {"rack": {"kind": "kvm", "members": "k-[1-3]", "addresses": "192.0.2.8"}}},
    ],
)
def test_a_machine_that_is_declared_under_another_name_stays_prepared(
    asked: list[tuple[Any, ...]], config: dict[str, Any]
) -> None:
    take_back({}, **config)
    assert asked == []
    take_back({}, with_the_stack=True, **config)
    assert len(asked) == 1


def test_another_port_and_key_is_another_machine(asked: list[tuple[Any, ...]]) -> None:
    take_back({}, hosts=[{"name": "nat", "address": "192.0.2.9", "port": 2222, "kind": "kvm", "hostKey": OTHER}])
    assert len(asked) == 1


BY_DNS = {"login": "root@kvm-9:22"}
RENAMED = {"name": "kvm-9.example.org", "kind": "kvm"}


@pytest.mark.parametrize(
    "config",
    [
        {"hosts": [{**RENAMED, "hostKey": f"{KEY} reviewed"}]},
        {"hosts": [{"name": "KVM-9", "kind": "kvm", "hostKey": OTHER}]},
        {"hosts": [RENAMED], "hostKeys": {"KVM-9.example.org": KEY}},
        {"hosts": [RENAMED], "hostKeysFile": f"kvm-9.example.org {KEY} # reviewed\n"},
        {"hosts": [{**RENAMED, "address": "192.0.2.10", "port": 2222}], "hostKeysFile": f"[192.0.2.10]:2222 {KEY}\n"},
        {"hosts": [{**RENAMED, "hostKey": OTHER}], "hostKeysFile": f"kvm-9.example.org {KEY}\n"},
        {"hostGroups": {"rack": {"kind": "kvm", "members": "k-[1-2]"}}, "hostKeys": {"k-1": OTHER, "k-2": KEY}},
        {"hosts": [{"name": "unpinned", "kind": "kvm"}, {**RENAMED, "hostKey": KEY}]},
    ],
)
def test_a_renamed_host_that_is_found_by_dns_is_known_by_its_key(
    asked: list[tuple[Any, ...]], config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(same_machine, "PROJECT", tmp_path)
    if "hostKeysFile" in config:
        (tmp_path / "pins").write_text(config["hostKeysFile"])
        config = {**config, "hostKeysFile": "pins"}
    take_back(BY_DNS, **config)
    assert asked == []
    take_back(BY_DNS, with_the_stack=True, **config)
    assert len(asked) == 1


def test_the_line_of_the_host_that_left_is_none_of_the_declared(
    asked: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(same_machine, "PROJECT", tmp_path)
    (tmp_path / "pins").write_text(f"kvm-9 {KEY}\nkvm-1 {OTHER}\n")
    take_back(BY_DNS, hosts=[{"name": "kvm-1", "kind": "kvm"}], hostKeysFile="pins")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("config", "cause"),
    [
        ({"hostKeysFile": "pins/none"}, r"hostKeysFile pins/none cannot be read: No such file"),
        ({"hostKeys": "nonsense"}, r"opennebula:hostKeys is no mapping"),
        ({}, r"no pinned key of kvm-1 can be read"),
    ],
)
def test_where_the_keys_cannot_be_read_nothing_is_taken_back_and_that_is_told(
    asked: list[tuple[Any, ...]], config: dict[str, Any], cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(same_machine, "PROJECT", tmp_path)
    with pytest.raises(HostNotCleaned, match=rf"declared under another name: .*{cause}.*Next: mend that and repeat"):
        take_back({}, hosts=[{"name": "kvm-1", "kind": "kvm"}], **config)
    assert asked == []


def test_what_cannot_be_done_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_given: object, **_more: object) -> None:
        raise undoing.NotUndone("one-prepare: kvm-9: unreachable: no route to host; next: mend the network")

    monkeypatch.setattr(undoing, "undo", refuse)
    with pytest.raises(HostNotCleaned, match=r"has left oned.*no route.*add kvm-9 to opennebula:fleet\.lost"):
        take_back({})
    with pytest.raises(HostNotCleaned, match=r"no route.*repeat the command with OPENNEBULA_LOST=kvm-9 in its env"):
        take_back({}, with_the_stack=True)
    with pytest.raises(HostNotCleaned, match=r"no login of the host.*fleet\.lost"):
        take_back({"login": None})


@pytest.mark.parametrize(
    ("props", "config", "cause"),
    [
        ({"login": "deploy@192.0.2.9"}, {}, r"login of the host, 'deploy@192\.0\.2\.9', is none"),
        ({}, {"ssh": {"dialTimeout": "soon"}}, r"opennebula:ssh: dialTimeout: Input should be a valid"),
        ({}, {"ssh": "no json"}, r"opennebula:ssh: Invalid JSON"),
    ],
)
def test_what_cannot_be_read_is_no_traceback(
    asked: list[tuple[Any, ...]], props: dict[str, Any], config: dict[str, Any], cause: str
) -> None:
    with pytest.raises(HostNotCleaned, match=rf"'kvm-9' has left oned.*{cause}.*Next: .*fleet\.lost") as caught:
        take_back(props, **config)
    assert "\n" not in str(caught.value)
    assert asked == []


def test_the_key_is_in_no_text_of_the_settings() -> None:
    texts = {names.CONFIG_SSH_KEY: "-----BEGIN the key"}
    assert "the key" not in repr(Declared.read(texts.get))
