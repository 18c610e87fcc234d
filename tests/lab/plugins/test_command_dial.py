"""How the command plugin reaches a real sshd, and why it does not."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import pytest

from tests.lab.plugins.conftest import Sshd, free_port
from tests.lab.plugins.harness import Plugin, refused

REMOTE = "command:remote:Command"


def test_wrong_host_key_is_refused_and_named(remote_command: Plugin, sshd: Sshd) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    pinned = other.export_public_key().decode()
    before = sshd.log.read_text()
    text = refused(remote_command, {"connection": sshd.connection(hostKey=pinned), "create": "echo no"})
    assert f"127.0.0.1:{sshd.port}: host key mismatch" in text
    assert other.get_fingerprint() in text
    assert asyncssh.import_public_key(sshd.host_key).get_fingerprint() in text
    assert "\n" not in text
    assert "(2 attempts)" in text, "the official tries once more than its limit"
    assert "Accepted" not in sshd.log.read_text().removeprefix(before)


def test_without_a_pinned_key_any_is_taken(remote_command: Plugin, sshd: Sshd) -> None:
    connection = {name: value for name, value in sshd.connection().items() if name != "hostKey"}
    _, state = remote_command.create(remote_command.checked({"connection": connection, "create": "echo in"}))
    assert state["stdout"] == "in"


def test_host_key_that_is_none(remote_command: Plugin, sshd: Sshd) -> None:
    text = refused(remote_command, {"connection": sshd.connection(hostKey="SHA256:abc"), "create": "true"})
    assert "failed to parse host key" in text


def test_pinned_rsa_key_fails_as_in_the_official(remote_command: Plugin, start_sshd: Callable[..., Sshd]) -> None:
    text = refused(remote_command, {"connection": start_sshd("ssh-rsa").connection(), "create": "true"})
    assert "pinned host key is RSA" in text


def test_ecdsa_host_key(remote_command: Plugin, start_sshd: Callable[..., Sshd]) -> None:
    server = start_sshd("ecdsa-sha2-nistp256")
    _, state = remote_command.create(remote_command.checked({"connection": server.connection(), "create": "echo ok"}))
    assert state["stdout"] == "ok"


def test_refused(remote_command: Plugin, sshd: Sshd) -> None:
    text = refused(remote_command, {"connection": sshd.connection(port=free_port()), "create": "true"})
    assert "connection refused (2 attempts)" in text


def test_login_refused(remote_command: Plugin, sshd: Sshd) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    text = refused(remote_command, {"connection": sshd.connection(privateKey=stranger), "create": "true"})
    assert "authentication failed as" in text
    assert "PRIVATE KEY" not in text


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port whose queue is full, so that the kernel answers no further connection."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        held = [socket.socket() for _ in range(4)]
        for sock in held:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        yield port
        for sock in held:
            sock.close()


def test_timeout_per_dial(remote_command: Plugin, sshd: Sshd, silent_port: int) -> None:
    start = time.monotonic()
    connection = sshd.connection(port=silent_port, perDialTimeout=1, dialErrorLimit=0)
    text = refused(remote_command, {"connection": connection, "create": "true"})
    assert "no answer within 1 s (1 attempts)" in text
    assert 0.9 < time.monotonic() - start < 4


def test_key_of_an_agent(start: Callable[..., Plugin], sshd: Sshd, tmp_path: Path) -> None:
    connection = {name: value for name, value in sshd.connection().items() if name != "privateKey"}
    socket_path = tmp_path / "agent"
    key = tmp_path / "key"
    key.write_text(sshd.private_key)
    key.chmod(0o600)
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket_path], stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if socket_path.exists():
                break
            time.sleep(0.05)
        environment = os.environ | {"SSH_AUTH_SOCK": str(socket_path)}
        subprocess.run(["ssh-add", "-q", key], env=environment, check=True, timeout=20)
        ambient = start(REMOTE, environment)
        assert ambient.create(ambient.checked({"connection": connection, "create": "echo in"}))[1]["stdout"] == "in"
        named = start(REMOTE, {"PATH": os.environ["PATH"]})
        given = connection | {"agentSocketPath": str(socket_path)}
        assert named.create(named.checked({"connection": given, "create": "echo in"}))[1]["stdout"] == "in"
    finally:
        agent.terminate()
        agent.wait(10)
    assert f"SSH agent {socket_path}: " in refused(named, {"connection": given, "create": "true"})


def test_nothing_of_the_users_home_is_read(start: Callable[..., Plugin], sshd: Sshd, tmp_path: Path) -> None:
    home = tmp_path / ".ssh"
    home.mkdir(mode=0o700)
    (home / "id_ed25519").write_text(sshd.private_key)
    (home / "id_ed25519").chmod(0o600)
    plugin = start(REMOTE, {"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
    keyless = {name: value for name, value in sshd.connection().items() if name != "privateKey"}
    assert "(no key)" in refused(plugin, {"connection": keyless, "create": "true"})
    (home / "config").write_text("Host *\n  KexAlgorithms none-such\n")
    assert plugin.create(plugin.checked({"connection": sshd.connection(), "create": "echo in"}))[1]["stdout"] == "in"


def test_encrypted_private_key(remote_command: Plugin, sshd: Sshd) -> None:
    locked = asyncssh.import_private_key(sshd.private_key).export_private_key(passphrase="open").decode()
    given = sshd.connection(privateKey=locked, privateKeyPassword="open")
    assert (
        remote_command.create(remote_command.checked({"connection": given, "create": "echo in"}))[1]["stdout"] == "in"
    )
    text = refused(remote_command, {"connection": sshd.connection(privateKey=locked), "create": "true"})
    assert "privateKey: " in text
    assert "(1 attempts)" not in text, "no dial can help"


def test_unknown_name(remote_command: Plugin, sshd: Sshd) -> None:
    text = refused(remote_command, {"connection": sshd.connection(host="nowhere.invalid"), "create": "true"})
    assert "nowhere.invalid:" in text


def test_dial_is_retried_until_the_host_is_there(remote_command: Plugin, start_sshd: Callable[..., Sshd]) -> None:
    port = free_port()
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    inputs = remote_command.checked(
        {
            "connection": start_sshd().connection(
                port=port, dialErrorLimit=-1, hostKey=host_key.export_public_key().decode()
            ),
            "create": "echo up",
        }
    )
    with ThreadPoolExecutor() as pool:
        result = pool.submit(remote_command.create, inputs)
        time.sleep(1)
        assert not result.done()
        start_sshd("ssh-ed25519", port=port, host_key=host_key)
        assert result.result(15)[1]["stdout"] == "up"
    assert any("1/inf failed: connection refused: retrying" in line for line in remote_command.engine.shown())


def test_bastion(remote_command: Plugin, sshd: Sshd, start_sshd: Callable[..., Sshd]) -> None:
    bastion = start_sshd()
    connection = sshd.connection(proxy=bastion.connection())
    _, state = remote_command.create(
        remote_command.checked({"connection": connection, "create": 'echo "$SSH_CONNECTION"'})
    )
    assert state["stdout"].endswith(f" 127.0.0.1 {sshd.port}")
    assert "Accepted publickey" in bastion.log.read_text()


def test_bastion_with_wrong_key(remote_command: Plugin, sshd: Sshd, start_sshd: Callable[..., Sshd]) -> None:
    bastion = start_sshd()
    text = refused(
        remote_command,
        {"connection": sshd.connection(proxy=bastion.connection(hostKey=sshd.host_key)), "create": "true"},
    )
    assert text.startswith("proxy: dial ")
    assert "host key mismatch" in text
    assert "Accepted" not in bastion.log.read_text()


def test_target_behind_a_bastion_is_checked_too(
    remote_command: Plugin, sshd: Sshd, start_sshd: Callable[..., Sshd]
) -> None:
    bastion = start_sshd()
    connection = sshd.connection(hostKey=bastion.host_key, proxy=bastion.connection())
    text = refused(remote_command, {"connection": connection, "create": "true"})
    assert text.startswith("through proxy ")
    assert "host key mismatch" in text


def test_target_not_reachable_from_the_bastion(remote_command: Plugin, sshd: Sshd) -> None:
    connection = sshd.connection(port=free_port(), proxy=sshd.connection())
    text = refused(remote_command, {"connection": connection, "create": "true"})
    assert "the bastion cannot reach it" in text
