"""Dynamic providers that invent a secret once and keep it in the stack's encrypted state.

Stateless and importable, so that a state file holds a reference to these classes and no code: their module path is a
contract. They touch nothing outside the process. Deliberately not here: rotation by time. A new value is asked for by
replacing the resource (`pulumi up --replace URN`); everything that depends on it follows.
"""

from __future__ import annotations

import os
import secrets
import string
from typing import Any
from uuid import uuid4

from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ResourceProvider

_ALPHABET = string.ascii_letters + string.digits
_NO_CHECKPOINTS = "PULUMI_SKIP_CHECKPOINTS"


class NotKept(Exception):
    """A secret would be in use before it is kept."""


def require_checkpoints() -> None:
    """A run without checkpoints writes its state at the end. Killed before, it would lose a password that the database
    has already; everything else of the program is adopted by the next run (ADR 12). Raises NotKept.
    """
    if os.environ.get(_NO_CHECKPOINTS, "").lower() not in ("", "0", "false"):
        raise NotKept(
            f"{_NO_CHECKPOINTS} is set, and this run would make a secret that a kill could lose; "
            f"next: run once without {_NO_CHECKPOINTS}"
        )


class _InventedOnce(ResourceProvider):
    """What is common: inputs are taken as they are, and a change of them makes nothing new."""

    # Nothing is captured, so there is nothing to encrypt in the reference itself.
    serialize_as_secret_always = False

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        return CheckResult(news, [])

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        # A changed length speaks of the next password, not of the one in use.
        return DiffResult(changes=False)


class PasswordProvider(_InventedOnce):
    """A random password of letters and digits: safe in SQL, in oned's grammar and in a session string."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        require_checkpoints()
        length = int(props["length"])
        value = "".join(secrets.choice(_ALPHABET) for _ in range(length))
        return CreateResult(id_=uuid4().hex, outs={"length": length, "value": value})


class KeyPairProvider(_InventedOnce):
    """An Ed25519 key pair in OpenSSH's formats."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        from components.generated.keys import new_key_pair

        require_checkpoints()
        pair = new_key_pair()
        outs = {"comment": str(props["comment"]), "private_key": pair.private_key, "public_key": pair.public_key}
        return CreateResult(id_=pair.fingerprint, outs=outs)


class MonitorKeyPairProvider(_InventedOnce):
    """An RSA key pair in the formats of onemonitord and its agents."""

    def create(self, _props: dict[str, Any]) -> CreateResult:
        from components.generated.keys import new_monitor_key_pair

        require_checkpoints()
        pair = new_monitor_key_pair()
        return CreateResult(id_=uuid4().hex, outs={"private_key": pair.private_key, "public_key": pair.public_key})
