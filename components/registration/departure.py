"""What becomes of a prepared host once it has left oned: whether its preparation is taken back, and how that is told.

Everything is decided when the host goes, from the configuration of that moment: the way to it, the fleet's `onRemoval`, and
`fleet.lost`, the way out when the machine is gone for good. Of the host that has left the configuration only what its
resource keeps is known: login, pinned key, and an `onRemoval` of its own. The work itself is `components/preparing/undoing.py`,
imported when it is needed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from components.registration import names
from components.registration.errors import HostNotCleaned
from components.registration.same_machine import Machines, Unknowable

log = logging.getLogger("opennebula.registration")

ENV_LOST: Final = "OPENNEBULA_LOST"
"""Names as in `fleet.lost`, with commas between them, for a destroy: the engine hands that the configuration of the last up. With
`--run-program` it would be the file's, but of what is gone by then the program gets outputs that are none, and fails."""


class OnRemoval(StrEnum):
    """What becomes of the preparation."""

    KEEP = "keep"
    CLEAN = "clean"
    UNINSTALL = "uninstall"
    """The node package goes too, if the preparation installed it."""


@dataclass(frozen=True, kw_only=True)
class Departure:
    """As the configuration has it now. `private_key` None: the agent of $SSH_AUTH_SOCK."""

    usual: OnRemoval = OnRemoval.KEEP
    lost: frozenset[str] = frozenset()
    machines: Machines = field(default_factory=Machines)
    """Of all hosts that are declared."""
    ssh: str = "{}"
    private_key: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, get: Callable[[str], Any], fleet: Any, hosts: Mapping[str, Mapping[str, Any]]) -> Departure:
        """`hosts` by name, each as it is declared. What cannot be read takes nothing back."""
        given: Mapping[str, Any] = fleet if isinstance(fleet, Mapping) else {}
        usual, lost = str(given.get("onRemoval", "")), given.get("lost")
        named = filter(None, os.environ.get(ENV_LOST, "").replace(" ", "").split(","))
        ssh, key = get(names.CONFIG_SSH), get(names.CONFIG_SSH_KEY)
        return cls(
            usual=OnRemoval(usual) if usual in list(OnRemoval) else OnRemoval.KEEP,
            lost=frozenset((*map(str, lost if isinstance(lost, list) else ()), *named)),
            machines=Machines.read(get, hosts),
            ssh=ssh if isinstance(ssh, str) and ssh else "{}",
            private_key=str(key) if key else None,
        )

    def take_back(self, props: Mapping[str, Any], *, with_the_stack: bool) -> None:
        """After the host has left oned. `with_the_stack`: everything goes. Raises HostNotCleaned.

        A host that is declared under another name, a renamed entry, is prepared and stays so.
        """
        name, login, key = str(props["name"]), str(props.get("login") or ""), str(props.get("host_key") or "")
        own = props.get("on_removal")
        wanted = OnRemoval(own) if own else self.usual
        if wanted is OnRemoval.KEEP:
            return
        if name in self.lost:
            log.warning("host %s is said to be lost: what was prepared on it is not taken back", name)
            return
        out = f"if the machine is gone for good, {_way_out(name, with_the_stack=with_the_stack)}"
        what = f"host {name!r} has left oned, but what was prepared on it is still there"
        if not with_the_stack and (other := self._declared_as(login, key, what, out)):
            log.warning("host %s stays prepared: the configuration has the machine as %s", name, other)
            return
        if not (login and key):
            cause = "the state is of an earlier program and has no login of the host"
            raise HostNotCleaned(what, cause, then=f"take back by hand what docs/guides/hosts.md lists; then, or {out}")
        # Pydantic and the SSH side are needed by nobody else here.
        from components.host_settings import SshSettings, way
        from components.preparing.undoing import NotUndone, undo
        from components.preparing.values import Endpoint

        try:
            at = Endpoint.parse(login, key)
        except ValueError:
            cause = f"the state's login of the host, {login!r}, is none"
            raise HostNotCleaned(
                what, cause, then=f"take back by hand what docs/guides/hosts.md lists; then, or {out}"
            ) from None
        try:
            by = way(SshSettings.model_validate_json(self.ssh))
        except ValueError as error:  # pydantic's is one
            raise HostNotCleaned(
                what, f"opennebula:ssh: {_plain(error)}", then=f"correct it and `pulumi up`; {out}"
            ) from None
        try:
            found = undo(name, at, by, self.private_key, uninstall=wanted is OnRemoval.UNINSTALL)
        except NotUndone as error:
            raise HostNotCleaned(what, str(error), then=f"repeat the command; {out}") from None
        if found:
            log.warning("host %s: what was prepared on it is taken back", name)
        else:
            text = (
                "host %s: nothing of a preparation was found on it: it was installed anew, or all was taken back before"
            )
            log.warning(text, name)

    def _declared_as(self, login: str, key: str, what: str, out: str) -> str | None:
        """Name of the declared host that is this machine. Raises HostNotCleaned where nobody can know."""
        found = self.machines.at(login.partition("@")[2]) if login else None
        if found or not key:
            return found
        try:
            return self.machines.with_key(key)
        except Unknowable as error:
            cause = f"the machine may be declared under another name: {error}"
            raise HostNotCleaned(what, cause, then=f"mend that and repeat the command; {out}") from None


def _way_out(name: str, *, with_the_stack: bool) -> str:
    """Of a host that has left the configuration before, it is not known whether everything is going."""
    told = f"repeat the command with {ENV_LOST}={name} in its environment"
    if with_the_stack:
        return told
    return f"add {name} to opennebula:fleet.lost and repeat the command. A destroy goes by the configuration of the last up: {told}"


def _plain(error: ValueError) -> str:
    """In one line what pydantic says in several."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    found = ((".".join(map(str, each["loc"])), each["msg"]) for each in error.errors(include_input=False))
    return "; ".join(f"{path}: {text}" if path else text for path, text in found)
