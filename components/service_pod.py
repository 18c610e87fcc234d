"""What FireEdge, OneFlow and OneGate have in common: one daemon that serves HTTP and is a client of oned. Pure builders.

Deployment, pod template, Service, network policies, disruption budget. Every pod is one container of its daemon
(FireEdge has guacd beside it), runs as a user of no file on hosts, reads its configuration at the official paths and its
credential from a directory mounted at /var/lib/one/.one. `components/web_daemon.py` makes the resources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from components import naming
from components.manifests import (
    Manifest,
    container_security,
    empty_dir,
    exec_probe,
    mount,
    peer,
    pod_security,
    policy_ports,
)
from components.placement import Placement
from components.scheduling import pod_fields

SCRIPTS = "/usr/local/libexec/one"
AUTH_DIRECTORY = "/var/lib/one/.one"


@dataclass(frozen=True, kw_only=True)
class PodObjects:
    """Names of the objects that a pod runs as and mounts: known once they are made."""

    account: pulumi.Input[str]
    config: pulumi.Input[str]
    secret: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class ServicePod:
    """The values that shape a pod.

    `config_files` maps a key of the ConfigMap to the path where the daemon reads it. `startup_seconds` is how long the
    first answer to `readiness` may take. `volumes`, `mounts`, `sidecars` and `init_containers` come on top of what every
    such pod has.
    """

    name: str
    port: int
    image: str
    placement: Placement
    config_files: Mapping[str, str]
    resources: Manifest
    readiness: Manifest
    startup_seconds: int
    replicas: int = 1
    shared_group: int = naming.UID_SERVICES
    environment: Mapping[str, str] = field(default_factory=dict)
    volumes: Sequence[Manifest] = ()
    mounts: Sequence[Manifest] = ()
    sidecars: Sequence[Manifest] = ()
    init_containers: Sequence[Manifest] = ()


def deployment(pod: ServicePod, objects: PodObjects, *, overlap: bool) -> Manifest:
    """Spec of the Deployment. `overlap`: whether old and new pods may run at the same time."""
    strategy: Manifest = {"type": "Recreate"}
    if overlap:
        # The old pod serves until the new one is ready, also where there is only one.
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    return {
        "replicas": pod.replicas,
        "revisionHistoryLimit": 1,  # the configuration of older revisions is gone with their ConfigMap
        "strategy": strategy,
        "selector": {"matchLabels": naming.selector(pod.name)},
        "template": {"metadata": {"labels": naming.labels(pod.name)}, "spec": _pod_spec(pod, objects)},
    }


def _pod_spec(pod: ServicePod, objects: PodObjects) -> Manifest:
    spec: Manifest = {
        "serviceAccountName": objects.account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(naming.UID_SERVICES) | {"fsGroup": pod.shared_group},
        "imagePullSecrets": [{"name": item} for item in pod.placement.image_pull_secrets],
        **pod_fields(pod.placement.scheduling),
        # The entrypoint gives its daemon 6 s after SIGTERM.
        "terminationGracePeriodSeconds": 20,
        "containers": [_daemon(pod), *pod.sidecars],
        "volumes": [
            empty_dir("log", "256Mi"),
            empty_dir("tmp", "256Mi"),
            {"name": "config", "configMap": {"name": objects.config, "defaultMode": 0o444}},
            {"name": "auth", "secret": {"secretName": objects.secret, "defaultMode": 0o440}},
            *pod.volumes,
        ],
    }
    if pod.init_containers:
        spec["initContainers"] = list(pod.init_containers)
    if pod.replicas > 1:
        spec |= spread(pod.name)
    return spec


def container(name: str, image: str, placement: Placement, command: Sequence[str], resources: Manifest) -> Manifest:
    """What every container has. tini is PID 1: it reaps what the daemon leaves behind and passes SIGTERM on."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": placement.image_pull_policy,
        "command": ["/usr/bin/tini", "--", *command],
        "securityContext": container_security(),
        "resources": resources,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _daemon(pod: ServicePod) -> Manifest:
    return {
        **container(pod.name, pod.image, pod.placement, [f"{SCRIPTS}/start"], pod.resources),
        "env": [{"name": name, "value": value} for name, value in {"HOME": "/var/lib/one", **pod.environment}.items()],
        "ports": [{"name": "http", "containerPort": pod.port}],
        # Readiness is asked anew as soon as this one is content, so it may be rare: FireEdge logs each request.
        "startupProbe": pod.readiness | {"periodSeconds": 1, "failureThreshold": pod.startup_seconds},
        "readinessProbe": pod.readiness,
        # Patient: a restart forgets sessions and running flows, and heals nothing that is merely slow.
        "livenessProbe": exec_probe([f"{SCRIPTS}/alive", str(pod.port)], period=20, failures=3),
        "volumeMounts": [
            mount("log", "/var/log/one"),
            mount("tmp", "/tmp"),
            mount("auth", AUTH_DIRECTORY, read_only=True),
            *(_file(name, path) for name, path in pod.config_files.items()),
            *pod.mounts,
        ],
    }


def _file(name: str, path: str) -> Manifest:
    """One file of the configuration beside the image's own. It never changes: new content is a new object and pod."""
    return mount("config", path, read_only=True) | {"subPath": name}


def spread(name: str) -> Manifest:
    """Replicas on different nodes and zones where the cluster has them; a small cluster still runs them all."""
    selector = {"matchLabels": naming.selector(name)}
    term = {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"}
    return {
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]
            }
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": selector,
            }
        ],
    }


def http_probe(path: str, port: int, *, period: int, failures: int, timeout: int = 5) -> Manifest:
    """A probe that wants a page (200-399); period and timeout in seconds."""
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": timeout,
    }


def service(name: str, port: int) -> Manifest:
    """A cluster IP for the daemon's port."""
    return {
        "type": "ClusterIP",
        "selector": naming.selector(name),
        "ports": [{"name": "http", "port": port, "targetPort": port}],
    }


def disruption_budget(name: str) -> Manifest:
    """A drain takes one replica at a time."""
    return {"maxUnavailable": 1, "selector": {"matchLabels": naming.selector(name)}}


def own_policy(name: str, *, ingress: Sequence[Manifest], egress: Sequence[Manifest]) -> Manifest:
    """Everything that the daemon's own pods may do. DNS is allowed for the whole namespace."""
    return {
        "podSelector": {"matchLabels": naming.selector(name)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": list(ingress),
        "egress": list(egress),
    }


def calls(server: str, *ports: int) -> Manifest:
    """Egress rule: TCP ports of a server of this namespace."""
    return {"to": [peer(naming.selector(server))], "ports": policy_ports(*(("TCP", port) for port in ports))}


def admits(client: str, server: str, *ports: int) -> Manifest:
    """The other half of `calls`: an additive policy on the server's pods, owned by the client."""
    return {
        "podSelector": {"matchLabels": naming.selector(server)},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"from": [peer(naming.selector(client))], "ports": policy_ports(*(("TCP", port) for port in ports))}
        ],
    }
