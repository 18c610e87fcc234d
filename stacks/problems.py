"""Rules of the configuration that need two values: cross-field, pure, each problem with its path and the fix."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final, TypeVar

from components import (
    authentication_rules,
    clusters,
    datastore_rules,
    drivers,
    fireedge_settings,
    hem,
    host_settings,
    ingress_settings,
    monitoring,
    oned_settings,
    oneflow_settings,
    onegate_settings,
    scheduler,
    sunstone_settings,
    way_back,
)
from components.authentication import auth_entries
from components.bootstrap import openpgp
from components.bootstrap.systems import why_not
from components.domain import nowhere, url_host
from components.host_settings import repository
from components.ingress_settings import urls
from components.ldap_passwords import PASSWORDS_KEY, password_names
from components.mariadb import memory_bytes
from components.monitoring import Exposure
from components.naming import (
    FIREEDGE,
    ONED,
    ONEFLOW,
    ONEGATE,
    PROJECT,
    SUNSTONE,
)
from components.registration.inputs import label_problem
from components.versions import RELEASES
from stacks import ports
from stacks.problem import Problem, Unsound
from stacks.tiers import TIERS

if TYPE_CHECKING:
    from stacks.settings import StackSettings

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Given:
    """The secret config values: those that are right, and the names of those that are given and wrong by themselves."""

    right: Mapping[str, str]
    wrong: Collection[str] = ()


Rule = Callable[["StackSettings", Given], Iterable[Problem]]


def cross_problems(settings: StackSettings, secrets: Given) -> Iterator[Problem]:
    """Everything wrong between values that are right one by one.

    A section of `settings` that is wrong by itself is not there (Unsound); a rule that needs it is left out, the others are
    asked. So a rule is short: what it would have said behind that section is not said.
    """
    for rule in (*(_of_settings(each) for each in ports.RULES), *_RULES):
        with contextlib.suppress(Unsound):
            yield from rule(settings, secrets)


def _of_settings(rule: Callable[[StackSettings], Iterable[Problem]]) -> Rule:
    return lambda settings, _secrets: rule(settings)


def _optional(ask: Callable[[], _T]) -> _T | None:
    """What a rule can do without: None where its section is wrong."""
    try:
        return ask()
    except Unsound:
        return None


def _monitoring(settings: StackSettings, _secrets: Given) -> Iterator[Problem]:
    found = settings.monitoring
    if found.exposure is Exposure.NODE_PORT and not 30000 <= found.port <= 32767:
        yield Problem(
            "monitoring.port", "must be 30000 to 32767 with exposure nodePort: listening and node port are one number"
        )
    if nowhere(found.address):
        yield Problem("monitoring.address", "hosts cannot push there; give the load balancer's or a node's address")
    elif ":" in found.address:
        text = "IPv6 is not supported: hosts and the network policies are IPv4. Give an IPv4 address, or a name that has one"
        yield Problem("monitoring.address", text)
    if found.host_interval <= found.probes.monitor_host:
        text = f"must exceed probes.monitorHost ({found.probes.monitor_host} s): else every host counts as silent"
        yield Problem("monitoring.hostInterval", text)


def _database(settings: StackSettings, _secrets: Given) -> Iterator[Problem]:
    """MariaDB takes its whole buffer pool in time, and more beside it: a pod that may not is killed while oned works."""
    pool = settings.database.buffer_pool
    limit = str(TIERS[settings.tier].mariadb["limits"]["memory"])
    most = memory_bytes(limit) * 3 // 4
    if pool is not None and memory_bytes(pool) > most:
        text = (
            f"{pool} does not fit into the {limit} that tier {settings.tier} gives MariaDB's pod, which needs a quarter for "
            f"the rest: at most {most // 2**20}Mi, or a larger tier"
        )
        yield Problem("database.bufferPool", text)


def enabled_daemons(settings: StackSettings) -> dict[str, bool]:
    """Which of the web daemons run."""
    return {
        FIREEDGE: settings.fireedge.enabled,
        ONEFLOW: settings.oneflow.enabled,
        ONEGATE: settings.onegate.enabled,
        SUNSTONE: settings.sunstone.enabled,
    }


def _api(settings: StackSettings, _secrets: Given) -> Iterator[Problem]:
    """XML-RPC has no TLS of its own, and each call carries a session: for oneadmin, name and password."""
    url = settings.api.url
    if url is not None:
        host = url_host(url)
        if host is None:
            yield Problem("api.url", "is no URL: http(s)://HOST:PORT/RPC2, an IPv6 address in brackets")
        elif url.startswith("http:") and not (settings.api.allow_clear or _stays_inside(host)):
            text = f"would carry oneadmin's password to {host} in clear: use https (ingress.hosts.api has it), leave url out "
            yield Problem("api.url", f"{text}(a port-forward), or set api.allowClear: true where that way is safe")


def _stays_inside(host: str) -> bool:
    """This machine, or a Service by its name in the cluster: only somebody in there can resolve that."""
    return nowhere(host) or host.rstrip(".").endswith((".svc", ".svc.cluster.local"))


def _way_back(settings: StackSettings, _secrets: Given) -> Iterator[Problem]:
    if text := way_back.address_problem(settings.way_back, settings.monitoring.exposure):
        yield Problem("wayBack.address", text)


def _images(settings: StackSettings, _secrets: Given) -> Iterator[Problem]:
    release = RELEASES[settings.version]
    if settings.images.sunstone is not None and not release.ruby_sunstone:
        yield Problem("images.sunstone", release.unknown("the Ruby Sunstone"))
    for daemon, enabled in enabled_daemons(settings).items():
        if daemon == SUNSTONE and not release.ruby_sunstone:
            continue  # its own rules say so
        if enabled and getattr(settings.images, daemon) is None:
            text = f"is required while {daemon} is enabled; name its image, or set {daemon}: {{enabled: false}}"
            yield Problem(f"images.{daemon}", text)
        elif enabled:
            yield from _tag(settings, daemon)
    yield from _tag(settings, ONED)


def _tag(settings: StackSettings, daemon: str) -> Iterator[Problem]:
    """An image whose tag plainly begins with another release. What no tag says, the image's own oned does (images/oned/prepare).

    A digest alone decides what is pulled, so a tag beside it is left alone.
    """
    image: str = getattr(settings.images, daemon)
    name = image.rsplit("/", 1)[-1]
    tag = "" if "@" in name else name.partition(":")[2]
    for other in RELEASES:
        if other != settings.version and re.match(rf"{re.escape(other)}(?![0-9])", tag):
            text = (
                f"is of OpenNebula {other} by its tag {tag}, but version is {settings.version}: "
                f'name an image of {settings.version}, or set version: "{other}"'
            )
            yield Problem(f"images.{daemon}", text)


def _section(key: str, found: Callable[[StackSettings], Iterable[tuple[str, str]]]) -> Rule:
    """A rule whose paths are those below one section."""
    return lambda settings, _secrets: (Problem(f"{key}.{path}", text) for path, text in found(settings))


def _everywhere(found: Callable[[StackSettings], Iterable[tuple[str, str]]]) -> Rule:
    """A rule that gives whole paths."""
    return lambda settings, _secrets: (Problem(path, text) for path, text in found(settings))


def _oned(settings: StackSettings) -> Iterator[tuple[str, str]]:
    version = settings.version
    return oned_settings.problems(
        settings.oned,
        version,
        _optional(lambda: settings.scheduler),
        _optional(lambda: auth_entries(settings.authentication, version)),
        _optional(lambda: onegate_settings.vm_endpoint(settings.onegate, urls(settings.ingress).get(ONEGATE))),
    )


def _onegate(settings: StackSettings) -> Iterator[tuple[str, str]]:
    return onegate_settings.problems(
        settings.onegate,
        settings.version,
        oneflow=settings.oneflow.enabled,
        ingress_url=urls(settings.ingress).get(ONEGATE),
        hypervisors=settings.network.hypervisors,
        tproxy=_optional(lambda: settings.drivers.tproxy),
    )


def _datastores(settings: StackSettings) -> Iterator[tuple[str, str]]:
    return datastore_rules.problems(
        settings.datastores, settings.version, settings.host_names, way_back=settings.way_back.enabled
    )


def _ingress(settings: StackSettings, secrets: Given) -> Iterator[Problem]:
    found = ingress_settings.problems(
        settings.ingress,
        enabled_daemons(settings),
        fireedge_replicas=settings.fireedge.replicas,
        fireedge_annotations=settings.fireedge.service_annotations,
        key=secrets.right.get(ingress_settings.KEY),
    )
    yield from (Problem(path, text) for path, text in found)


def _authentication(settings: StackSettings, secrets: Given) -> Iterator[Problem]:
    found, ingress = settings.authentication, settings.ingress
    passwords = password_names(secrets.right.get(PASSWORDS_KEY))
    if PASSWORDS_KEY in secrets.wrong and found.ldap is not None:
        # Nobody knows whom they are for; as if they were for everybody who needs one.
        passwords = frozenset(server.name for server in found.ldap.servers if server.user is not None)
    for path, text in authentication_rules.problems(
        found,
        version=settings.version,
        passwords=passwords,
        fireedge_host=ingress.hosts.fireedge if ingress.enabled else None,
        fireedge=settings.fireedge.enabled,
    ):
        yield Problem(path, text)


_EXAMPLE_KEY: Final = "(the armored key of the repository"  # what Pulumi.prod.yaml has in its place


def _packages(settings: StackSettings, _secrets: Given) -> Iterator[Problem]:
    if settings.packages is None:
        if settings.has_hosts:
            text = "is required when there are hosts: url, key and fingerprint of the package repository"
            yield Problem("packages", text)
        return
    try:
        openpgp.fingerprint(settings.packages.key)
    except ValueError as error:
        example = "is still the example's text" if _EXAMPLE_KEY in settings.packages.key else str(error)
        yield Problem(
            "packages.key", f"{example}; put the repository's armored key there: gpg --armor --export, or its file"
        )
        return
    try:
        repository(settings.packages)
    except ValueError as error:
        yield Problem("packages", str(error))


def _systems(settings: StackSettings, _secrets: Given) -> Iterator[Problem]:
    for index, host in enumerate(settings.hosts):
        reason = why_not(host.os, settings.version.value, host.kind.value) if host.os else None
        if reason:
            yield Problem(f"hosts[{index}].os", reason)


def _hypervisors(settings: StackSettings, _secrets: Given) -> Iterator[Problem]:
    if settings.has_hosts and not settings.network.hypervisors:
        text = "is required when there are hosts: the networks that the pods may reach them in"
        yield Problem("network.hypervisors", text)


def _login(settings: StackSettings, secrets: Given) -> Iterator[Problem]:
    given = "sshPrivateKey" in secrets.right or "sshPrivateKey" in secrets.wrong
    if settings.has_hosts and not settings.ssh.agent and not given:
        text = f"is required when there are hosts: pulumi config set --secret {PROJECT}:sshPrivateKey < KEYFILE, or set ssh.agent: true"
        yield Problem("sshPrivateKey", text)


def _script_time(settings: StackSettings, _secrets: Given) -> Iterator[Problem]:
    found = settings.preparation
    least = found.install_limit + found.lock_wait
    if settings.ssh.script_timeout <= least:
        text = (
            f"{settings.ssh.script_timeout} s must be more than preparation.installLimit and lockWait together "
            f"({found.install_limit} + {found.lock_wait} = {least} s): an installation within its limit would be cut off"
        )
        yield Problem("ssh.scriptTimeout", text)


def _frontend_name(settings: StackSettings, _secrets: Given) -> Iterator[Problem]:
    """Transfer commands are FRONTEND:PATH and HOST:PATH, and hosts pin both names' keys in one known_hosts."""
    name = settings.oned.frontend_name
    for index, host in enumerate(settings.hosts):
        if host.name.lower() == name:
            text = (
                f"{name} is the name of hosts[{index}] too, so transfers would go to the wrong one; choose another name"
            )
            yield Problem("oned.frontendName", text)


