"""Host keys from real SSH servers: directly, through a pinned bastion, and from hosts that do not answer."""

from __future__ import annotations

import getpass
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.generated.keys import new_key_pair
from lab import keyscan
from lab.errors import LabError
from lab.keyscan import Bastion, scan
from tests.lab.plugins import conftest
from tests.lab.plugins.conftest import Sshd, free_port

start_sshd = conftest.start_sshd

LOCAL = "127.0.0.1"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyscan, "LIMIT", 1)


@pytest.fixture
def silent() -> Iterator[int]:
    """Port of a peer that takes connections and never says a word."""
    with socket.create_server((LOCAL, 0)) as server:
        kept: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    kept.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for each in kept:
            each.close()


def bastion(server: Sshd, tmp_path: Path, key: str | None = None) -> Bastion:
    identity = tmp_path / "identity"
    identity.write_text(server.private_key)
    identity.chmod(0o600)
    return Bastion(
        host=LOCAL, port=server.port, user=getpass.getuser(), key=key or plain(server.host_key), identity=identity
    )


def plain(key: str) -> str:
    return " ".join(key.split()[:2])


def test_keys_of_several_hosts_and_the_reason_where_there_is_none(
    start_sshd: Callable[..., Sshd], quick: None, silent: int
) -> None:
    first, second, dead = start_sshd(), start_sshd("ecdsa-sha2-nistp256"), free_port()
    places = [(LOCAL, first.port), (LOCAL, second.port), (LOCAL, dead), (LOCAL, silent)]
    found = scan(places)
    assert found[places[0]].keys == {"ssh-ed25519": plain(first.host_key)}
    assert found[places[1]].keys == {"ecdsa-sha2-nistp256": plain(second.host_key)}
    assert "refused" in found[places[2]].problem
    assert "takes connections, but showed no ed25519 or ecdsa" in found[places[3]].problem


def test_through_a_bastion(start_sshd: Callable[..., Sshd], tmp_path: Path, quick: None, silent: int) -> None:
    gate, behind, dead = start_sshd(), start_sshd(), free_port()
    places = [(LOCAL, behind.port), (LOCAL, dead), (LOCAL, silent)]
    found = scan(places, bastion(gate, tmp_path))
    assert found[places[0]].keys == {"ssh-ed25519": plain(behind.host_key)}
    assert found[places[1]].keys == found[places[2]].keys == {}
    assert found[places[1]].problem and found[places[2]].problem
    logins = gate.log.read_text().count("Accepted publickey")
    assert logins == 1, "one connection to the bastion, however many hosts"
    assert "Accepted" not in behind.log.read_text()


@pytest.mark.parametrize("kind", ["ecdsa-sha2-nistp256", "ssh-rsa"])
def test_the_pinned_kind_is_asked_for_first(start_sshd: Callable[..., Sshd], tmp_path: Path, kind: str) -> None:
    import asyncssh

    second = tmp_path / "second"
    key = asyncssh.generate_private_key(kind)
    key.write_private_key(str(second))
    second.chmod(0o600)
    gate, behind = start_sshd(), start_sshd("ssh-ed25519", f"HostKey {second}")
    place = (LOCAL, behind.port)
    asked = scan([place], bastion(gate, tmp_path), {place: [kind]})
    assert list(asked[place].keys) == [kind]
    assert list(scan([place], bastion(gate, tmp_path))[place].keys) == ["ssh-ed25519"]


def test_a_bastion_with_another_key_is_refused(start_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    gate, behind = start_sshd(), start_sshd()
    with pytest.raises(LabError, match="lets nobody through") as caught:
        scan([(LOCAL, behind.port)], bastion(gate, tmp_path, key=new_key_pair().public_key))
    assert "Host key verification failed" in str(caught.value)
    assert "Accepted" not in gate.log.read_text()


def test_a_bastion_that_knows_us_not_says_so(start_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    gate = start_sshd()
    stranger = bastion(gate, tmp_path)
    assert stranger.identity is not None
    stranger.identity.write_text(new_key_pair().private_key)
    with pytest.raises(LabError, match="Permission denied"):
        scan([(LOCAL, 1)], stranger)
