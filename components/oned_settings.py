"""What an operator decides about oned, and oned.conf made of it. Pure; `components/oned.py` makes the resources."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydantic import Field

from components import naming, scheduler
from components.datastore_settings import IMPOSSIBLE_DRIVERS, REFUSED_KINDS
from components.domain import DnsLabel, Seconds, Section, Version
from components.monitoring import Raw, RawValue
from components.oned_conf import DATABASE_PASSWORD, ONED, GrammarError, Scalar, Value, merge_raw, raw_problems
from components.scheduler import SchedulerSettings
from components.scheduling import SchedulingSettings
from components.versions import RELEASES

_VM_TYPES = ("KVM", "QEMU", "XML", "XEN")  # VirtualMachineManager.cc, load_drivers
_TARGETS = ("NONE", "SELF", "SYSTEM")  # Datastore.cc, set_tm_mad


class TuningSettings(Section):
    """Keys of the large-deployment guide. What is left out is the release's own."""

    backlog: int | None = Field(
        default=None, ge=15, le=4096, description="API connections that wait to be accepted; twice maxConnections"
    )
    keepalive_timeout: Seconds | None = Field(default=None, description="seconds that an idle API connection stays")
    keepalive_calls: int | None = Field(default=None, ge=1, le=100000, description="API calls on one connection")
    timeout: Seconds | None = Field(default=None, description="seconds that a client of the API may be silent")
    message_size: int | None = Field(
        default=None, ge=1048576, le=2147483647, description="bytes that an API answer may have; 1 GiB is shipped"
    )
    rpc_log: bool | None = Field(default=None, description="log every API call to one_xmlrpc.log")
    timer: Seconds | None = Field(default=None, description="seconds between two looks at what is due; 15 is shipped")
    datastore_interval: Seconds | None = Field(default=None, description="seconds between two looks at datastores")
    market_interval: Seconds | None = Field(default=None, description="seconds between two looks at marketplaces")


class OnedSettings(Section):
    """The core daemon."""

    log_level: int = Field(default=3, ge=0, le=5, description="0 errors … 5 everything")
    max_connections: int = Field(
        default=64,
        ge=15,
        le=1000,
        description="API connections at once; oned stops accepting beyond. 15 is shipped, 240 for large zones",
    )
    database_wait: Seconds = Field(default=240, description="seconds that a start of oned waits for its database")
    frontend_name: DnsLabel = Field(
        default="opennebula-frontend",
        description="name of the control plane in transfer commands and in the hosts' known_hosts",
    )
    tuning: TuningSettings = TuningSettings()
    scheduling: SchedulingSettings | None = Field(
        default=None,
        description="on which nodes oned's pod runs, and with it onemonitord and the way back, in place of scheduling, which "
        "holds when this is left out",
    )
    raw: Raw = Field(default={})


def endpoint(namespace: str) -> str:
    """The zone's XML-RPC endpoint, as other pods reach it."""
    return f"http://{naming.service_dns(naming.ONED, namespace)}:{naming.PORT_XMLRPC}/RPC2"


def events_endpoint(namespace: str) -> str:
    """Where oned publishes its events (ZeroMQ), as other pods reach it."""
    return f"tcp://{naming.service_dns(naming.ONED, namespace)}:{naming.PORT_HOOK_EVENTS}"


def problems(
    settings: OnedSettings,
    version: Version,
    scheduling: SchedulerSettings | None = None,
    auth: Mapping[str, Value] | None = None,
    onegate_endpoint: str | None = None,
) -> Iterator[tuple[str, str]]:
    """(path below `oned`, sentence) for what this release does not know and what oned's grammar would refuse."""
    release = RELEASES[version]
    yield from ((f"raw.{path}", text) for path, text in _driver_problems(settings.raw))
    yield from ((f"raw.{path}", text) for path, text in _entry_problems(settings.raw))
    yield from _login_problems(settings.raw, auth or {})
    # Names of the database and the namespace have rules of their own; here any will do.
    typed = _typed(
        settings,
        namespace="one",
        user="one",
        schema="one",
        connections=1,
        version=version,
        scheduling=scheduling,
        onegate_endpoint=onegate_endpoint,
        auth=auth,
    )

    def unread(name: str) -> str | None:
        return None if name in release.oned_keys else release.unread(name, ONED.file)

    for path, text in raw_problems(typed, settings.raw, unread=unread):
        yield f"raw.{path}", text


