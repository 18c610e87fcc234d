"""Whether the machine of a host that has left is declared under another name: such a one is in service, and stays prepared.

By its address and port, or by a pinned key of its own: a renamed host that is found by DNS has another address as well.
Keys are looked for in all places where the settings take them from. Where they cannot be read, nobody knows, and that is said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.registration import names

PROJECT = Path(__file__).resolve().parents[2]


class Unknowable(Exception):
    """What of the declared hosts' keys cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Machines:
    """The declared ones: `hosts` by name, as they are written, and the values of `hostKeys` and `hostKeysFile`."""

    hosts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    keys: Any = None
    file: Any = None

    @classmethod
    def read(cls, get: Callable[[str], Any], hosts: Mapping[str, Mapping[str, Any]]) -> Machines:
        """From a function that gives the text of a configuration key. No file is read yet."""
        return cls(hosts=hosts, keys=get(names.CONFIG_HOST_KEYS), file=get(names.CONFIG_HOST_KEYS_FILE))

    def at(self, place: str) -> str | None:
        """Name of the host that is declared at `address:port`."""
        found = (name for name, host in self.hosts.items() if _place(name, host) == place.lower())
        return next(found, None)

    def with_key(self, key: str) -> str | None:
        """Name of a declared host that has this key (`type base64`). Raises Unknowable for what no key is known of."""
        if not self.hosts:
            return None
        # Pydantic is needed by nobody else here.
        from components import host_pins

        inline, pins = _inline(self.keys), host_pins.parse(self._text())[0]
        unknown = []
        for name, host in self.hosts.items():
            way = host_pins.names_of(name, str(host.get("address") or name), host.get("port", 22))
            own = [host_pins.given(host), inline.get(name.lower()), *pins.of(way).values()]
            known = [found.split()[:2] for found in own if found]
            if key.split()[:2] in known:
                return name
            if not known:
                unknown.append(name)
        if unknown:
            raise Unknowable(f"no pinned key of {', '.join(sorted(unknown)[:5])} can be read from the configuration")
        return None

    def _text(self) -> str:
        if self.file is None:
            return ""
        try:
            return (PROJECT / str(self.file)).read_text()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise Unknowable(f"opennebula:hostKeysFile {self.file} cannot be read: {why}") from None


def _place(name: str, host: Mapping[str, Any]) -> str:
    return f"{host.get('address') or name}:{host.get('port', 22)}".lower()


def _inline(value: Any) -> dict[str, str]:
    """`hostKeys` by lower-case name. Raises Unknowable."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        found = value
    if found is not None and not isinstance(found, Mapping):
        raise Unknowable("opennebula:hostKeys is no mapping")
    return {str(name).lower(): str(key) for name, key in (found or {}).items()}
