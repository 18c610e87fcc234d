"""Settings of hypervisor hosts and of the way to them. Pure; `components/hosts.py` makes the resources.

A host has two addresses: `name`, which oned calls it by (and passes to ssh), and `address`, where it really is. Every
connection is pinned: no host key, no connection, at the bastion too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from components.bootstrap.plan import Repository
from components.bootstrap.script import remote_command
from components.domain import (
    Address,
    AttributeName,
    AttributeValue,
    Fingerprint,
    HostName,
    Kind,
    Port,
    PublicKey,
    RemoteAddress,
    Seconds,
    Section,
    UserName,
    matching,
    no_number,
)
from components.preparation_settings import MountSettings, OperatingSystem
from components.preparing.values import HOST, NOW, Endpoint, Way

HostState = Literal["enabled", "disabled", "offline", "maintenance"]


class DrainSettings(Section):
    """How a host is emptied of VMs before it is removed, and for `state: maintenance`."""

    mode: Literal["refuse", "live", "cold"] = Field(
        default="refuse",
        description="VMs on a host that is to be emptied: refuse (stop and list them), migrate live, or cold (shut down by "
        "the guest, moved, booted). They go to enabled hosts of the same cluster and driver",
    )
    vm_limit: Seconds = Field(default=300, description="seconds that the migration of one VM may take")
    limit: Seconds = Field(default=1800, description="seconds that emptying one host may take")


OnRemoval = Literal["keep", "clean", "uninstall"]
"""What becomes of a prepared host once it has left oned."""


class _Host(Section):
    name: HostName = Field(
        description="name in oned; its rules are stricter than DNS: 2-63 of letters, digits, '.', '_', '-'"
    )
    address: RemoteAddress | None = Field(default=None, description="where the host is; `name` when left out")
    host_key: PublicKey = Field(description="the host's SSH public key, reviewed: 'ssh-ed25519 AAAA…'")
    port: Port = Field(default=22, description="port of the host's sshd, for the bootstrap and for oned")
    user: UserName | None = Field(default=None, description="login for the bootstrap; ssh.user when left out")
    cluster: AttributeValue = Field(
        default="default", min_length=1, description="OpenNebula cluster, one of `clusters` or one that exists"
    )
    labels: dict[AttributeName, AttributeValue] = Field(
        default={}, description="further attributes of the host's template"
    )
    reserved_cpu: int | None = Field(
        default=None, description="RESERVED_CPU, hundredths of a core; negative overcommits"
    )
    reserved_memory: int | None = Field(default=None, description="RESERVED_MEM, KiB; negative overcommits")
    adopt: Literal["refuse", "matching", "always"] = Field(
        default="matching",
        description="a host of this name that oned has already: refuse it, take it over if its drivers fit and it bears this stack's "
        "mark, or none and nobody uses it (matching), or always. A machine that another stack has prepared: only with always",
    )
    os: OperatingSystem | None = Field(
        default=None,
        description="operating system, such as debian:12 or almalinux:9 (docs/bootstrap-table.md); then checked in a "
        "preview, and on the host",
    )
    ceph: bool = Field(default=False, description="install Ceph's client programs; keys and libvirt secrets are yours")
    mounts: tuple[MountSettings, ...] = Field(default=(), description="NFS file systems to mount")
    state: HostState = Field(
        default="enabled",
        description="enabled, disabled (no new VMs), offline (not monitored) or maintenance (disabled and emptied of VMs)",
    )
    drain: DrainSettings | None = Field(
        default=None, description="how VMs leave it for maintenance or removal; fleet.drain when left out"
    )
    on_removal: OnRemoval | None = Field(
        default=None, description="what becomes of it when it has left oned; fleet.onRemoval when left out"
    )

    @property
    def ssh_address(self) -> str:
        """Where sshd answers."""
        return self.address or self.name


class KvmHost(_Host):
    """A KVM hypervisor."""

    kind: Literal[Kind.KVM] = Field(description="kvm or lxc")
    driver: Literal["kvm", "qemu"] = Field(
        default="kvm", description="qemu for hosts without hardware virtualisation (nested tests)"
    )


class LxcHost(_Host):
    """A host of LXC system containers."""

    kind: Literal[Kind.LXC] = Field(description="kvm or lxc")

    @property
    def driver(self) -> str:
        """Driver name in oned."""
        return "lxc"


HostSettings = Annotated[KvmHost | LxcHost, Field(discriminator="kind")]


class BastionSettings(Section):
    """A jump host in front of the hypervisors, pinned like them."""

    host: Address = Field(description="address of the bastion")
    host_key: PublicKey = Field(description="the bastion's own SSH public key")
    port: Port = Field(default=22, description="port of the bastion's sshd")
    user: UserName | None = Field(default=None, description="ssh.user when left out")
    handshakes: int = Field(
        default=8, ge=1, le=100, description="logins under way at once; below the bastion's MaxStartups (10 by default)"
    )


class SshSettings(Section):
    """How the machine that runs Pulumi reaches the hosts. The key is the secret `opennebula:sshPrivateKey` or an agent."""

    user: UserName = Field(
        default="root", description="login for the bootstrap; needs passwordless sudo unless it is root"
    )
    bastion: BastionSettings | None = None
    dial_timeout: Seconds = Field(
        default=5, description="seconds a connection attempt may take, up to the end of the key exchange"
    )
    dial_attempts: int = Field(default=3, ge=1, le=20, description="attempts; a black-holed host costs their sum")
    login_timeout: Seconds = Field(
        default=30, description="seconds from the beginning of an attempt until the login is through"
    )
    silence: Seconds = Field(
        default=60, description="seconds without a sign of life after which a connection counts as lost"
    )
    script_timeout: Seconds = Field(
        default=1800,
        description="seconds that the preparation of one host may take; more than preparation.installLimit and lockWait "
        "together",
    )
    agent: bool = Field(
        default=False, description="use the SSH agent of $SSH_AUTH_SOCK instead of opennebula:sshPrivateKey"
    )


_APT_WORD = matching(r"[a-z0-9.-]+", "must be one word of lower-case letters, digits, '.' and '-', as in sources.list")


class PackageSettings(Section):
    """Where hosts get OpenNebula's packages. The key comes with the configuration: nothing is fetched unverified."""

    url: Annotated[
        str,
        matching(
            r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~{}/-]*)?",
            "must be an http(s) URL without user, blanks and query, such as https://downloads.opennebula.io/repo/7.4/{os}",
        ),
    ] = Field(
        description="repository, such as https://downloads.opennebula.io/repo/7.4/{os}; {os} becomes Debian/12, AlmaLinux/9/x86_64 "
        "or the like on each host"
    )
    suite: Annotated[str, _APT_WORD, Field(description="apt suite")] = "stable"
    component: Annotated[str, _APT_WORD, Field(description="apt component")] = "opennebula"
    key: Annotated[
        str,
        matching(
            r"(?s)\s*-----BEGIN PGP PUBLIC KEY BLOCK-----.*-----END PGP PUBLIC KEY BLOCK-----\s*",
            "must be the repository's public key as text, from -----BEGIN PGP PUBLIC KEY BLOCK----- to its END line "
            "(gpg --armor --export, or the file that the repository offers)",
        ),
    ] = Field(description="the repository's armored public key")
    fingerprint: Fingerprint = Field(description="full fingerprint of that key, from a second source")
    enable_dependencies: bool = Field(
        default=True,
        description="enable CRB and EPEL on AlmaLinux and Rocky Linux; on RHEL, and with false, they must be enabled",
    )


