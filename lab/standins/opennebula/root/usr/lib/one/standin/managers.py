"""The drivers that oned starts before the API: one of each kind under a name of its own, and all VM drivers under
theirs.

oned does not start without the kinds that are needed, and no default is compiled in for any but the scheduler's.
Source: OpenNebula 7.4.0, `load_drivers` in src/{hm,vmm,tm,authm,image,market,ipamm,schedm}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from standin import RELEASE, driver
from standin.config import Config
from standin.driver import Driver, DriverError
from standin.log import Log

_VM_TYPES: Final = ("XEN", "KVM", "QEMU", "XML")


@dataclass(frozen=True)
class _Kind:
    """`module` is who speaks in the log, `title` what it calls the driver."""

    vector: str
    module: str
    title: str
    driver: str
    needed: bool = True


_KINDS: Final = (
    _Kind("HM_MAD", "HKM", "Hook Manager", "hook_exe"),
    _Kind("VM_MAD", "VMM", "Virtual Machine Manager", "", needed=False),
    _Kind("TM_MAD", "TrM", "Transfer Manager", "transfer_exe"),
    _Kind("AUTH_MAD", "AuM", "Auth. Manager", "auth_exe", needed=False),
    _Kind("DATASTORE_MAD", "ImM", "Image Manager", "image_exe"),
    _Kind("MARKET_MAD", "MKP", "Marketplace Manager", "market_exe"),
    _Kind("IPAM_MAD", "IPM", "IPAM Manager", "ipam_exe", needed=False),
    _Kind("SCHED_MAD", "SCM", "Scheduler Manager", "sched_exe"),
)


def start(
    config: Config, mads: Path, log: Log, started: list[Driver], takers: Mapping[str, Callable[[str], None]]
) -> dict[str, dict[str, Driver]]:
    """Start them all in order; those that run are in `started`, whatever happens.

    `takers` say by kind (VM_MAD, …) who reads what drivers say. The answer has drivers by kind and name.
    :raises RuntimeError: for a kind that is missing, an executable that is, or a driver that does not come up.
    """
    drivers: dict[str, dict[str, Driver]] = {}
    for kind in _KINDS:
        if kind.vector == "SCHED_MAD" and not RELEASE.scheduler_driver:
            continue  # a line that 6.10 does not know, and ignores as every unknown one
        log.info(kind.module, f"Loading {kind.title} driver.")
        for name, path, arguments in driver.load(_vectors(kind, config, log), mads, log):
            each = Driver(path, arguments, takers.get(kind.vector, _ignore), log)
            started.append(each)
            try:
                each.start()
            except DriverError as error:
                log.error(kind.module, f"{kind.title} driver {name}: {error}")
                raise RuntimeError(f"Could not start the {kind.title}") from None
            drivers.setdefault(kind.vector, {})[name] = each
    return drivers


def _vectors(kind: _Kind, config: Config, log: Log) -> list[dict[str, str]]:
    vectors = config.vectors(kind.vector)
    if not kind.driver:
        for vector in vectors:
            if vector.get("TYPE", "").upper() not in _VM_TYPES:
                log.error(kind.module, f"\tUnknown driver type: {vector.get('TYPE', '').upper()}")
                _refuse(log)
        return vectors
    if vectors:
        return [{**vectors[0], "NAME": kind.driver, "ARGUMENTS": _arguments(vectors[0])}]
    if kind.needed:
        log.info(kind.module, f"Failed to load {kind.title} driver.")
        _refuse(log)
    return []


def _arguments(vector: dict[str, str]) -> str:
    """The arguments as written; AUTHN and AUTHZ of AUTH_MAD are arguments too."""
    named = [f"--{key.lower()} {vector[key]}" for key in ("AUTHN", "AUTHZ") if vector.get(key)]
    return " ".join([*([vector["ARGUMENTS"]] if vector.get("ARGUMENTS") else []), *named])


def _refuse(log: Log) -> None:
    log.error("ONE", "Could not load driver")
    raise DriverError("Could not load an OpenNebula driver")


def _ignore(_line: str) -> None:
    """Nothing that these drivers say matters here."""
