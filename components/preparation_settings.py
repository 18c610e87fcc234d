"""Settings of what the bootstrap does on hosts besides installing packages. Pure.

For all hosts: the firewall and the preflight's limits. For one host, or a group: its operating system, Ceph's client
programs, NFS mounts. What is written here reaches the host as plain values; no secret belongs here.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, model_validator

from components.bootstrap.plan import Firewall, HostPlan, Mount
from components.bootstrap.systems import BY_KEY
from components.domain import Network, PublicKey, Section

if TYPE_CHECKING:
    from components.host_settings import HostSettings


def _known_system(key: str) -> str:
    if key not in BY_KEY:
        raise ValueError(f"{key!r} is no known system; known are {', '.join(BY_KEY)}")
    return key


OperatingSystem = Annotated[str, AfterValidator(_known_system)]


class MountSettings(Section):
    """An NFS file system that the host mounts at boot."""

    source: str = Field(description="server:/path")
    target: str = Field(description="absolute path on the host, such as /var/lib/one/datastores/100")
    options: str = Field(default=Mount.options, description="mount options, in one word and separated by commas")

    @model_validator(mode="after")
    def _as_the_host_reads_it(self) -> MountSettings:
        self.plan()
        return self

    def plan(self) -> Mount:
        """As the bootstrap knows it. Raises ValueError."""
        return Mount(source=self.source, target=self.target, options=self.options)


class HostFirewallSettings(Section):
    """A firewall that runs on a host stays on and lets in ssh, consoles and live migrations; nothing else is opened."""

    manage: bool = Field(
        default=True, description="false: nothing is opened on hosts, and what was opened before is shut again"
    )
    sources: tuple[Network, ...] = Field(
        default=(),
        description="networks that may reach ssh, consoles and migrations: the control plane's, as hosts see it, and "
        "the hosts'. A host with a firewall at work is refused without any",
    )
    first_console: int = Field(default=Firewall.first_console, ge=1024, le=65535, description="first port of consoles")
    last_console: int = Field(default=Firewall.last_console, ge=1024, le=65535, description="last port of consoles")

    @model_validator(mode="after")
    def _a_range(self) -> HostFirewallSettings:
        if self.first_console > self.last_console:
            raise ValueError("firstConsole must not be above lastConsole")
        return self

    def plan(self, ssh_port: int = Firewall.ssh_port) -> Firewall | None:
        """As the bootstrap knows it, for a host with sshd on this port; None to open nothing."""
        if not self.manage:
            return None
        return Firewall(
            first_console=self.first_console,
            last_console=self.last_console,
            sources=tuple(str(network) for network in self.sources),
            ssh_port=ssh_port,
        )


class PreparationSettings(Section):
    """Limits of the bootstrap's preflight, and the hosts' firewalls."""

    firewall: HostFirewallSettings = HostFirewallSettings()
    accepted_keys: tuple[PublicKey, ...] = Field(
        default=(),
        description="public keys that let in as oneadmin besides its own: the next one, before oneadminSshKey is changed",
    )
    minimum_free: int = Field(
        default=HostPlan.minimum_free_mib, ge=0, le=1_000_000, description="MiB that must be free in /usr and /var"
    )
    clock_tolerance: int = Field(
        default=HostPlan.clock_tolerance,
        ge=1,
        le=86400,
        description="seconds that a host's clock may differ from that of the machine that runs Pulumi",
    )
    lock_wait: int = Field(
        default=HostPlan.lock_wait, ge=0, le=3600, description="seconds to wait for another package manager on a host"
    )
    install_limit: int = Field(
        default=HostPlan.install_limit, ge=30, le=7200, description="seconds that one installation may take"
    )


def with_preparation(plan: HostPlan, host: HostSettings, settings: PreparationSettings) -> HostPlan:
    """The plan with what the settings say. Raises ValueError for a system without packages of the plan's release."""
    return dataclasses.replace(
        plan,
        os=host.os,
        driver="lxc" if plan.kind == "lxc" else "qemu" if host.driver == "qemu" else "kvm",
        ceph=host.ceph,
        mounts=tuple(mount.plan() for mount in host.mounts),
        firewall=settings.firewall.plan(host.port),
        also_accepted_keys=settings.accepted_keys,
        minimum_free_mib=settings.minimum_free,
        clock_tolerance=settings.clock_tolerance,
        lock_wait=settings.lock_wait,
        install_limit=settings.install_limit,
    )
