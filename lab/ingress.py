"""The lab's ingress controller: Skipper in a namespace of its own, on port 443 of the node's address.

A real controller: it reads Ingress objects of class `lab`, takes certificates from the Secrets that they name, and routes by
host name. Chosen over Traefik, which answers to the same needs: Skipper builds in 73 CPU-seconds, Traefik 3.2 was given up
after 296 with a quarter of its packages built. It listens with TLS and with nothing else, asks the API server every second,
and may list what it needs and do nothing.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from typing import Any

from lab.ca import DOMAIN
from lab.errors import LabError
from lab.paths import Instance
from lab.toolchain import tool

Manifest = dict[str, Any]

NAMESPACE = "ingress"
CLASS = "lab"
CONTROLLER = "skipper"  # in the words of the program's `ingress.controller`
LABELS = {"app.kubernetes.io/name": CONTROLLER}
DAEMONS = ("fireedge", "sunstone", "oneflow", "onegate", "api")

_PORT = 9443
_SUPPORT_PORT = 9911
_LIMIT = 90  # seconds until the controller is there, or gone
_ROLE = "onelab:ingress"


def hosts(instance: Instance) -> dict[str, IPv4Address]:
    """Names of the daemons and the address that they are at: for the cluster's DNS, for curl, for a browser."""
    return {f"{daemon}.{DOMAIN}": instance.node_ip for daemon in DAEMONS}


def apply(instance: Instance, images: Mapping[str, str]) -> None:
    """Bring the controller up in a running cluster and wait for it. Idempotent. Raises LabError."""
    _kubectl(
        instance,
        ("apply", "--server-side", "--force-conflicts", "--field-manager=onelab", "--filename=-"),
        manifests(instance, images[CONTROLLER]),
    )
    _kubectl(
        instance,
        ("rollout", "status", f"deployment/{CONTROLLER}", f"--namespace={NAMESPACE}", f"--timeout={_LIMIT}s"),
    )


def remove(instance: Instance) -> None:
    """Take the controller out of the cluster again; fine when it is not there. Raises LabError."""
    # What is in the namespace goes with it.
    wanted = [each for each in manifests(instance, "-") if "namespace" not in each["metadata"]]
    _kubectl(instance, ("delete", "--ignore-not-found", f"--timeout={_LIMIT}s", "--filename=-"), wanted)


def _kubectl(instance: Instance, arguments: Sequence[str], items: Sequence[Manifest] = ()) -> None:
    done = subprocess.run(
        [str(tool("kubectl")), f"--kubeconfig={instance.kubeconfig}", *arguments],
        input=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)}) if items else "",
        capture_output=True,
        text=True,
        timeout=_LIMIT + 30,
        check=False,
    )
    if done.returncode != 0:
        raise LabError(
            f"the lab's ingress controller: kubectl {arguments[0]} failed",
            cause=(done.stderr or done.stdout).strip()[-1000:],
            fix=f"KUBECONFIG={instance.kubeconfig} kubectl --namespace {NAMESPACE} describe pods",
        )


def arguments() -> tuple[str, ...]:
    """How Skipper runs. Times are for consoles and uploads; whoever is slow here is the lab's own user."""
    return (
        "-kubernetes",
        f"-kubernetes-ingress-class=^{CLASS}$",
        "-kubernetes-enable-tls",
        "-enable-kubernetes-endpointslices",
        "-source-poll-timeout=1000",
        "-wait-first-route-load",
        f"-address=:{_PORT}",
        f"-support-listener=:{_SUPPORT_PORT}",
        # Said on every request, over whatever a client claims: the daemons learn that they are behind TLS.
        "-forwarded-headers=X-Forwarded-For,X-Forwarded-Host,X-Forwarded-Proto=https",
        "-proxy-preserve-host",
        "-tls-min-version=1.2",
        "-read-timeout-server=1h",
        "-write-timeout-server=1h",
        "-response-header-timeout-backend=10m",
        # Restarts of the lab shall not wait for a load balancer that is not there.
        "-wait-for-healthcheck-interval=0s",
        "-access-log-strip-query",
    )


