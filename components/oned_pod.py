"""The pod template of oned: containers, volumes, probes. Pure builders; `components/oned.py` makes the resources.

Container roles and their scripts (`images/oned/`): prepare → init, ssh-agent → sidecar (an init container that keeps
running, Kubernetes 1.29 and newer), oned → the daemon, keeper → passwords, log bounds, readiness. Where they are asked
for: scheduler → 6.10's mm_sched, hem → hooks, way-back → sshd for the datastore drivers.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components import monitoring, naming, way_back
from components.manifests import (
    Manifest,
    container_security,
    empty_dir,
    exec_probe,
    mount,
    pod_security,
    tcp_probe,
)
from components.mariadb import MariaDBHandle
from components.scheduling import SchedulingSettings, pod_fields

SCRIPTS = "/usr/local/libexec/one"


def _resources(cpu: str, memory: tuple[str, str]) -> Manifest:
    return {
        "requests": {"cpu": "10m", "memory": memory[0], "ephemeral-storage": "16Mi"},
        "limits": {"cpu": cpu, "memory": memory[1], "ephemeral-storage": "256Mi"},
    }


SMALL = _resources("500m", ("32Mi", "128Mi"))
RUBY = _resources("1", ("64Mi", "512Mi"))  # hooks run inside it
SCHEDULER = _resources("1", ("64Mi", "1Gi"))  # holds every pending VM and every host
COPIES = _resources("4", ("32Mi", "512Mi"))  # encrypts images on their way


@dataclass(frozen=True, kw_only=True)
class OnedPod:
    """Names of the objects that the pod mounts, and the few plain values that shape it."""

    image: str
    release: str  # such as 7.4, which the image's oned must be of
    image_pull_policy: str
    image_pull_secrets: tuple[str, ...]
    service_account: pulumi.Input[str]
    config: pulumi.Input[str]
    ssh_files: pulumi.Input[str]
    oneadmin_secret: pulumi.Input[str]
    serveradmin_secret: pulumi.Input[str]
    ssh_key_secret: pulumi.Input[str]
    home_claim: pulumi.Input[str]
    datastores_claim: pulumi.Input[str]
    database: MariaDBHandle
    database_wait: int
    monitord_port: int
    resources: Manifest
    auth_services: tuple[str, ...]  # whose `<name>_auth` oned's first boot makes
    monitor_secret: pulumi.Input[str] | None  # onemonitord's key pair
    uploads_claim: pulumi.Input[str] | None  # /var/tmp, shared with the web interfaces; scratch without one
    auth_secret: pulumi.Input[str] | None  # files for /etc/one/auth
    scheduler: bool
    hem_config: pulumi.Input[str] | None  # of the hook execution manager, which does not run without
    way_back: WayBackPod | None
    scheduling: SchedulingSettings


@dataclass(frozen=True, kw_only=True)
class WayBackPod:
    """Objects of the way back."""

    config: pulumi.Input[str]
    host_key_secret: pulumi.Input[str]


def pod_template(pod: OnedPod) -> Manifest:
    """The StatefulSet's template."""
    return {
        "metadata": {"labels": naming.labels(naming.ONED)},
        "spec": {
            "serviceAccountName": pod.service_account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": pod_security(naming.UID_ONEADMIN),
            "imagePullSecrets": [{"name": item} for item in pod.image_pull_secrets],
            **pod_fields(pod.scheduling),
            "terminationGracePeriodSeconds": 60,
            "initContainers": [_prepare(pod), _ssh_agent(pod)],
            "containers": [
                _oned(pod),
                _keeper(pod),
                *([_scheduler(pod)] if pod.scheduler else []),
                *([_hem(pod)] if pod.hem_config is not None else []),
                *([_way_back(pod)] if pod.way_back is not None else []),
            ],
            "volumes": _volumes(pod),
        },
    }


