"""Rules of port numbers that two sections share: of oned's pod, of the cluster's nodes, of one address outside. Pure.

Whether a single number is in its range is a rule of its own section. Deliberately not here: ports of pods in which only
one program listens, and the numbers that Kubernetes chooses by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from components.monitoring import Exposure
from components.naming import (
    PORT_GRPC,
    PORT_HOOK_EVENTS,
    PORT_HOOK_REPLIES,
    PORT_ONEGATE,
    PORT_WAY_BACK,
    PORT_XMLRPC,
)
from components.onegate_settings import GateExposure
from stacks.problem import Problem

if TYPE_CHECKING:
    from stacks.settings import StackSettings

Claim = tuple[str, object, str]  # what claims it, as a configuration path or in words; what is claimed; how to say it


def _twice(claims: Iterable[Claim], text: str) -> Iterator[Problem]:
    first: dict[object, str] = {}
    for who, what, words in claims:
        if (earlier := first.setdefault(what, who)) != who:
            yield Problem(who, f"{words}: {earlier} {text}")


def _in_oneds_pod(settings: StackSettings) -> Iterator[Claim]:
    fixed = {
        "oned's XML-RPC": PORT_XMLRPC,
        "the hook manager (events)": PORT_HOOK_EVENTS,
        "the hook manager (replies)": PORT_HOOK_REPLIES,
    }
    if settings.way_back.enabled:
        fixed["the way back's sshd"] = PORT_WAY_BACK
    yield from ((who, number, str(number)) for who, number in fixed.items())
    # No typed setting: the escape hatch alone moves it.
    moved = str(settings.oned.raw.get("GRPC_PORT", ""))
    if moved.isdecimal():
        yield "oned.raw.GRPC_PORT", int(moved), moved
    else:
        yield "oned's gRPC", PORT_GRPC, str(PORT_GRPC)
    yield "monitoring.port", settings.monitoring.port, str(settings.monitoring.port)


def _on_nodes(settings: StackSettings) -> Iterator[Claim]:
    found = {}
    if settings.monitoring.exposure is Exposure.NODE_PORT:
        found["monitoring.port"] = settings.monitoring.port
    if settings.way_back.enabled and settings.way_back.exposure is Exposure.NODE_PORT:
        found["wayBack.port"] = settings.way_back.port
    gate = settings.onegate
    if gate.enabled and gate.exposure is GateExposure.NODE_PORT and gate.node_port is not None:
        found["onegate.nodePort"] = gate.node_port
    yield from ((path, number, str(number)) for path, number in found.items())


def _outside(settings: StackSettings) -> Iterator[Claim]:
    """Load balancers that shall share an address: those of whom the same one is said."""
    found: dict[str, tuple[str, int]] = {}
    monitoring, back, gate = settings.monitoring, settings.way_back, settings.onegate
    if monitoring.exposure is Exposure.LOAD_BALANCER:
        found["monitoring.port"] = monitoring.address, monitoring.port
    if back.enabled and back.exposure is Exposure.LOAD_BALANCER and back.address is not None:
        found["wayBack.port"] = back.address, back.port
    if gate.enabled and gate.exposure is GateExposure.LOAD_BALANCER and gate.address is not None:
        found["onegate.address"] = gate.address, PORT_ONEGATE
    yield from ((path, place, f"{place[0]}:{place[1]}") for path, place in found.items())


def _pod_problems(settings: StackSettings) -> Iterator[Problem]:
    return _twice(_in_oneds_pod(settings), "listens there too, in the same pod; choose another number")


def _node_problems(settings: StackSettings) -> Iterator[Problem]:
    return _twice(_on_nodes(settings), "has that node port too; choose another number")


def _outside_problems(settings: StackSettings) -> Iterator[Problem]:
    return _twice(_outside(settings), "is reached there too; choose another number or another address")


RULES = (_pod_problems, _node_problems, _outside_problems)
"""Every number that is wanted twice: one rule a place, so that each stands without the others' sections."""
