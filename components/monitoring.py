"""Settings of host monitoring and the text of monitord.conf. Pure.

One number is the port everywhere: onemonitord has a single key for the port that it listens on and the port that it
tells hosts to push to (facts: monitord.conf NETWORK/PORT), so container, Service and node port are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from components.domain import Address, AttributeName, AttributeValue, Port, Seconds, Section, Version, shape, shapes
from components.load_balancer import LoadBalancerClass, ServiceAnnotations, class_problem
from components.oned_conf import MONITORD, Value, merge_raw, raw_problems
from components.versions import RELEASES, Release

_Text = Annotated[AttributeValue, shape("text")]
_Number = Annotated[int, shape("number")]
RawScalar = Annotated[_Text | _Number, shapes("must be a text or a whole number; write yes, no or 1.5 in quotes")]
RawVector = dict[AttributeName, RawScalar]
_Vector = Annotated[RawVector, shape("vector")]
RawEntry = Annotated[
    _Text | _Number | _Vector, shapes("must be a text, a whole number or a mapping; write yes, no or 1.5 in quotes")
]
RawValue = Annotated[
    _Text | _Number | _Vector | Annotated[tuple[RawEntry, ...], shape("list")],
    shapes("must be a text, a whole number, a mapping or a list of these; write yes, no or 1.5 in quotes"),
]
Raw = Annotated[
    dict[AttributeName, RawValue],
    Field(
        description="further keys, as NAME: value or NAME: {KEY: value}, whole vectors only; a name that is a list there "
        "takes [all of its entries]; typed keys are refused"
    ),
]

# Where onemonitord finds its keys: a Secret's mount in oned's container alone.
KEY_DIRECTORY: Final = "/run/secrets/one/monitord"
PRIVATE_KEY: Final = "private.pem"
PUBLIC_KEY: Final = "public.pem"

# externalTrafficPolicy Local: no other node hands on, which would hide the sender's address from the network policy.
ONE_NODE: Final = (
    "A node port answers only at the node where oned's pod runs: with more than one node, pin the pod to the one whose address "
    "is given (oned.scheduling.nodeSelector)"
)


class Exposure(StrEnum):
    """How hosts reach onemonitord."""

    NODE_PORT = "nodePort"
    LOAD_BALANCER = "loadBalancer"


class ProbePeriods(Section):
    """Seconds between two runs of a probe on the host. Defaults are the shipped ones of 7.4."""

    beacon_host: Seconds = 30
    system_host: Seconds = 600
    monitor_host: Seconds = 120
    state_vm: Seconds = 5
    exec_vm: Seconds | None = Field(default=None, description="5 when left out; 7.x only")
    monitor_vm: Seconds = 30
    sync_state_vm: Seconds = 180


History = Annotated[int | None, Field(ge=0, le=31536000)]


class MonitoringSettings(Section):
    """How hosts report to the control plane."""

    address: Address = Field(
        description="address that hosts push to: the load balancer's or a node's. An IP is best; a name must resolve on the hosts"
    )
    port: Port = Field(
        default=4124, description="one port for listening and pushing, TCP and UDP; 30000-32767 with exposure nodePort"
    )
    exposure: Exposure = Field(
        default=Exposure.LOAD_BALANCER,
        description=f"Service type towards the hosts: loadBalancer, or nodePort. {ONE_NODE}",
    )
    service_annotations: ServiceAnnotations = Field(default={})
    load_balancer_class: LoadBalancerClass = Field(default=None)
    listen: Literal["0.0.0.0", "::"] = Field(
        default="0.0.0.0", description="address that onemonitord binds in its pod: 0.0.0.0, or :: where pods have IPv6"
    )
    host_interval: Seconds = Field(default=180, description="a host silent for longer is probed anew over SSH")
    probes: ProbePeriods = ProbePeriods()
    encrypt: bool = Field(
        default=True,
        description="hosts encrypt what they push, with an RSA key that the program makes unless monitorKey is given. "
        "Encrypted messages do not compress: a host's metrics must stay below about 45 kB (some 100 VMs) to fit a "
        "datagram, and each 245 bytes cost onemonitord a private-key operation on one thread. Measure with many hosts",
    )
    host_history: History = Field(default=None, description="seconds that host metrics are kept; 0 records none")
    vm_history: History = Field(default=None, description="seconds that VM metrics are kept; 0 records none")
    timer: Seconds | None = Field(default=None, description="seconds between two looks at what is due; 15 is shipped")
    threads: int = Field(default=8, ge=1, le=256, description="threads that take in messages")
    connections: int = Field(default=15, ge=1, le=500, description="database connections of onemonitord")
    log_level: int = Field(default=3, ge=0, le=5, description="0 errors … 5 everything")
    raw: Raw = Field(default={})


def problems(settings: MonitoringSettings, version: Version) -> Iterator[tuple[str, str]]:
    """(path below `monitoring`, sentence) for what this release, or the exposure, cannot do."""
    release = RELEASES[version]
    if text := class_problem(settings.load_balancer_class, settings.exposure):
        yield "loadBalancerClass", text
    if settings.probes.exec_vm is not None and not release.exec_vm_probe:
        yield "probes.execVm", release.unknown("this probe (commands in VMs)")

    def unread(name: str) -> str | None:
        return None if name in release.monitord_keys else release.unread(name, MONITORD.file)

    for path, text in raw_problems(_typed(settings, version), settings.raw, MONITORD, unread):
        yield f"raw.{path}", text


def entries(settings: MonitoringSettings, version: Version = Version.V7_4) -> dict[str, Value]:
    """monitord.conf. Raises GrammarError when a raw key fights a typed one."""
    return merge_raw(_typed(settings, version), settings.raw, MONITORD)


def _typed(settings: MonitoringSettings, version: Version) -> dict[str, Value]:
    typed: dict[str, Value] = {
        "MONITORING_INTERVAL_HOST": settings.host_interval,
        # A file, never `std`: oned starts its drivers with the third descriptor closed (include/Driver.h).
        "LOG": {"SYSTEM": "file", "DEBUG_LEVEL": settings.log_level},
        "DB": {"CONNECTIONS": settings.connections},
        "NETWORK": {
            "ADDRESS": settings.listen,
            "MONITOR_ADDRESS": settings.address,
            "PORT": settings.port,
            "THREADS": settings.threads,
            "PUBKEY": f"{KEY_DIRECTORY}/{PUBLIC_KEY}" if settings.encrypt else "",
            "PRIKEY": f"{KEY_DIRECTORY}/{PRIVATE_KEY}" if settings.encrypt else "",
        },
        "PROBES_PERIOD": _periods(settings.probes, RELEASES[version]),
    }
    for name, value in {
        "MANAGER_TIMER": settings.timer,
        "HOST_MONITORING_EXPIRATION_TIME": settings.host_history,
        "VM_MONITORING_EXPIRATION_TIME": settings.vm_history,
    }.items():
        if value is not None:
            typed[name] = value
    return typed


def _periods(probes: ProbePeriods, release: Release) -> dict[str, int]:
    """The whole vector; a release that has no such probe gets no key for it."""
    periods = {
        "BEACON_HOST": probes.beacon_host,
        "SYSTEM_HOST": probes.system_host,
        "MONITOR_HOST": probes.monitor_host,
        "STATE_VM": probes.state_vm,
        "EXEC_VM": 5 if probes.exec_vm is None else probes.exec_vm,
        "MONITOR_VM": probes.monitor_vm,
        "SYNC_STATE_VM": probes.sync_state_vm,
    }
    return {name: value for name, value in periods.items() if name != "EXEC_VM" or release.exec_vm_probe}
