"""A host for a test: a box with the user oneadmin, an SSH server on loopback and what the node packages bring.

The node packages themselves belong to the lab's hosts and are tested there; here every prerequisite can be taken away
one by one.
"""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from lab.standins.opennebula.database import free_port
from tests.lab.standins.opennebula.boxes import Box

LOAD_PATHS = "/usr/lib/one/ruby/load_opennebula_paths.rb"

_PREPARE = """
echo 'oneadmin:x:9869:9869:OpenNebula:/var/lib/one:/bin/sh' >>/etc/passwd
echo 'oneadmin:x:9869:' >>/etc/group
echo 'oneadmin:*:19000:0:99999:7:::' >>/etc/shadow
install -d -o 9869 -g 9869 -m 750 /var/lib/one
install -d -o 9869 -g 9869 -m 700 /var/lib/one/.ssh
install -d -o 9869 -g 9869 /var/tmp/one /var/tmp/one_db
install -d /run/sshd /usr/lib/one/ruby
echo "\\$LOAD_PATH << '/usr/lib/one/ruby'" >{load_paths}
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/box_key
cat >/etc/ssh/box_config <<EOF
Port {port}
ListenAddress 127.0.0.1
HostKey /etc/ssh/box_key
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes yes
EOF
printf '#!/bin/sh\\nexit 0\\n' >/usr/bin/lxc-ls
chmod 755 /usr/bin/lxc-ls
mkdir -p /etc/sudoers.d
echo 'oneadmin ALL=(ALL:ALL) NOPASSWD: /usr/bin/lxc-ls' >/etc/sudoers.d/oneadmin
chmod 440 /etc/sudoers.d/oneadmin
"""


class Hypervisor:
    """Reached under `name` by whoever uses the `ssh` in `client_path`, with the key that `directory` holds."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.box = Box(directory / "box", name)
        self._port = free_port()
        self._client = directory / "client"
        self._client.mkdir()
        try:
            self.box.sh(_PREPARE.format(port=self._port, load_paths=LOAD_PATHS))
            self._make_client()
            self._server = self.box.spawn(
                "/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/box_config", log="/var/log/sshd"
            )
            self._wait()
        except BaseException:
            self.box.close()
            raise

    @property
    def client_path(self) -> Path:
        """A directory for the front of PATH: its `ssh` knows this host, its key and its host key, and trusts no
        other.
        """
        return self._client

    def close(self) -> None:
        self.box.close()

    def as_oneadmin(self, script: str) -> str:
        return self.box.run(
            "setpriv", "--reuid=9869", "--regid=9869", "--clear-groups", "sh", "-eu", stdin=script
        ).stdout

    def knows(self, other: Hypervisor) -> None:
        """oneadmin here may reach oneadmin there, as OpenNebula wants it between hosts."""
        home, client = "/var/lib/one/.ssh", other.client_path
        for name in ("id", "known_hosts"):
            self.box.write(f"{home}/{other.name}.{name}", (client / name).read_text(), mode="600", owner="oneadmin")
        config = (client / "config").read_text().replace(f"{client}/", f"{home}/{other.name}.")
        self.box.write(f"{home}/config", config, mode="600", owner="oneadmin")

    def client_running(self, host_id: int) -> bool:
        """Whether the probe client of this host id lives."""
        found = self.box.run("pgrep", "-f", f"monitord-client.rb [a-z]+ {host_id} ", check=False)
        return found.returncode == 0

    def _make_client(self) -> None:
        key = self._client / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        self.box.write(
            "/var/lib/one/.ssh/authorized_keys", key.with_suffix(".pub").read_text(), mode="600", owner="oneadmin"
        )
        known = self._client / "known_hosts"
        known.write_text(f"[127.0.0.1]:{self._port} {self.box.read('/etc/ssh/box_key.pub')}")
        config = self._client / "config"
        config.write_text(
            f"Host {self.name}\n  HostName 127.0.0.1\n  Port {self._port}\n  User oneadmin\n  IdentityFile {key}\n"
            f"  IdentitiesOnly yes\n  StrictHostKeyChecking yes\n  UserKnownHostsFile {known}\n  BatchMode yes\n"
        )
        wrapper = self._client / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {config} "$@"\n')
        wrapper.chmod(0o755)

    def _wait(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            if time.monotonic() > deadline or self._server.poll() is not None:
                raise RuntimeError(f"sshd is not listening:\n{self.box.sh('cat /var/log/sshd', check=False)}")
            time.sleep(0.05)
