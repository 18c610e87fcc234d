"""The stack's configuration: what the program reads of Pulumi's config, and every rule about it.

The registration provider runs in a process of its own and reads four of the same keys there; it trusts these rules.

`parse` is pure but for the files that the configuration names: a mapping of config values in, `StackSettings` or one
ConfigError with every problem out. `load` is the thin part that asks Pulumi. Rules of one value are in
`components/domain.py`, of one section beside its component, of secret values in `stacks/secrets.py`, of two values in
`stacks/problems.py`, of the list of hosts in `stacks/host_list.py`; how pydantic's finds are told, in
`stacks/mistakes.py`. Nothing is touched before all of them hold. What is only advised against is in `stacks/advice.py`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env, is_config_secret
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import get_monitor
from pydantic import AfterValidator, Field, PrivateAttr, TypeAdapter, ValidationError

from components.authentication_settings import AuthenticationSettings
from components.clusters import ClusterSettings
from components.datastore_settings import DatastoreSettings
from components.domain import DnsLabel, Image, NamedNetwork, Seconds, Section, Version, matching
from components.drivers import DriverSettings
from components.egress import EgressSettings
from components.fireedge_settings import FireEdgeSettings
from components.hem import HemSettings
from components.host_settings import FleetSettings, HostSettings, PackageSettings, SshSettings
from components.ingress_secret_check import check_secret
from components.ingress_settings import IngressSettings
from components.kubeconfig_check import look
from components.ldap_check import check_servers
from components.ldap_passwords import PASSWORDS_KEY, parse_passwords
from components.mariadb import MariaDBSettings
from components.monitoring import MonitoringSettings
from components.naming import PROJECT
from components.oned_settings import OnedSettings
from components.oneflow_settings import OneFlowSettings
from components.onegate_settings import OneGateSettings
from components.preparation_settings import PreparationSettings
from components.registration.kube import Cluster
from components.scheduler import SchedulerSettings
from components.scheduling import SchedulingSettings
from components.storage import StorageSettings
from components.sunstone_settings import SunstoneSettings
from components.way_back import WayBackSettings
from stacks import host_list
from stacks.advice import advice
from stacks.mistakes import from_pydantic
from stacks.problem import Problem, Unsound
from stacks.problems import Given, cross_problems
from stacks.secrets import SECRETS, Secrets
from stacks.tiers import Tier

_HOST: Final = re.compile(r"hosts\[(\d+)\]")


def _own_namespace(name: str) -> str:
    # The program labels its namespace, closes its network, and a destroy without retain deletes it.
    if name == "default" or name.startswith("kube-"):
        raise ValueError(
            f"{name} is Kubernetes' own, and this program closes, labels and in the end deletes its namespace: "
            "choose a name that nobody else uses, such as opennebula"
        )
    return name


class KubernetesSettings(Section):
    """The cluster that carries the control plane."""

    kubeconfig: str | None = Field(
        default=None, description="path of the kubeconfig; $KUBECONFIG, one file, or ~/.kube/config when left out"
    )
    context: str | None = Field(default=None, description="context of the kubeconfig; its current one when left out")
    namespace: Annotated[DnsLabel, AfterValidator(_own_namespace)] = Field(
        default="opennebula",
        description="namespace of the control plane; made by this program, so none of Kubernetes' own",
    )


class ImagesSettings(Section):
    """Images of the pods."""

    oned: Image = Field(description="image of the oned pod, with the entrypoints of images/oned")
    fireedge: Image | None = Field(default=None, description="needed while fireedge is enabled")
    oneflow: Image | None = Field(default=None, description="needed while oneflow is enabled")
    onegate: Image | None = Field(default=None, description="needed while onegate is enabled")
    sunstone: Image | None = Field(default=None, description="needed while sunstone is enabled")
    mariadb: Image = Field(description="any image with MariaDB's standard server binaries, 10.6 or newer")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="Always",
        description="of all images. Always asks the registry at every start, so that a node's copy serves nobody without "
        "the pull Secret and a moved tag is seen; IfNotPresent restarts pods while the registry is away",
    )
    pull_secrets: tuple[DnsLabel, ...] = Field(default=(), description="names of image pull Secrets in the namespace")


class NetworkSettings(Section):
    """Networks outside the cluster that the control plane talks to."""

    hypervisors: tuple[NamedNetwork, ...] = Field(
        default=(), description="networks of the hosts, as pods see them: allowed for ssh out and monitoring in"
    )
    api_clients: tuple[NamedNetwork, ...] = Field(
        default=(), description="networks that may call XML-RPC (plain HTTP) in the cluster; a port-forward needs none"
    )
    downloads: tuple[NamedNetwork, ...] = Field(
        default=(),
        description="networks from which oned may download by HTTP and HTTPS (TCP 80, 443): marketplaces of your own, images by URL",
    )
    internet: bool = Field(
        default=False,
        description="let oned download from any public IPv4 address as well: OpenNebula's marketplaces. Private, shared and link-local "
        "ranges, and with them the cluster, stay closed",
    )
    egress: tuple[EgressSettings, ...] = Field(
        default=(),
        description="what else oned may call: a mirror on another port, object storage, a power switch or a mail relay of your hooks",
    )


class ApiSettings(Section):
    """How the registration of hosts reaches oned: through the kubeconfig, unless a URL is given."""

    url: (
        Annotated[str, matching(r"https?://\S+", "must be a URL such as https://one.example/RPC2, without blanks")]
        | None
    ) = Field(default=None, description="XML-RPC URL; a port-forward to oned's pod when left out")
    allow_clear: bool = Field(
        default=False,
        description="let url be http:// to another machine: every call carries oneadmin's password, in clear on that way",
    )
    connect_timeout: Seconds = Field(default=5, description="seconds to connect to oned")
    read_timeout: Seconds = Field(default=30, description="seconds that oned may be silent")
    wait_seconds: Seconds = Field(default=300, description="seconds that an operation waits for oned to answer at all")
    max_connections: int = Field(
        default=8, ge=1, le=8, description="connections to oned at once; half of what it serves as shipped"
    )
    requests_per_second: int = Field(default=30, ge=1, le=1000, description="OpenNebula's guide was tested with 30")


class StackSettings(Section):
    """All that an operator decides for one environment, as written in Pulumi.<stack>.yaml."""

    version: Version = Field(
        default=Version.V7_4, description="OpenNebula release, which the images must be of: 7.4, or 6.10 (LTS)"
    )
    tier: Tier = Field(default=Tier.SMALL, description="sizing: small (10 hosts), medium (100), large (1,000)")
    kubernetes: KubernetesSettings = KubernetesSettings()
    scheduling: SchedulingSettings = SchedulingSettings()
    images: ImagesSettings
    storage: StorageSettings = StorageSettings()
    database: MariaDBSettings = MariaDBSettings()
    oned: OnedSettings = OnedSettings()
    monitoring: MonitoringSettings
    scheduler: SchedulerSettings = SchedulerSettings()
    drivers: DriverSettings = DriverSettings()
    hem: HemSettings = HemSettings()
    way_back: WayBackSettings = WayBackSettings()
    fireedge: FireEdgeSettings = FireEdgeSettings()
    oneflow: OneFlowSettings = OneFlowSettings()
    onegate: OneGateSettings = OneGateSettings()
    sunstone: SunstoneSettings = SunstoneSettings()
    ingress: IngressSettings = IngressSettings()
    authentication: AuthenticationSettings = AuthenticationSettings()
    network: NetworkSettings = NetworkSettings()
    api: ApiSettings = ApiSettings()
    ssh: SshSettings = SshSettings()
    packages: PackageSettings | None = Field(default=None, description="needed as soon as there are hosts")
    preparation: PreparationSettings = PreparationSettings()
    fleet: FleetSettings = FleetSettings()
    clusters: tuple[ClusterSettings, ...] = Field(
        default=(), description="OpenNebula clusters that this stack makes; hosts and datastores may name others"
    )
    datastores: tuple[DatastoreSettings, ...] = Field(default=(), description="where images and disks are")
    hosts: tuple[HostSettings, ...] = Field(default=(), description="the hypervisors")

    @property
    def has_hosts(self) -> bool:
        """Whether any host is declared."""
        return bool(self.hosts)

    @property
    def host_names(self) -> tuple[str, ...]:
        """Names of all declared hosts."""
        return tuple(host.name for host in self.hosts)


class _SoundSettings(StackSettings):
    """What is right of settings that are wrong elsewhere, so that the rules of two values are asked about the rest.

    A section that is wrong is not there, and a rule that asks for it meets Unsound: whatever it said would only echo the
    first mistake. `hosts` holds the hosts that are right.
    """

    _declared: int = PrivateAttr(default=0)
    _whole: bool = PrivateAttr(default=True)

    def __getattr__(self, name: str) -> Any:
        if name in StackSettings.model_fields:
            raise Unsound(name)
        return super().__getattr__(name)  # type: ignore[misc]  # pydantic hides it from type checkers

    @property
    def has_hosts(self) -> bool:
        return self._declared > 0

    @property
    def host_names(self) -> tuple[str, ...]:
        if not self._whole:
            raise Unsound("hosts")
        return super().host_names

    @classmethod
    def of(cls, raw: Mapping[str, Any], wrong: Iterable[str], *, whole: bool) -> tuple[StackSettings, list[int]]:
        """From the values, the config paths that are wrong, and whether every declared host is among the values.

        Also gives the places in `raw` of the hosts that are right.
        """
        paths = set(wrong)
        bad_hosts = {int(found[1]) for path in paths if (found := _HOST.match(path))}
        bad = {re.split(r"[.\[]", path, maxsplit=1)[0] for path in paths if not _HOST.match(path)}
        listed = raw.get("hosts", [])
        kept = [index for index in range(len(listed)) if index not in bad_hosts] if isinstance(listed, list) else []
        values: dict[str, Any] = {}
        for name, info in StackSettings.model_fields.items():
            key = str(info.alias)
            if key in bad:
                continue
            given = [listed[index] for index in kept] if key == "hosts" else raw.get(key)
            if key in raw:
                values[name] = TypeAdapter[Any](info.rebuild_annotation()).validate_json(json.dumps(given))
        parts = cls.model_construct(**values)
        for name, info in StackSettings.model_fields.items():
            if info.alias in bad:
                parts.__dict__.pop(name, None)
        parts._declared = len(listed) if isinstance(listed, list) else 0
        parts._whole = whole and not bad_hosts and "hosts" not in bad
        return parts, kept


class ConfigError(pulumi.RunError):
    """Everything wrong with the configuration, one line each. A RunError is shown without a traceback."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        count = len(self.problems)
        head = f"{count} problem{'s' if count > 1 else ''} in the stack's configuration; nothing was touched:"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in self.problems)]))


