"""Rules of the configuration that need two values: cross-field, pure, each problem with its path and the fix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, ip_address
from typing import TYPE_CHECKING

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
from components.bootstrap.systems import why_not
from components.domain import nowhere, url_host
from components.host_settings import repository
from components.ingress_settings import urls
from components.ldap_passwords import PASSWORDS_KEY, password_names
from components.monitoring import Exposure
from components.naming import (
    FIREEDGE,
    ONEFLOW,
    ONEGATE,
    PROJECT,
    SUNSTONE,
)
from components.registration.inputs import label_problem
from components.versions import RELEASES
from stacks import ports
from stacks.problem import Problem

if TYPE_CHECKING:
    from stacks.settings import StackSettings


def cross_problems(settings: StackSettings, secrets: Mapping[str, str]) -> Iterator[Problem]:
    """Everything wrong with settings whose single values are right. `secrets`: the secret config values that are given."""
    yield from _monitoring(settings)
    yield from ports.problems(settings)
    yield from _api(settings)
    yield from _images(settings)
    for path, text in _daemons(settings, secrets):
        yield Problem(path, text)
    for path, text in host_settings.problems(settings.hosts, settings.fleet):
        yield Problem(path, text)
    if settings.hosts:
        yield from _needed_by_hosts(settings, "sshPrivateKey" in secrets)
        yield from _each_host(settings)


def _monitoring(settings: StackSettings) -> Iterator[Problem]:
    found = settings.monitoring
    if found.exposure is Exposure.NODE_PORT and not 30000 <= found.port <= 32767:
        yield Problem(
            "monitoring.port", "must be 30000 to 32767 with exposure nodePort: listening and node port are one number"
        )
    if nowhere(found.address):
        yield Problem("monitoring.address", "hosts cannot push there; give the load balancer's or a node's address")
    if found.host_interval <= found.probes.monitor_host:
        text = f"must exceed probes.monitorHost ({found.probes.monitor_host} s): else every host counts as silent"
        yield Problem("monitoring.hostInterval", text)


def enabled_daemons(settings: StackSettings) -> dict[str, bool]:
    """Which of the web daemons run."""
    return {
        FIREEDGE: settings.fireedge.enabled,
        ONEFLOW: settings.oneflow.enabled,
        ONEGATE: settings.onegate.enabled,
        SUNSTONE: settings.sunstone.enabled,
    }


def _api(settings: StackSettings) -> Iterator[Problem]:
    """XML-RPC has no TLS of its own, and each call carries a session: for oneadmin, name and password."""
    url = settings.api.url
    if url is not None:
        host = url_host(url)
        if host is None:
            yield Problem("api.url", "is no URL: http(s)://HOST:PORT/RPC2, an IPv6 address in brackets")
        elif url.startswith("http:") and not (settings.api.allow_clear or _stays_inside(host)):
            text = f"would carry oneadmin's password to {host} in clear: use https (ingress.hosts.api has it), leave url out "
            yield Problem("api.url", f"{text}(a port-forward), or set api.allowClear: true where that way is safe")
    for index, network in enumerate(settings.network.api_clients):
        if network.prefixlen == 0:
            text = "is everybody, and XML-RPC is plain HTTP: name the networks, or give ingress.hosts.api a host name"
            yield Problem(f"network.apiClients[{index}]", text)


def _stays_inside(host: str) -> bool:
    """This machine, or a Service by its name in the cluster: only somebody in there can resolve that."""
    return nowhere(host) or host.rstrip(".").endswith((".svc", ".svc.cluster.local"))


def _images(settings: StackSettings) -> Iterator[Problem]:
    release = RELEASES[settings.version]
    if settings.images.sunstone is not None and not release.ruby_sunstone:
        yield Problem("images.sunstone", release.unknown("the Ruby Sunstone"))
    for daemon, enabled in enabled_daemons(settings).items():
        if daemon == SUNSTONE and not release.ruby_sunstone:
            continue  # its own rules say so
        if enabled and getattr(settings.images, daemon) is None:
            text = f"is required while {daemon} is enabled; name its image, or set {daemon}: {{enabled: false}}"
            yield Problem(f"images.{daemon}", text)


def _daemons(settings: StackSettings, secrets: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    version, ingress = settings.version, settings.ingress
    runs = enabled_daemons(settings)
    auth = auth_entries(settings.authentication, version)
    onegate_url = onegate_settings.vm_endpoint(settings.onegate, urls(ingress).get(ONEGATE))
    for key, found in (
        ("oned", oned_settings.problems(settings.oned, version, settings.scheduler, auth, onegate_url)),
        ("monitoring", monitoring.problems(settings.monitoring, version)),
        ("scheduler", scheduler.problems(settings.scheduler, version)),
        ("drivers", drivers.problems(settings.drivers, version)),
        ("hem", hem.problems(settings.hem, version)),
        ("wayBack", way_back.problems(settings.way_back)),
        ("sunstone", sunstone_settings.problems(settings.sunstone, version)),
    ):
        yield from ((f"{key}.{path}", text) for path, text in found)
    yield from clusters.problems(settings.clusters)
    names = [host.name for host in settings.hosts]
    yield from datastore_rules.problems(settings.datastores, version, names, way_back=settings.way_back.enabled)
    yield from fireedge_settings.problems(settings.fireedge, version, oneflow=runs[ONEFLOW])
    yield from oneflow_settings.problems(settings.oneflow, version)
    yield from onegate_settings.problems(
        settings.onegate,
        version,
        oneflow=runs[ONEFLOW],
        ingress_url=urls(ingress).get(ONEGATE),
        hypervisors=settings.network.hypervisors,
    )
    yield from ingress_settings.problems(
        ingress, runs, fireedge_replicas=settings.fireedge.replicas, key=secrets.get(ingress_settings.KEY)
    )
    yield from authentication_rules.problems(
        settings.authentication,
        version=version,
        passwords=password_names(secrets.get(PASSWORDS_KEY)),
        fireedge_host=ingress.hosts.fireedge if ingress.enabled else None,
    )


def _needed_by_hosts(settings: StackSettings, has_ssh_key: bool) -> Iterator[Problem]:
    if settings.packages is None:
        yield Problem(
            "packages", "is required when there are hosts: url, key and fingerprint of the package repository"
        )
    else:
        try:
            repository(settings.packages)
        except ValueError as error:
            yield Problem("packages", str(error))
    for index, host in enumerate(settings.hosts):
        reason = why_not(host.os, settings.version.value, host.kind.value) if host.os else None
        if reason:
            yield Problem(f"hosts[{index}].os", reason)
    if not settings.network.hypervisors:
        yield Problem(
            "network.hypervisors", "is required when there are hosts: the networks that the pods may reach them in"
        )
    if not settings.ssh.agent and not has_ssh_key:
        yield Problem(
            "sshPrivateKey",
            f"is required when there are hosts: pulumi config set --secret {PROJECT}:sshPrivateKey < KEYFILE, or set ssh.agent: true",
        )


def _each_host(settings: StackSettings) -> Iterator[Problem]:
    for index, host in enumerate(settings.hosts):
        for label, value in host.labels.items():
            if text := label_problem(label, value):
                yield Problem(f"hosts[{index}].labels.{label}", text)
        try:
            address = ip_address(host.ssh_address)
        except ValueError:
            continue
        if address.version != 4:
            yield Problem(
                f"hosts[{index}].address", "IPv6 hosts are not supported: network.hypervisors and its policies are IPv4"
            )
        elif not any(address in IPv4Network(network) for network in settings.network.hypervisors):
            yield Problem(
                f"hosts[{index}].address",
                f"{address} is in none of network.hypervisors; the control plane could not reach it",
            )
