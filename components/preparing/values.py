"""What one preparation is told: the host from the resource's inputs, the way to it from a file of the run.

Standard library only, and little of it: an interpreter of its own reads this for every host. The inputs, which the
stack's state keeps, are the host's alone; a changed bastion or time limit touches no host.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import NamedTuple

WAY_FILE = "way.json"
HOST = "@HOST@"
NOW = "@NOW@"
SCRIPT = "ONE_SCRIPT"
EVERYONE = "ONE_EVERYONE"
"""Digest of what all hosts are told; with it there is no single host."""
_VARIABLES = ("ONE_HOST", "ONE_LOGIN", "ONE_HOST_KEY", SCRIPT)


class Endpoint(NamedTuple):
    """One sshd, and the only host key that it may show (`type base64`)."""

    user: str
    address: str
    port: int
    host_key: str

    def __str__(self) -> str:
        return f"{self.user}@{self.address}:{self.port}"

    @staticmethod
    def parse(login: str, host_key: str) -> Endpoint:
        """From that text. Raises ValueError for one without a port."""
        user, _, place = login.partition("@")
        address, _, port = place.rpartition(":")
        return Endpoint(user, address, int(port), host_key)


class Target(NamedTuple):
    """The host and what is to run on it: `script` is the SHA-256 of its text."""

    name: str
    endpoint: Endpoint
    script: str

    def environment(self) -> dict[str, str]:
        """As the resource's inputs carry it."""
        return dict(zip(_VARIABLES, (self.name, str(self.endpoint), self.endpoint.host_key, self.script), strict=True))

    @staticmethod
    def read(environ: Mapping[str, str]) -> Target:
        """From the environment. Raises KeyError or ValueError for one that no resource has made."""
        name, login, host_key, script = (environ[variable] for variable in _VARIABLES)
        return Target(name, Endpoint.parse(login, host_key), script)


class Way(NamedTuple):
    """How hosts are reached in this run. Times in seconds; `agent` is a socket, empty for the one of $SSH_AUTH_SOCK."""

    bastion: Endpoint | None
    connect: int
    """For TCP, the banner and the key exchange of one attempt."""
    attempts: int
    login: int
    """From the beginning of an attempt until the login is through, whatever a silent peer does."""
    silence: int
    """Without a sign of life the connection counts as lost."""
    limit: int
    """For the script on the host."""
    handshakes: int
    """At once through one bastion."""
    command: str
    """For the host's shell, `HOST` for its name, `NOW` for the clock here; the script comes by standard input."""
    agent: str = ""

    def write(self, folder: str) -> None:
        """Put it where `read` looks, at once."""
        draft = os.path.join(folder, f".{WAY_FILE}.{os.getpid()}")
        with open(draft, "w") as file:
            json.dump(self._asdict(), file)
        os.replace(draft, os.path.join(folder, WAY_FILE))

    @staticmethod
    def read(folder: str) -> Way:
        """Raises FileNotFoundError where no run of the program has begun."""
        with open(os.path.join(folder, WAY_FILE)) as file:
            found = json.load(file)
        bastion = found.pop("bastion")
        return Way(bastion=Endpoint(*bastion) if bastion else None, **found)


def script_path(folder: str, digest: str) -> str:
    """Where the program leaves a script for the command that is about to run."""
    return os.path.join(folder, f"{digest}.sh")
