"""An SSH agent of this run, with the one key of the stack's secret configuration.

So the key is in no argument, environment or file of any process: it goes from here to `ssh-add` by standard input, and
from there into the agent. The agent ends with the process that made it, killed or not: its command reads a pipe that
only this process holds open, and ssh-agent ends within 10 s after its command.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import subprocess
import tempfile

_LIMIT = 20  # seconds for one of these commands; they take some milliseconds
_KEEP = "echo ready; cat >/dev/null"


class AgentError(Exception):
    """No agent, or it does not take the key. The text holds nothing of the key."""


class Agent:
    """A running agent that holds `private_key` (OpenSSH or PEM). `socket` is where ssh finds it."""

    def __init__(self, private_key: str) -> None:
        self._folder = tempfile.mkdtemp(prefix="one-agent-")  # 0700, of a name that nobody can know
        self.socket = os.path.join(self._folder, "agent")
        self._keeper: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        try:
            self._keeper = subprocess.Popen(
                ["ssh-agent", "-a", self.socket, "sh", "-c", _KEEP],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # an interrupt of the run is not one of the agent: ssh may still need it
            )
        except OSError as error:
            raise AgentError(f"cannot start ssh-agent: {error.strerror}; install OpenSSH's client") from None
        assert self._keeper.stdout  # noqa: S101 -- it is a pipe
        if self._keeper.stdout.readline() != b"ready\n":
            raise AgentError("ssh-agent does not start; try it by hand: ssh-agent true")
        self._add(private_key)

    def _add(self, private_key: str) -> None:
        environ = {**os.environ, "SSH_AUTH_SOCK": self.socket, "SSH_ASKPASS_REQUIRE": "never"}
        try:
            done = subprocess.run(
                ["ssh-add", "-q", "-"],
                input=private_key.rstrip("\n") + "\n",
                env=environ,
                capture_output=True,
                text=True,
                timeout=_LIMIT,
                check=False,
                start_new_session=True,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise AgentError(f"ssh-add fails: {error}") from None
        if done.returncode:
            raise AgentError("ssh-add refuses opennebula:sshPrivateKey: is it an unencrypted OpenSSH private key?")

    def close(self) -> None:
        """Forget the key now, and end; also twice."""
        keeper = self._keeper
        if keeper is not None and keeper.stdin and keeper.stdout and not keeper.stdin.closed:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                forget = {**os.environ, "SSH_AUTH_SOCK": self.socket}
                subprocess.run(["ssh-add", "-qD"], env=forget, capture_output=True, timeout=_LIMIT, check=False)
            keeper.stdin.close()
            keeper.stdout.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                keeper.wait(_LIMIT)
        shutil.rmtree(self._folder, ignore_errors=True)