def _container(pod: OnedPod, name: str, script: str, resources: Manifest) -> Manifest:
    """A container that runs one of our scripts, or a program by its path."""
    return {
        "name": name,
        "image": pod.image,
        "imagePullPolicy": pod.image_pull_policy,
        # tini reaps what oned does not: ssh masters that outlive their parents.
        "command": ["/usr/bin/tini", "--", script if script.startswith("/") else f"{SCRIPTS}/{script}"],
        "securityContext": container_security(),
        "resources": resources,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _prepare(pod: OnedPod) -> Manifest:
    return {
        **_container(pod, "prepare", "prepare", SMALL),
        "env": [{"name": "RELEASE", "value": pod.release}],
        "volumeMounts": [
            mount("home", "/mnt/home"),
            mount("etc", "/mnt/etc"),
            mount("run", "/run/one"),
            mount("tmp", "/tmp"),
            mount("config", "/etc/one-program", read_only=True),
            mount("database", "/run/secrets/one/database", read_only=True),
            mount("oneadmin", "/run/secrets/one/oneadmin", read_only=True),
            *([mount("auth", "/run/secrets/one/auth", read_only=True)] if pod.auth_secret is not None else []),
        ],
    }


def _ssh_agent(pod: OnedPod) -> Manifest:
    return {
        **_container(pod, "ssh-agent", "ssh-agent-start", SMALL),
        "restartPolicy": "Always",
        "env": [{"name": "SSH_AUTH_SOCK", "value": "/run/one/ssh-agent.sock"}],
        # oned starts only after this probe: its first ssh must find the key.
        "startupProbe": exec_probe(["ssh-add", "-l"], period=1, failures=60),
        "livenessProbe": exec_probe(["ssh-add", "-l"], period=20, failures=3),
        "volumeMounts": [mount("run", "/run/one"), mount("ssh-key", "/run/secrets/one/ssh", read_only=True)],
    }


# What drivers and hooks find: the agent, the ssh wrapper that shares connections, and oneadmin's home.
_DRIVER_ENVIRONMENT = (
    {"name": "SSH_AUTH_SOCK", "value": "/run/one/ssh-agent.sock"},
    {
        "name": "PATH",
        "value": "/usr/lib/one/sh/override:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    },
    {"name": "HOME", "value": "/var/lib/one"},
)
# Clients in this pod: oned itself, with the Secret's password rather than the one that the home volume still has.
_CLIENT_ENVIRONMENT = (
    {"name": "ONE_XMLRPC", "value": f"http://localhost:{naming.PORT_XMLRPC}/RPC2"},
    {"name": "ONE_AUTH", "value": f"/run/secrets/one/oneadmin/{naming.ONE_AUTH_KEY}"},
)


def _auth_services(pod: OnedPod) -> Manifest:
    return {"name": "AUTH_SERVICES", "value": " ".join(pod.auth_services)}


def _ssh_client_mounts(pod: OnedPod) -> list[Manifest]:
    """How ssh of this pod finds hosts, and the pod itself where it has a way back."""
    mounts = [mount("ssh-files", "/etc/one-ssh", read_only=True)]
    if pod.way_back is not None:
        mounts.append(mount("way-back", way_back.DIRECTORY, read_only=True))
    return mounts


def _oned(pod: OnedPod) -> Manifest:
    return {
        **_container(pod, "oned", "oned-start", pod.resources),
        "env": [
            *_DRIVER_ENVIRONMENT,
            _auth_services(pod),
            {"name": "DATABASE_HOST", "value": pod.database.host},
            {"name": "DATABASE_PORT", "value": str(pod.database.port)},
            {"name": "DATABASE_USER", "value": pod.database.user},
            {"name": "DATABASE_NAME", "value": pod.database.name},
            {"name": "DATABASE_WAIT_SECONDS", "value": str(pod.database_wait)},
        ],
        "ports": [
            {"name": "xmlrpc", "containerPort": naming.PORT_XMLRPC},
            {"name": "monitord-tcp", "containerPort": pod.monitord_port, "protocol": "TCP"},
            {"name": "monitord-udp", "containerPort": pod.monitord_port, "protocol": "UDP"},
        ],
        # Covers the wait for the database and the first boot's tables; a clear failure of oned ends it sooner.
        "startupProbe": tcp_probe(naming.PORT_XMLRPC, period=1, failures=pod.database_wait + 120),
        "livenessProbe": tcp_probe(naming.PORT_XMLRPC, period=10, failures=6),
        "volumeMounts": [
            mount("home", "/var/lib/one"),
            mount("datastores", "/var/lib/one/datastores"),
            mount("etc", "/etc/one"),
            mount("log", "/var/log/one"),
            mount("run", "/run/one"),
            mount("lock", "/var/lock/one"),
            mount("tmp", "/tmp"),
            mount("var-tmp", "/var/tmp"),
            *_ssh_client_mounts(pod),
            mount("database", "/run/secrets/one/database", read_only=True),
            mount("oneadmin", "/run/secrets/one/oneadmin", read_only=True),
            *([mount("monitord", monitoring.KEY_DIRECTORY, read_only=True)] if pod.monitor_secret is not None else []),
        ],
    }


def _keeper(pod: OnedPod) -> Manifest:
    return {
        **_container(pod, "keeper", "keeper", SMALL),
        "env": [_auth_services(pod)],
        # Readiness of the whole pod: a real call, with the Secret's password.
        "readinessProbe": exec_probe([f"{SCRIPTS}/ready"], period=2, failures=3, timeout=12),
        "volumeMounts": [
            mount("home", "/var/lib/one"),
            mount("log", "/var/log/one"),
            mount("run", "/run/one"),
            mount("tmp", "/tmp"),
            mount("oneadmin", "/run/secrets/one/oneadmin", read_only=True),
            mount("serveradmin", "/run/secrets/one/serveradmin", read_only=True),
        ],
    }


def _scheduler(pod: OnedPod) -> Manifest:
    """mm_sched of 6.10. It listens nowhere and waits for oned by itself; when it dies, the container does."""
    return {
        **_container(pod, "scheduler", "/usr/bin/mm_sched", SCHEDULER),
        "env": [{"name": "HOME", "value": "/var/lib/one"}, *_CLIENT_ENVIRONMENT],
        "volumeMounts": [
            # This one file: oned.conf beside it carries the database's password.
            mount("etc", "/etc/one/sched.conf", read_only=True) | {"subPath": "sched.conf"},
            mount("oneadmin", "/run/secrets/one/oneadmin", read_only=True),
            mount("tmp", "/tmp"),
        ],
    }


def _hem(pod: OnedPod) -> Manifest:
    events = str(naming.PORT_HOOK_EVENTS)
    return {
        **_container(pod, "hem", "hem-start", RUBY),
        "env": [*_DRIVER_ENVIRONMENT, *_CLIENT_ENVIRONMENT],
        # It starts when oned answers, which the first boot may delay as long as oned's own probe allows.
        "startupProbe": exec_probe(
            [f"{SCRIPTS}/socket", "connected", events], period=2, failures=(pod.database_wait + 180) // 2
        ),
        "livenessProbe": exec_probe([f"{SCRIPTS}/socket", "connected-if-served", events], period=15, failures=8),
        "volumeMounts": [
            mount("home", "/var/lib/one"),
            mount("etc", "/etc/one", read_only=True),
            mount("hem", "/etc/one-hem", read_only=True),
            mount("log", "/var/log/one"),
            mount("run", "/run/one"),
            mount("tmp", "/tmp"),
            *_ssh_client_mounts(pod),
            mount("oneadmin", "/run/secrets/one/oneadmin", read_only=True),
        ],
    }


def _way_back(pod: OnedPod) -> Manifest:
    """Of the home volume it sees what transfer scripts work on, and neither passwords nor the master key."""

    def part(name: str, *, read_only: bool = False) -> Manifest:
        return mount("home", f"/var/lib/one/{name}", read_only=read_only) | {"subPath": name}

    port = str(naming.PORT_WAY_BACK)
    return {
        **_container(pod, "way-back", "way-back-start", COPIES),
        "ports": [{"name": "way-back", "containerPort": naming.PORT_WAY_BACK}],
        # Looks at the socket instead of connecting: sshd logs, and newer ones punish, who connects and says nothing.
        "startupProbe": exec_probe([f"{SCRIPTS}/socket", "listens", port], period=1, failures=60),
        "livenessProbe": exec_probe([f"{SCRIPTS}/socket", "listens", port], period=15, failures=4),
        "volumeMounts": [
            part("remotes", read_only=True),
            part(".ssh", read_only=True),
            part("vms"),
            mount("datastores", "/var/lib/one/datastores"),
            # Its own: /run/one of the others holds the agent's socket and, for moments, what the keeper sends.
            mount("way-back-run", "/run/one"),
            mount("tmp", "/tmp"),
            mount("var-tmp", "/var/tmp"),
            *_ssh_client_mounts(pod),
            mount("way-back-key", way_back.HOST_KEY_DIRECTORY, read_only=True),
        ],
    }


def _volumes(pod: OnedPod) -> list[Manifest]:
    def secret(name: str, secret_name: pulumi.Input[str]) -> Manifest:
        return {"name": name, "secret": {"secretName": secret_name, "defaultMode": 0o440}}

    def claim(name: str, claim_name: pulumi.Input[str]) -> Manifest:
        return {"name": name, "persistentVolumeClaim": {"claimName": claim_name}}

    volumes = [
        claim("home", pod.home_claim),
        claim("datastores", pod.datastores_claim),
        # In memory: the rendered oned.conf carries the database's password.
        empty_dir("etc", "16Mi", memory=True),
        empty_dir("run", "16Mi", memory=True),
        empty_dir("log", "1Gi"),
        empty_dir("lock", "1Mi"),
        empty_dir("tmp", "1Gi"),
        empty_dir("var-tmp", "10Gi") if pod.uploads_claim is None else claim("var-tmp", pod.uploads_claim),
        {"name": "config", "configMap": {"name": pod.config, "defaultMode": 0o444}},
        {"name": "ssh-files", "configMap": {"name": pod.ssh_files, "defaultMode": 0o444}},
        secret("database", pod.database.secret),
        secret("oneadmin", pod.oneadmin_secret),
        secret("serveradmin", pod.serveradmin_secret),
        secret("ssh-key", pod.ssh_key_secret),
    ]
    if pod.monitor_secret is not None:
        volumes.append(secret("monitord", pod.monitor_secret))
    if pod.auth_secret is not None:
        volumes.append(secret("auth", pod.auth_secret))
    if pod.hem_config is not None:
        volumes.append({"name": "hem", "configMap": {"name": pod.hem_config, "defaultMode": 0o444}})
    if pod.way_back is not None:
        volumes.append({"name": "way-back", "configMap": {"name": pod.way_back.config, "defaultMode": 0o444}})
        volumes.append(secret("way-back-key", pod.way_back.host_key_secret))
        volumes.append(empty_dir("way-back-run", "1Mi", memory=True))
    return volumes