def manifests(instance: Instance, image: str) -> list[Manifest]:
    """All objects of the controller, in the order in which they can be applied. Pure."""
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    return [
        _object("v1", "Namespace", NAMESPACE, metadata={"labels": restricted}),
        _object("networking.k8s.io/v1", "IngressClass", CLASS, spec={"controller": f"onelab/{CONTROLLER}"}),
        _object("v1", "ServiceAccount", CONTROLLER, NAMESPACE, automountServiceAccountToken=False),
        _object("rbac.authorization.k8s.io/v1", "ClusterRole", _ROLE, rules=_rules()),
        _object(
            "rbac.authorization.k8s.io/v1",
            "ClusterRoleBinding",
            _ROLE,
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": _ROLE},
            subjects=[{"kind": "ServiceAccount", "name": CONTROLLER, "namespace": NAMESPACE}],
        ),
        _object("networking.k8s.io/v1", "NetworkPolicy", CONTROLLER, NAMESPACE, spec=_policy(instance)),
        _object(
            "v1",
            "Service",
            CONTROLLER,
            NAMESPACE,
            spec={
                "selector": LABELS,
                "ports": [{"name": "https", "port": 443, "targetPort": _PORT}],
                # kube-proxy takes what comes for this address on this port, from pods, hosts and the root namespace alike.
                "externalIPs": [str(instance.node_ip)],
            },
        ),
        _object(
            "apps/v1",
            "Deployment",
            CONTROLLER,
            NAMESPACE,
            spec={
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": LABELS},
                "template": {"metadata": {"labels": LABELS}, "spec": _pod(image)},
            },
        ),
    ]


def tls_secret(namespace: str, name: str, certificate: str, key: str) -> Manifest:
    """A certificate as the Secret that an Ingress of the namespace can name."""
    data = {"tls.crt": certificate, "tls.key": key}
    return _object("v1", "Secret", name, namespace, type="kubernetes.io/tls", stringData=data)


def _object(version: str, kind: str, name: str, namespace: str | None = None, **rest: Any) -> Manifest:
    metadata: dict[str, Any] = {"name": name, **rest.pop("metadata", {})}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def _rules() -> list[Manifest]:
    """Lists only: Skipper polls. Secrets of every namespace, as any controller that terminates TLS for all of them."""
    return [
        {"apiGroups": [group], "resources": resources, "verbs": ["list"]}
        for group, resources in (
            ("", ["services", "secrets"]),
            ("discovery.k8s.io", ["endpointslices"]),
            ("networking.k8s.io", ["ingresses"]),
        )
    ]


def _policy(instance: Instance) -> Manifest:
    """In: everybody, on the TLS port. Out: the API server, before and after address translation, and pods."""
    api = {"ipBlock": {"cidr": f"{instance.node_ip}/32"}}, {"ipBlock": {"cidr": f"{instance.services[1]}/32"}}
    ports = [{"protocol": "TCP", "port": port} for port in (443, 6443)]
    return {
        "podSelector": {"matchLabels": LABELS},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"protocol": "TCP", "port": _PORT}]}],
        # Which pods is said where the Ingress objects are: each daemon lets the controller in on one port.
        "egress": [{"to": list(api), "ports": ports}, {"to": [{"namespaceSelector": {}}]}],
    }


def _pod(image: str) -> Manifest:
    container = {
        "name": CONTROLLER,
        "image": image,
        "args": ["-kubernetes-in-cluster", *arguments()],
        "ports": [{"name": "https", "containerPort": _PORT}],
        # It listens once it has read the first routes.
        "readinessProbe": {"tcpSocket": {"port": _PORT}, "periodSeconds": 1},
        "livenessProbe": {"tcpSocket": {"port": _PORT}, "periodSeconds": 10, "initialDelaySeconds": 30},
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"memory": "256Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "serviceAccountName": CONTROLLER,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65535,
            "runAsGroup": 65535,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