class FleetSettings(Section):
    """How long a run waits for monitoring to be seen working, how hosts are emptied, and what is left on them."""

    wait: Seconds = Field(default=600, description="seconds until every enabled host must be monitored")
    poll: Seconds = Field(default=2, description="seconds between two looks at all hosts")
    reprobe: Seconds = Field(default=20, description="seconds after which a host in ERROR is probed again")
    owner: AttributeValue | None = Field(
        default=None,
        min_length=1,
        description="written to every host as MANAGED_BY: a stack with another owner does not touch it unless adopt is always; "
        "left out, PROJECT/STACK",
    )
    drain: DrainSettings = Field(
        default=DrainSettings(), description="how VMs leave hosts without a drain of their own; read when it is needed"
    )
    on_removal: OnRemoval = Field(
        default="keep",
        description="what becomes of a prepared host once it has left oned: keep (it stays as it is), clean (keys, probes, "
        "mounts, package source and firewall openings of the preparation are taken back) or uninstall (the node package "
        "too, if the preparation installed it); read when a host goes",
    )
    lost: tuple[HostName, ...] = Field(
        default=(), description="hosts whose machine is gone for good: their removal does not try to reach them"
    )


def problems(hosts: Sequence[HostSettings], fleet: FleetSettings) -> Iterator[tuple[str, str]]:
    """Path below the stack's settings and text of what no host can do."""
    for index, host in enumerate(hosts):
        if host.address is None:
            try:
                no_number(host.name)
            except ValueError as error:
                yield f"hosts[{index}].name", f"is the address too, and {error}; or give the host's address"
        if isinstance(host, LxcHost) and host.drain is not None and host.drain.mode == "live":
            yield f"hosts[{index}].drain.mode", "containers cannot be migrated live; use cold or refuse"
        first: dict[str, int] = {}
        for number, mount in enumerate(host.mounts):
            if (earlier := first.setdefault(mount.target, number)) != number:
                text = f"{mount.target} is already mounts[{earlier}].target; one file system a path: choose another, or remove one"
                yield f"hosts[{index}].mounts[{number}].target", text
    declared = {host.name for host in hosts}
    for index, name in enumerate(fleet.lost):
        if name in declared:
            text = f"{name} is declared, so it is not lost: take it out of the hosts if its machine is gone, else out of here"
            yield f"fleet.lost[{index}]", text
    for path, drain in (
        ("fleet.drain", fleet.drain),
        *((f"hosts[{index}].drain", host.drain) for index, host in enumerate(hosts)),
    ):
        if drain is not None and drain.vm_limit > drain.limit:
            yield f"{path}.vmLimit", f"must not exceed limit ({drain.limit:g} s)"


def endpoint(host: HostSettings, ssh: SshSettings) -> Endpoint:
    """Where the host's sshd is, and its pinned key."""
    return Endpoint(host.user or ssh.user, host.ssh_address, host.port, host.host_key)


def way(ssh: SshSettings) -> Way:
    """How hosts are reached: through the pinned bastion where there is one, and every wait bounded."""
    bastion = ssh.bastion
    return Way(
        bastion=Endpoint(bastion.user or ssh.user, bastion.host, bastion.port, bastion.host_key) if bastion else None,
        connect=ssh.dial_timeout,
        attempts=ssh.dial_attempts,
        login=ssh.login_timeout,
        silence=ssh.silence,
        limit=ssh.script_timeout,
        handshakes=bastion.handshakes if bastion else 0,
        command=remote_command(HOST, ssh.script_timeout, NOW),
    )


def repository(packages: PackageSettings) -> Repository:
    """The package source as the bootstrap knows it. Raises ValueError when key and fingerprint do not belong together."""
    return Repository(
        url=packages.url,
        suite=packages.suite,
        component=packages.component,
        key_armored=packages.key,
        key_fingerprint=packages.fingerprint,
        enable_dependencies=packages.enable_dependencies,
    )
