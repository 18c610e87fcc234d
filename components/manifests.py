"""Pure builders of manifest parts that two or more components share.

They return plain dictionaries as Kubernetes spells them, so that a test compares values and needs no engine.
Every pod of this program is admitted under Pod Security `restricted`; the strictest common part stands here once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

# Plain dictionaries in Kubernetes' own spelling. Typed as Any because the SDK's stubs take its TypedDicts only, which would
# have every builder import the SDK; what they hold is checked by policy/rules.py and by a real API server.
Manifest = Any

# For Services: whether somebody answers behind them is the workload's own readiness, which is waited for already.
SKIP_AWAIT = {"pulumi.com/skipAwait": "true"}


def pod_security(uid: int) -> Manifest:
    """Security context of a pod that runs as one unprivileged user and owns its volumes."""
    return {
        "runAsUser": uid,
        "runAsGroup": uid,
        "runAsNonRoot": True,
        "fsGroup": uid,
        # Volumes with 100,000 images would otherwise be walked at every start.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Manifest:
    """Security context of every container: nothing to gain, nothing to write."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def empty_dir(name: str, size: str, *, memory: bool = False) -> Manifest:
    """A bounded scratch volume; in memory where it carries a secret, so that it never reaches a disk."""
    spec: Manifest = {"sizeLimit": size}
    if memory:
        spec["medium"] = "Memory"
    return {"name": name, "emptyDir": spec}


def mount(name: str, path: str, *, read_only: bool = False) -> Manifest:
    """One volume mount."""
    entry: Manifest = {"name": name, "mountPath": path}
    if read_only:
        entry["readOnly"] = True
    return entry


def exec_probe(command: Sequence[str], *, period: int, failures: int, timeout: int = 5) -> Manifest:
    """A probe that runs a command in the container; period and timeout in seconds."""
    return {
        "exec": {"command": list(command)},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": timeout,
    }


def tcp_probe(port: int, *, period: int, failures: int, timeout: int = 5) -> Manifest:
    """A probe that only asks whether somebody listens; period and timeout in seconds."""
    return {
        "tcpSocket": {"port": port},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": timeout,
    }


def stateful_set(component_labels: Mapping[str, str], peers: Any, template: Manifest) -> Manifest:
    """Spec of a StatefulSet of one, whose headless Service is `peers`."""
    return {
        "replicas": 1,
        # Ordered, the controller waits for a pod that never gets ready instead of replacing it by the mended one.
        "podManagementPolicy": "Parallel",
        "serviceName": peers,
        "selector": {"matchLabels": dict(component_labels)},
        "template": template,
    }


def content_hash(*texts: str) -> str:
    """Ten hex digits over texts: in a name or an annotation it makes a change of content a change of the object."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(len(text).to_bytes(8, "big"))
        digest.update(text.encode())
    return digest.hexdigest()[:10]


def peer(component_labels: Mapping[str, str]) -> Manifest:
    """A network policy peer: pods of this namespace with these labels."""
    return {"podSelector": {"matchLabels": dict(component_labels)}}


def cidr_peer(network: str) -> Manifest:
    """A network policy peer outside the cluster."""
    return {"ipBlock": {"cidr": network}}


def policy_ports(*ports: tuple[str, int]) -> list[Manifest]:
    """Ports of a network policy rule, as (protocol, port)."""
    return [{"protocol": protocol, "port": port} for protocol, port in ports]
