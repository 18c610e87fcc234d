"""Inputs of FleetReady to declared values; see `inputs` for what the engine sends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from components.registration.client import AdminState
from components.registration.inputs import Props, as_text, is_unknown
from components.registration.readiness import Cadence, Expected

_SECONDS: Final = {
    "limit_seconds": "limit",
    "poll_seconds": "poll",
    "reprobe_seconds": "reprobe",
    "first_probe_seconds": "first_probe",
    "monitoring_interval_seconds": "interval",
}
PROBED_FOR: Final = ("trigger", "remotes")
"""What makes every host be probed again: what probes are told, and the scripts that come with them."""
WAITED_FOR: Final = ("hosts", *PROBED_FOR)
"""What makes a new wait. Another limit or cadence alone does not: there is nothing new to wait for."""


def normal_fleet(props: Mapping[str, Any]) -> Props:
    usual = Cadence()
    result: Props = {
        "hosts": props.get("hosts") or [],
        "trigger": as_text(props.get("trigger") or ""),
        "remotes": as_text(props.get("remotes") or ""),
        "push_target": props.get("push_target") or usual.push_target,
        "monitor_log": props.get("monitor_log") or usual.monitor_log,
    }
    for key, attribute in _SECONDS.items():
        value = props.get(key)
        result[key] = getattr(usual, attribute) if value is None else value
    if isinstance(result["hosts"], list) and not is_unknown(result["hosts"]):
        hosts = [_normal_host(host) for host in result["hosts"] if isinstance(host, Mapping)]
        result["hosts"] = sorted(hosts, key=lambda host: str(host["name"]))
    return result


def _normal_host(host: Mapping[str, Any]) -> Props:
    state = host.get("state") or AdminState.ENABLED.value
    return {"name": as_text(host.get("name")), "id": as_text(host.get("id")), "state": state}


def fleet_problems(normal: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for key in _SECONDS:
        value = normal[key]
        if not is_unknown(value) and not (isinstance(value, int | float) and not isinstance(value, bool) and value > 0):
            found.append((key, "must be a number of seconds above 0"))
    hosts = normal["hosts"]
    if is_unknown(hosts):
        return found
    if not isinstance(hosts, list):
        return [*found, ("hosts", "must be a list")]
    for number, host in enumerate(hosts):
        if not str(host["id"]).isdecimal():
            found.append((f"hosts[{number}].id", "must be the id of a registered host"))
        if host["state"] not in list(AdminState):
            found.append((f"hosts[{number}].state", f"must be one of {', '.join(AdminState)}"))
    return found


def fleet(normal: Mapping[str, Any]) -> tuple[Expected, ...]:
    return tuple(
        Expected(id=int(host["id"]), name=host["name"], state=AdminState(host["state"])) for host in normal["hosts"]
    )


def cadence(normal: Mapping[str, Any]) -> Cadence:
    seconds = {attribute: float(normal[key]) for key, attribute in _SECONDS.items()}
    return Cadence(**seconds, push_target=normal["push_target"], monitor_log=normal["monitor_log"])