def _driver_problems(raw: Mapping[str, RawValue]) -> Iterator[tuple[str, str]]:
    """Transfer and datastore drivers that could only fail when a VM needs them (one_tm.rb and one_datastore.rb: -d, -s)."""
    for name in ("TM_MAD", "DATASTORE_MAD"):
        vector = raw.get(name)
        arguments = str(vector.get("ARGUMENTS", "")) if isinstance(vector, Mapping) else ""
        named = {re.sub(r"^-[ds]", "", word) for word in re.split(r"[\s,=]+", arguments)}
        if wrong := sorted(named & IMPOSSIBLE_DRIVERS):
            reasons = "; ".join(f"{driver}: {REFUSED_KINDS[driver]}" for driver in wrong)
            yield f"{name}.ARGUMENTS", f"names drivers that cannot work here, take them out: {reasons}"


def _entry_problems(raw: Mapping[str, RawValue]) -> Iterator[tuple[str, str]]:
    """Entries of lists that are whole, with words that oned does not know. Those that lack a key are the grammar's business."""
    for place, entry in _vectors(raw, "VM_MAD"):
        if entry.get("TYPE") and str(entry["TYPE"]).upper() not in _VM_TYPES:
            yield f"{place}.TYPE", f"must be {' or '.join(_VM_TYPES)}: oned leaves a driver of another type out"
    for place, entry in _vectors(raw, "TM_MAD_CONF"):
        modes = [mode.strip().upper() for mode in str(entry.get("TM_MAD_SYSTEM", "")).split(",") if mode.strip()]
        targets = [
            "LN_TARGET",
            "CLONE_TARGET",
            *(f"{key}_{mode}" for mode in modes for key in ("LN_TARGET", "CLONE_TARGET")),
        ]
        for key in targets:
            if str(entry.get(key, "NONE")).upper() not in _TARGETS:
                yield f"{place}.{key}", f"must be {' or '.join(_TARGETS)}: oned refuses datastores of this driver else"
        needed = [key for key in (*targets[2:], *(f"DISK_TYPE_{mode}" for mode in modes)) if not entry.get(key)]
        if needed:
            yield (
                f"{place}.TM_MAD_SYSTEM",
                f"needs {', '.join(needed)} beside it: oned refuses datastores of this driver else",
            )


def _vectors(raw: Mapping[str, RawValue], name: str) -> Iterator[tuple[str, Mapping[str, Scalar]]]:
    value = raw.get(name)
    for number, entry in enumerate(value if isinstance(value, tuple) else ()):
        if isinstance(entry, Mapping):
            yield f"{name}[{number}]", entry


def _login_problems(raw: Mapping[str, RawValue], auth: Mapping[str, Value]) -> Iterator[tuple[str, str]]:
    """DEFAULT_AUTH, where authentication.default leaves it open: a driver that is not loaded refuses every new user."""
    wanted, drivers = raw.get("DEFAULT_AUTH"), auth.get("AUTH_MAD")
    if wanted is None or "DEFAULT_AUTH" in auth or not isinstance(drivers, Mapping):
        return
    # server_* check the daemons' tokens; ldap and saml have their typed setting.
    loaded = str(drivers["AUTHN"]).split(",")
    usable = [name for name in loaded if name not in ("ldap", "saml") and not name.startswith("server_")]
    if wanted not in usable:
        text = f"must be {' or '.join(usable)}; for ldap or saml set authentication.default"
        yield "raw.DEFAULT_AUTH", text


