"""oned.conf and monitord.conf as the daemons see them: the file, then the compiled default of every key it left out.

A key that the file has replaces its default whole, vectors too, so `RAFT = [ELECTION_TIMEOUT_MS = 5000]` leaves the
other RAFT numbers unset. The real oned then reads uninitialised integers; the stand-in stops with `ConfigError`
instead, because luck is no test result. Does not check drivers, paths or addresses: whoever uses them does.
"""

from __future__ import annotations

import sys
from pathlib import Path

from standin import RELEASE, grammar
from standin.defaults import MONITORD, ONED, ONED_NAMED, SCHEDULER
from standin.grammar import Value
from standin.template import Hidden, Template

HIDDEN: Hidden = {"DB": frozenset({"BACKEND", "SERVER", "PORT", "USER", "PASSWD", "DB_NAME"})}


class ConfigError(RuntimeError):
    """A configuration that the daemon refuses; `str()` is what it prints before it exits."""


class Config(Template):
    """The merged configuration of one daemon."""

    def section(self, name: str) -> dict[str, str]:
        """A vector that must be one: a scalar of that name crashes the real daemon.

        :raises ConfigError: for a missing vector.
        """
        vector = self.vector(name)
        if vector is None:
            raise ConfigError(f"{name} is not a vector attribute.")
        return vector

    def integer(self, name: str, key: str | None = None, default: int | None = None) -> int:
        """A number of the file or, where the daemon passes one along, its fallback.

        :raises ConfigError: where the real daemon would go on with an uninitialised integer.
        """
        text = self.get(name) if key is None else self.section(name).get(key, "")
        if text.strip().lstrip("+-").isdigit():
            return int(text)
        if default is not None:
            return default
        label = name if key is None else f"{name}/{key}"
        raise ConfigError(
            f"{label} has no number (found '{text}'): OpenNebula would use an uninitialised integer here. "
            "Vectors do not merge with the compiled defaults; write the whole vector."
        )

    def flag(self, name: str) -> bool:
        return self.get(name).upper() in ("YES", "TRUE")

    def log_system(self) -> str:
        """`file`, `syslog` or `std`.

        :raises ConfigError: "Unknown LOG_SYSTEM." for anything else, a LOG vector without SYSTEM included.
        """
        system = (self.vector("LOG") or {}).get("SYSTEM", "").lower()
        if system not in ("file", "syslog", "std"):
            raise ConfigError("Unknown LOG_SYSTEM.")
        return system

    def log_level(self, default: int = 0) -> int:
        """0 errors … 5 everything; out of range or absent gives `default`."""
        text = (self.vector("LOG") or {}).get("DEBUG_LEVEL", "")
        return int(text) if text.isdigit() and int(text) <= 5 else default


def load_oned(path: Path, var: Path) -> Config:
    """oned.conf with its compiled defaults; `var` is where datastores are unless the file says otherwise.

    :raises ConfigError: after printing the parser's message to stdout, as oned does.
    """
    config = _load(path, ONED, "Could not load nebula configuration file.")
    for name, defaults in ONED_NAMED.items():
        known = {vector.get("NAME") for vector in config.vectors(name)}
        for default in defaults:
            absent = name == "TM_MAD_CONF" and default["NAME"] in RELEASE.transfers_missing
            if default["NAME"] not in known and not absent:
                config.add(name, dict(default))
    if "DATASTORE_LOCATION" not in config:
        config.add("DATASTORE_LOCATION", f"{var}/datastores")
    return config


def load_monitord(path: Path) -> Config:
    """monitord.conf with its compiled defaults.

    :raises ConfigError: as `load_oned`.
    """
    return _load(path, MONITORD, f"Error reading monitor configuration file {path.name}")


def load_rank(path: Path) -> Config:
    """rank.conf, or sched.conf of 6.10, with the defaults that both have.

    :raises ConfigError: as `load_oned`.
    """
    return _load(path, SCHEDULER, f"Error reading configuration file: {path}")


def _load(path: Path, defaults: dict[str, Value], failure: str) -> Config:
    try:
        parsed = grammar.parse(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        print("\nError while parsing configuration file: Error opening template file", flush=True)
        raise ConfigError(failure) from None
    except grammar.GrammarError as error:
        print(f"\nError while parsing configuration file: {error}", flush=True)
        raise ConfigError(failure) from None
    sys.stdout.write(parsed.echo)
    config = Config(parsed.attributes)
    for name, value in defaults.items():
        if name not in config:
            config.add(name, dict(value) if isinstance(value, dict) else value)
    return config
