"""The way back with the real sshd, as an ordinary user: who gets in, and what they can do there."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.generated.keys import KeyPair, new_key_pair
from components.way_back import WayBackSettings, files, sshd_config

SSHD = "/usr/sbin/sshd"


# sshd without root serves its own user alone, and a bare machine has no ordinary account: this one is known to it only.
USER = "oneadmin"
UID = 9869
needs_sshd = pytest.mark.skipif(not Path(SSHD).exists(), reason="needs sshd")


def _key(directory: Path, name: str) -> tuple[Path, KeyPair]:
    pair = new_key_pair()
    path = directory / name
    path.write_text(pair.private_key)
    path.chmod(0o600)
    return path, pair


@needs_sshd
def test_the_configuration_means_what_it_says(tmp_path: Path) -> None:
    """`sshd -T` prints what sshd made of it, for a host and for the pod itself."""
    key, _ = _key(tmp_path, "host_key")
    config = tmp_path / "sshd_config"
    config.write_text(
        sshd_config(WayBackSettings(max_sessions=300)).replace("/run/secrets/one/way-back/host_key", str(key))
    )

    def effective(address: str) -> dict[str, str]:
        done = subprocess.run(
            [SSHD, "-T", "-f", str(config), "-C", f"user=oneadmin,host=x,addr={address}"],
            capture_output=True,
            text=True,
            check=True,
        )
        return dict(line.partition(" ")[::2] for line in done.stdout.splitlines())

    host = effective("10.1.0.5")
    expected = {
        "port": "2222",
        "authenticationmethods": "publickey",
        "passwordauthentication": "no",
        "kbdinteractiveauthentication": "no",
        "allowtcpforwarding": "no",
        "allowstreamlocalforwarding": "no",
        "allowagentforwarding": "no",
        "permittunnel": "no",
        "permittty": "no",
        "x11forwarding": "no",
        "permituserrc": "no",
        "maxstartups": "300:30:600",
    }
    assert {name: host[name] for name in expected} == expected
    assert effective("127.0.0.1") == {**host, "allowagentforwarding": "yes"}


@pytest.fixture
def server() -> Iterator[Server]:
    # Not pytest's directory: another user must get in.
    with tempfile.TemporaryDirectory(prefix="way-back-") as directory:
        made = Server(Path(directory))
        yield made
        made.stop()


class Server:
    """A running sshd with this project's configuration; paths, port and user are this machine's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        host_key, host = _key(directory, "host_key")
        self.key, user = _key(directory, "id")
        self.stranger, _ = _key(directory, "stranger")
        texts = files(WayBackSettings(), name="frontend", oneadmin_key=user.public_key, host_key=host.public_key)
        ours = {
            "/etc/one-way-back": str(directory),
            "Port 2222": f"Port {self.port}",
            "/run/secrets/one/way-back/host_key": str(host_key),
            f"AllowUsers {USER}": f"ListenAddress 127.0.0.1\nAllowUsers {USER}",
        }
        for name, text in texts.items():
            mine = text
            for old, new in ours.items():
                mine = mine.replace(old, new)
            (directory / name).write_text(mine)
        # As the kubelet mounts a Secret and a ConfigMap for the pod's group: root's, and a directory with open modes.
        for path in (directory, host_key):
            os.chown(path, 0, UID)
        host_key.chmod(0o440)
        directory.chmod(0o3777)
        accounts = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines()]
        kept = [":".join(each) for each in accounts if each[0] != USER and each[2] != str(UID)]
        (directory / "passwd").write_text("\n".join([*kept, f"{USER}:x:{UID}:{UID}::{directory}:/bin/sh", ""]))
        own = 'mount --bind "$1/passwd" /etc/passwd && shift && exec setpriv "$@"'
        with (directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *("unshare", "--mount", "sh", "-c", own, "sh", str(directory)),
                    *(f"--reuid={UID}", f"--regid={UID}", "--clear-groups"),
                    *(SSHD, "-D", "-e", "-f", str(directory / "sshd_config")),
                ],
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        end = time.monotonic() + 20
        while "listening" not in (directory / "log").read_text():
            assert self.process.poll() is None and time.monotonic() < end, (directory / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)

    def ssh(
        self, *arguments: str, key: Path | None = None, user: str | None = None, options: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """As oned's own ssh does it: the pinned host key, the front-end's name."""
        command = ["ssh", "-F", str(self.directory / "ssh_config"), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]
        command += [
            "-o",
            "StrictHostKeyChecking=yes",
            "-i",
            str(key or self.key),
            "-l",
            user or USER,
            *options,
        ]
        return subprocess.run(
            [*command, "frontend", *arguments], capture_output=True, text=True, timeout=60, check=False
        )


@needs_sshd
@pytest.mark.engine
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become oneadmin")
@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="needs an ssh client")
class TestRealSshd:
    def test_oneadmins_key_gets_in_and_runs_commands(self, server: Server) -> None:
        done = server.ssh("cat", "/proc/self/uid_map", ";", "echo", "in")
        assert done.returncode == 0, done.stderr + (server.directory / "log").read_text()
        assert done.stdout.endswith("in\n")

    def test_nobody_else_gets_in(self, server: Server) -> None:
        assert server.ssh("true", key=server.stranger).returncode == 255
        password = ("-o", "PreferredAuthentications=password,keyboard-interactive")
        denied = server.ssh("true", options=password)
        assert denied.returncode == 255 and "Permission denied (publickey)" in denied.stderr
        assert server.ssh("true", user="root").returncode == 255

    def test_no_terminal_and_no_tunnel(self, server: Server) -> None:
        assert "PTY allocation request failed" in server.ssh("true", options=("-tt",)).stderr
        forwarded = server.ssh("true", options=("-W", f"127.0.0.1:{server.port}"))
        assert forwarded.returncode != 0 and "prohibited" in forwarded.stderr
        remote = server.ssh("true", options=("-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1"))
        assert remote.returncode != 0

    def test_a_large_stream_goes_both_ways(self, server: Server) -> None:
        done = server.ssh("head", "-c", "3000000", "/dev/zero", "|", "tr", r"'\0'", "x", "|", "wc", "-c")
        assert done.stdout.strip() == "3000000"

    def test_oneds_own_session_goes_on_with_the_agent(self, server: Server) -> None:
        script = f"ssh-add -q {server.key}; exec ssh -A -F {server.directory}/ssh_config -o BatchMode=yes -o IdentitiesOnly=no"
        script += f" -o StrictHostKeyChecking=yes -l {USER} frontend ssh-add -l"
        done = subprocess.run(
            ["ssh-agent", "sh", "-c", script], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0 and "ED25519" in done.stdout, done.stderr