def load() -> tuple[StackSettings, Secrets]:
    """Settings and secrets of the running stack. Raises ConfigError."""
    # pulumi.Config cannot list its keys, and an unknown key is a typo that must not pass silently.
    found: dict[str, str] = {**get_config_env(), **CONFIG.get()}
    prefix = f"{PROJECT}:"
    values = {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}
    problems = [*_clear_secrets(values), *passphrase_problems(os.environ)]
    try:
        settings = parse(values)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if problems:
        raise ConfigError(problems)
    without_cluster = kubeconfig_problems(settings, os.environ) if _by_an_engine() else []
    if pulumi.runtime.is_dry_run():
        # The provider previews objects that are new without a cluster; what an up would say is told.
        for problem in without_cluster:
            pulumi.log.warn(f"{problem}. An up will be refused")
        without_cluster = []
    if unreachable := [*without_cluster, *ldap_problems(settings, values), *certificate_problems(settings)]:
        raise ConfigError(unreachable)
    for seldom_meant in advice(settings):
        pulumi.log.warn(str(seldom_meant))
    config = pulumi.Config(PROJECT)
    secrets = Secrets(**{_snake(key): config.get_secret(key) for key in SECRETS})
    return settings, secrets


def parse(values: Mapping[str, str], read: host_list.Reader = host_list.read_file) -> StackSettings:
    """Settings from config values as Pulumi hands them over: text, JSON text for structured ones. Raises ConfigError.

    `read` gives the text of a file that the configuration names.
    """
    problems: list[Problem] = []
    raw: dict[str, Any] = {}
    known = [*(str(field.alias) for field in StackSettings.model_fields.values()), *host_list.SOURCES]
    for key, value in values.items():
        if key in SECRETS:
            try:
                SECRETS[key].check(value)
            except ValueError as error:
                problems.append(Problem(key, str(error)))
        elif key in known:
            raw[key] = _decode(key, value, problems)
        else:
            problems.append(Problem(key, f"unknown key; known are {', '.join(sorted([*known, *SECRETS]))}"))
    broken = {problem.path for problem in problems}
    raw = {key: value for key, value in raw.items() if key not in broken}
    hosts = host_list.assemble(raw, read)
    wrong: list[Problem] = []
    try:
        settings = StackSettings.model_validate_json(json.dumps(hosts.raw))
    except ValidationError as error:
        wrong = [problem for problem in from_pydantic(error) if problem.path not in broken]
    places = list(range(len(hosts.entries)))
    if paths := {*broken - SECRETS.keys(), *(problem.path for problem in wrong)}:
        whole = not any(problem.path.startswith("hostGroups") for problem in [*problems, *hosts.problems])
        settings, places = _SoundSettings.of(hosts.raw, paths, whole=whole)
    problems += [*hosts.relocate(wrong), *hosts.problems]
    good = {key: value for key, value in values.items() if key in SECRETS and key not in broken}
    told = {problem.path for problem in problems}
    crossed = hosts.relocate(
        _placed(cross_problems(settings, Given(right=good, wrong=broken & SECRETS.keys())), places)
    )
    # A place that is told already would be told twice: a rule that misses a value there only echoes the first line.
    problems += [problem for problem in crossed if problem.path not in told]
    if problems:
        raise ConfigError(problems)
    return settings