def oned_entries(
    settings: OnedSettings,
    *,
    namespace: str,
    user: str,
    schema: str,
    connections: int,
    version: Version = Version.V7_4,
    scheduling: SchedulerSettings | None = None,
    onegate_endpoint: str | None = None,
    auth: Mapping[str, Value] | None = None,
) -> dict[str, Value]:
    """oned.conf. Raises GrammarError when a raw key fights a typed one, or authentication one of another part."""
    typed = _typed(
        settings,
        namespace=namespace,
        user=user,
        schema=schema,
        connections=connections,
        version=version,
        scheduling=scheduling,
        onegate_endpoint=onegate_endpoint,
        auth=auth,
    )
    return merge_raw(typed, settings.raw)


def _typed(
    settings: OnedSettings,
    *,
    namespace: str,
    user: str,
    schema: str,
    connections: int,
    version: Version,
    scheduling: SchedulerSettings | None,
    onegate_endpoint: str | None,
    auth: Mapping[str, Value] | None,
) -> dict[str, Value]:
    federation: dict[str, Scalar] = {
        "MODE": "STANDALONE",
        "ZONE_ID": 0,
        "SERVER_ID": -1,
        # Also in STANDALONE mode this becomes the zone's endpoint at the first boot (ZonePool.cc).
        "MASTER_ONED": endpoint(namespace),
    }
    if RELEASES[version].grpc:
        federation["MASTER_ONED_GRPC"] = ""
    typed: dict[str, Value] = {
        "LOG": {"SYSTEM": "std", "DEBUG_LEVEL": settings.log_level, "USE_VMS_LOCATION": "NO"},
        "DB": {
            "BACKEND": "mysql",
            "SERVER": f"{naming.MARIADB}.{namespace}.svc",
            "PORT": naming.PORT_MARIADB,
            "USER": user,
            "PASSWD": DATABASE_PASSWORD,
            "DB_NAME": schema,
            "CONNECTIONS": connections,
            "COMPARE_BINARY": "no",
        },
        "PORT": naming.PORT_XMLRPC,
        "LISTEN_ADDRESS": "0.0.0.0",
        # Unset, oned resolves its own pod name and aborts where that fails; hosts use the name to come back.
        "HOSTNAME": settings.frontend_name,
        "FEDERATION": federation,
        # Beyond loopback for the other daemons' pods; the network policy is its only guard (ZeroMQ has no login here).
        "HM_MAD": {
            "EXECUTABLE": "one_hm",
            "ARGUMENTS": f"-p {naming.PORT_HOOK_EVENTS} -l {naming.PORT_HOOK_REPLIES} -b 0.0.0.0",
        },
        "MAX_CONN": settings.max_connections,
        "MAX_CONN_BACKLOG": settings.tuning.backlog or 2 * settings.max_connections,
    }
    typed |= _tuning(settings.tuning)
    if onegate_endpoint is not None:
        typed["ONEGATE_ENDPOINT"] = onegate_endpoint
    typed |= scheduler.oned_entries(scheduling or SchedulerSettings(), version)
    for name, value in (auth or {}).items():
        if name in typed:
            raise GrammarError(f"{name} is no key of authentication")
        typed[name] = value
    return typed


def _tuning(settings: TuningSettings) -> dict[str, Value]:
    keys: dict[str, Scalar | None] = {
        "KEEPALIVE_TIMEOUT": settings.keepalive_timeout,
        "KEEPALIVE_MAX_CONN": settings.keepalive_calls,
        "TIMEOUT": settings.timeout,
        "MESSAGE_SIZE": settings.message_size,
        "RPC_LOG": None if settings.rpc_log is None else "YES" if settings.rpc_log else "NO",
        "MANAGER_TIMER": settings.timer,
        "MONITORING_INTERVAL_DATASTORE": settings.datastore_interval,
        "MONITORING_INTERVAL_MARKET": settings.market_interval,
    }
    return {name: value for name, value in keys.items() if value is not None}
