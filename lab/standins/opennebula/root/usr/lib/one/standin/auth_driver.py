"""one_auth_mad: answers whether a secret is a user's, by the script of the user's driver.

`AUTHENTICATE <id> <uid> <driver> <user> <password> <base64 of the secret>` runs `remotes/auth/<driver>/authenticate` with
the three in XML on stdin. A driver that AUTHN does not name is not available. Source: OpenNebula 7.4.0
src/authm_mad/one_auth_mad.rb.
"""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from standin.external import FAILURE, ScriptDriver, options
from standin.locations import Locations

_ACTION: Final = "AUTHENTICATE"


class AuthDriver(ScriptDriver):
    """`enabled` None takes every driver that has a script."""

    def __init__(self, scripts: Path, enabled: list[str] | None, threads: int, timeout: float | None) -> None:
        super().__init__(threads)
        self._scripts = scripts
        self._enabled = enabled
        self._timeout = timeout
        self.actions[_ACTION] = self._authenticate

    def _authenticate(self, oid: int, words: list[str]) -> None:
        _uid, driver, user, password, secret = (*words, "")[:5]
        if driver not in self._known():
            self.say(_ACTION, FAILURE, oid, f"Authentication driver '{driver}' not available")
            return
        values = {
            "USERNAME": user,
            "PASSWORD": "" if password == "-" else password,
            "SECRET": base64.b64decode(secret).decode(errors="replace"),
        }
        xml = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())
        command = self._scripts / driver / _ACTION.lower()
        result = self.run(oid, [command], f"<AUTHN>{xml}</AUTHN>", self._timeout)
        self.say(_ACTION, *_ordered(oid, result.answer))

    def _known(self) -> list[str]:
        if self._enabled is not None:
            return self._enabled
        return [path.parent.name for path in self._scripts.glob("*/authenticate")]


def _ordered(oid: int, answer: tuple[str, str]) -> tuple[str, int, str]:
    return answer[0], oid, answer[1]


def run() -> None:
    """Entry point of /usr/lib/one/mads/one_auth_mad."""
    found, _ = options(sys.argv[1:], "t:z:n:w:", ["threads=", "authz=", "authn=", "timeout="])
    names = found.get("-n") or found.get("--authn")
    enabled = None if names is None else [name.strip() for name in names.split(",")]
    timeout = found.get("-w") or found.get("--timeout")
    AuthDriver(
        Locations.from_environment().remotes / "auth",
        enabled,
        int(found.get("-t") or found.get("--threads") or 15),
        float(timeout) if timeout else None,
    ).serve()
    os._exit(0)