def _placed(problems: Iterable[Problem], places: Sequence[int]) -> Iterator[Problem]:
    """Problems of the hosts that are right, with their places in the whole list."""
    for problem in problems:
        found = _HOST.match(problem.path)
        rest = problem.path[found.end() :] if found else ""
        yield Problem(f"hosts[{places[int(found[1])]}]{rest}", problem.text) if found else problem


def _by_an_engine() -> bool:
    """Whether what the program declares goes anywhere: mocks need no cluster."""
    monitor = get_monitor()
    return monitor is not None and not isinstance(monitor, MockMonitor)


def kubeconfig_problems(settings: StackSettings, environ: Mapping[str, str]) -> list[Problem]:
    """What is wrong with the kubeconfig that the Kubernetes provider will take."""
    section = settings.kubernetes
    found = look(section.kubeconfig, section.context, environ)
    if found is None:
        return []
    return [Problem(f"kubernetes.{found.key}", f"{found.what}: {found.cause}; {found.fix}")]


def ldap_problems(settings: StackSettings, values: Mapping[str, str]) -> list[Problem]:
    """What the LDAP servers themselves say; nobody is asked with `authentication.ldap.check: false`."""
    ldap = settings.authentication.ldap
    if ldap is None:
        return []
    return [Problem(*found) for found in check_servers(ldap, parse_passwords(values.get(PASSWORDS_KEY)))]


