"""What runs in the cluster before anything else does: DNS, and storage that makes volumes when they are claimed.

Pure: functions return manifests. Four storage classes: `local-path` (default; one node, made when a pod needs it) and
`shared` (many writers, made at once), each also as `…-retain`, whose data outlives the claim and is found by it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

from lab.box import NODE
from lab.paths import Instance

Manifest = dict[str, Any]
SYSTEM = "kube-system"
PROVISIONER = "onelab/volumes"
CLASSES = {"local-path": False, "local-path-retain": False, "shared": True, "shared-retain": True}  # name -> many?

_COREFILE = """\
.:53 {
    errors
    health
    ready
    loadbalance
    hosts /etc/onelab/hosts {
        ttl 5
        reload 1s
        fallthrough
    }
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 5
        fallthrough in-addr.arpa ip6.arpa
    }
    template ANY ANY {
        rcode NXDOMAIN
    }
}
"""


def hosts_file(hosts: Mapping[str, IPv4Address]) -> str:
    """Lines of /etc/hosts, in a stable order."""
    return "".join(f"{address} {name}\n" for name, address in sorted(hosts.items()))


def dns_directory(instance: Instance) -> str:
    return str(instance.state / "dns")


def volumes_directory(instance: Instance) -> str:
    return str(instance.state / "volumes")


def _object(version: str, kind: str, name: str, namespace: str | None = None, **rest: Any) -> Manifest:
    metadata: dict[str, Any] = {"name": name, **rest.pop("metadata", {})}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def _binding(name: str, account: str) -> Manifest:
    return _object(
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        name,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        subjects=[{"kind": "ServiceAccount", "name": account, "namespace": SYSTEM}],
    )


def _role(name: str, rules: Mapping[tuple[str, str], str]) -> Manifest:
    return _object(
        "rbac.authorization.k8s.io/v1",
        "ClusterRole",
        name,
        rules=[
            {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split()}
            for (group, resources), verbs in rules.items()
        ],
    )


def _deployment(name: str, pod: Manifest) -> Manifest:
    labels = {"app.kubernetes.io/name": name, "k8s-app": name}
    return _object(
        "apps/v1",
        "Deployment",
        name,
        SYSTEM,
        spec={
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"k8s-app": name}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    )


def dns(instance: Instance, image: str) -> list[Manifest]:
    """CoreDNS under the name and address that every pod is given; the lab's own hosts come from a file of the node."""
    name = "kube-dns"
    container = {
        "name": "coredns",
        "image": image,
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
        ],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "failureThreshold": 5},
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
            "runAsUser": 0,  # binds port 53; the capability alone does not reach another user's process
        },
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/coredns", "readOnly": True},
            {"name": "hosts", "mountPath": "/etc/onelab", "readOnly": True},
        ],
    }
    pod = {
        "serviceAccountName": name,
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": name}},
            {"name": "hosts", "hostPath": {"path": dns_directory(instance), "type": "Directory"}},
        ],
    }
    ports = [{"name": n, "port": 53, "targetPort": 53, "protocol": p} for n, p in (("dns", "UDP"), ("dns-tcp", "TCP"))]
    rules = {
        ("", "endpoints services pods namespaces"): "list watch",
        ("discovery.k8s.io", "endpointslices"): "list watch",
    }
    return [
        _object("v1", "ServiceAccount", name, SYSTEM),
        _role("onelab:dns", rules),
        _binding("onelab:dns", name),
        _object("v1", "ConfigMap", name, SYSTEM, data={"Corefile": _COREFILE}),
        _object(
            "v1",
            "Service",
            name,
            SYSTEM,
            spec={"clusterIP": str(instance.dns_ip), "selector": {"k8s-app": name}, "ports": ports},
        ),
        _deployment(name, pod),
    ]


def storage(instance: Instance, image: str) -> list[Manifest]:
    """The provisioner and its classes; volumes are directories in the lab's state and go with `make down`."""
    name = "volume-provisioner"
    container = {
        "name": name,
        "image": image,
        "args": [PROVISIONER, volumes_directory(instance), NODE],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {"runAsUser": 0},  # the directories belong to whoever the pods run as
        "volumeMounts": [{"name": "volumes", "mountPath": volumes_directory(instance)}],
    }
    pod = {
        "serviceAccountName": name,
        "priorityClassName": "system-cluster-critical",
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [
            {"name": "volumes", "hostPath": {"path": volumes_directory(instance), "type": "DirectoryOrCreate"}}
        ],
    }
    rules = {
        ("", "nodes persistentvolumeclaims"): "get list watch",
        ("", "persistentvolumes"): "get list watch create patch update delete",
        ("", "events"): "create patch update",
        ("storage.k8s.io", "storageclasses"): "get list watch",
    }
    return [
        _object("v1", "ServiceAccount", name, SYSTEM),
        _role("onelab:volumes", rules),
        _binding("onelab:volumes", name),
        *(_storage_class(title, many) for title, many in CLASSES.items()),
        _deployment(name, pod),
    ]


def _storage_class(name: str, many: bool) -> Manifest:
    default = str(name == "local-path").lower()
    return _object(
        "storage.k8s.io/v1",
        "StorageClass",
        name,
        metadata={"annotations": {"storageclass.kubernetes.io/is-default-class": default}},
        provisioner=PROVISIONER,
        reclaimPolicy="Retain" if name.endswith("-retain") else "Delete",
        volumeBindingMode="Immediate" if many else "WaitForFirstConsumer",
        parameters={"sharing": "many" if many else "one"},
    )