def _labels(settings: StackSettings, _secrets: Given) -> Iterator[Problem]:
    for index, host in enumerate(settings.hosts):
        for label, value in host.labels.items():
            if text := label_problem(label, value):
                yield Problem(f"hosts[{index}].labels.{label}", text)


def _addresses(settings: StackSettings) -> Iterator[tuple[int, IPv4Address | IPv6Address]]:
    for index, host in enumerate(settings.hosts):
        with contextlib.suppress(ValueError):  # a name
            yield index, ip_address(host.ssh_address)


def _reach(settings: StackSettings, _secrets: Given) -> Iterator[Problem]:
    found = list(_addresses(settings))
    for index, address in found:
        if address.version != 4:
            text = "IPv6 hosts are not supported: network.hypervisors and its policies are IPv4; give an IPv4 address"
            yield Problem(f"hosts[{index}].address", text)
    networks = settings.network.hypervisors
    for index, address in found:
        if address.version == 4 and networks and not any(address in network for network in networks):
            text = f"{address} is in none of network.hypervisors; the control plane could not reach it: add its network"
            yield Problem(f"hosts[{index}].address", text)


_RULES: Final[tuple[Rule, ...]] = (
    _monitoring,
    _database,
    _api,
    _images,
    _section("oned", _oned),
    _section("monitoring", lambda found: monitoring.problems(found.monitoring, found.version)),
    _section("scheduler", lambda found: scheduler.problems(found.scheduler, found.version)),
    _section("drivers", lambda found: drivers.problems(found.drivers, found.version)),
    _section("hem", lambda found: hem.problems(found.hem, found.version)),
    _section("wayBack", lambda found: way_back.problems(found.way_back)),
    _way_back,
    _section("sunstone", lambda found: sunstone_settings.problems(found.sunstone, found.version)),
    _everywhere(lambda found: clusters.problems(found.clusters)),
    _everywhere(_datastores),
    _everywhere(lambda found: fireedge_settings.problems(found.fireedge, found.version, oneflow=found.oneflow.enabled)),
    _everywhere(lambda found: oneflow_settings.problems(found.oneflow, found.version)),
    _everywhere(_onegate),
    _ingress,
    _authentication,
    _everywhere(lambda found: host_settings.problems(found.hosts, found.fleet)),
    _packages,
    _systems,
    _hypervisors,
    _login,
    _script_time,
    _frontend_name,
    _labels,
    _reach,
)