def certificate_problems(settings: StackSettings) -> list[Problem]:
    """What the Secret of `ingress.tls` of kind secret is; the cluster is asked for no other kind."""
    found = settings.kubernetes
    cluster = Cluster(kubeconfig=found.kubeconfig, context=found.context, namespace=found.namespace)
    return [Problem(*each) for each in check_secret(settings.ingress, cluster, pulumi.log.warn)]


def passphrase_problems(environ: Mapping[str, str]) -> list[Problem]:
    """An empty passphrase encrypts nothing, and blanks no more. Looked at in the environment, where the engine itself takes it from:
    the variable if it is set at all, and only else the file."""
    given = environ.get("PULUMI_CONFIG_PASSPHRASE")
    if given is not None:
        if given.strip():
            return []
        text = "PULUMI_CONFIG_PASSPHRASE is empty: everybody could read the secrets. Set one, or unset it where "
        return [Problem("(passphrase)", f"{text}PULUMI_CONFIG_PASSPHRASE_FILE has one or a key service encrypts")]
    file = environ.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    if file and Path(file).is_file() and not Path(file).read_text().strip():
        text = f"{file} is empty: everybody could read the stack's secrets. Write a passphrase into it"
        return [Problem("(passphrase)", text)]
    return []


def _clear_secrets(values: Mapping[str, str]) -> Iterator[Problem]:
    for key in SECRETS:
        if key in values and not is_config_secret(f"{PROJECT}:{key}"):
            yield Problem(key, f"stands in clear; set it with: pulumi config set --secret {PROJECT}:{key}")


def _decode(key: str, value: str, problems: list[Problem]) -> Any:
    field = next((field for field in StackSettings.model_fields.values() if field.alias == key), None)
    if key == "hostKeysFile" or (field is not None and field.annotation in (Version, Tier)):
        if key == "version" and value == "6.1":
            problems.append(Problem(key, "must be in quotes, '6.10': without them YAML reads the number 6.1"))
        return value
    try:
        found = json.loads(value)
        json.dumps(found, ensure_ascii=False).encode()
    except json.JSONDecodeError:
        problems.append(Problem(key, "must be a structured value (a YAML mapping or list), not plain text"))
        return None
    except UnicodeEncodeError:
        problems.append(Problem(key, "contains half a character (a lone surrogate), which no file can hold"))
        return None
    return found


def _snake(camel: str) -> str:
    return "".join(f"_{character.lower()}" if character.isupper() else character for character in camel)
