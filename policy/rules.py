"""The architecture's rules as pure predicates over a resource's type, name and properties.

Each rule yields sentences about what is wrong; no sentence means that it holds. Tests run them over the recorded dev and
prod graphs, and `policy/__main__.py` hands them to Pulumi's engine: a rule's name is its policy's, its docstring the
description. They need no engine and no cluster. The source of the pod rules is the Pod Security Standard `restricted`
and the hardening guide's list; the one exemption is oneadmin's uid, which hosts and datastores rely on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from policy.edges import matches
from policy.resource import Properties, Rule, kind_of, plain, said
from policy.ways_in import encrypted, narrow_grants, own_passwords, pinned_host_keys, private_api

WORKLOADS = ("StatefulSet", "Deployment", "DaemonSet", "Job")
ONEADMIN_UID = 9869
# The one exemption from "uid and gid over 10000", as kube-score names it: kind, object, check. 9869 is oneadmin's number in
# OpenNebula's packages; the files that oned's pod shares with hosts and datastores belong to it, so another one would need
# every host renumbered. The rule's reason, a user of the node with the same number, does not arise: nodes have no oneadmin.
EXEMPTION = ("StatefulSet", "oned", "container-security-context-user-group-id")

# Lasting containers without liveness, by workload and name, and why a probe would do nothing good there.
NOT_PROBED: Mapping[tuple[str, str], str] = {
    ("oned", "keeper"): "a loop of the shell, which holds nothing: each of its rounds does all that a restart would do",
    (
        "oned",
        "scheduler",
    ): "mm_sched listens nowhere and leaves no trace between rounds that is told from other clients of oned",
}


def _pod(properties: Properties) -> Mapping[str, Any]:
    pod: Mapping[str, Any] = properties["spec"]["template"]["spec"]
    return pod


def _containers(properties: Properties) -> Iterator[tuple[bool, Mapping[str, Any]]]:
    """(runs as long as the pod, container)."""
    pod = _pod(properties)
    for container in pod.get("initContainers", []):
        yield container.get("restartPolicy") == "Always", container
    for container in pod["containers"]:
        yield True, container


def restricted(type_token: str, name: str, properties: Properties) -> Iterator[str]:
    """Pod Security `restricted`, and a read-only root file system."""
    if kind_of(type_token) not in WORKLOADS:
        return
    pod = _pod(properties)
    context = pod.get("securityContext", {})
    if context.get("runAsNonRoot") is not True:
        yield f"{name}: runAsNonRoot is not set"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield f"{name}: seccompProfile is not RuntimeDefault"
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"{name}: {field} is set"
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    for volume in pod.get("volumes", []):
        for source in set(volume) - {"name"} - allowed:
            yield f"{name}: volume {volume['name']} is a {source}"
    for _, container in _containers(properties):
        where = f"{name}/{container['name']}"
        security = container.get("securityContext", {})
        if security.get("allowPrivilegeEscalation") is not False:
            yield f"{where}: allowPrivilegeEscalation is not false"
        if security.get("readOnlyRootFilesystem") is not True:
            yield f"{where}: the root file system is writable"
        if plain(security.get("capabilities", {}).get("drop")) != ["ALL"] or security.get("capabilities", {}).get(
            "add"
        ):
            yield f"{where}: capabilities are not all dropped"
        if security.get("privileged"):
            yield f"{where}: privileged"


def unprivileged_uid(type_token: str, name: str, properties: Properties) -> Iterator[str]:
    """Uids above 10000, with oneadmin's 9869 as the one exemption."""
    if kind_of(type_token) not in WORKLOADS:
        return
    uid = _pod(properties).get("securityContext", {}).get("runAsUser")
    if (kind_of(type_token), properties["metadata"].get("name")) == EXEMPTION[:2] and uid == ONEADMIN_UID:
        return
    if uid is None or uid <= 10000:
        yield f"{name}: runs as uid {plain(uid)}"


def no_token(type_token: str, name: str, properties: Properties) -> Iterator[str]:
    """No service account token anywhere, and no default service account."""
    kind = kind_of(type_token)
    if kind == "ServiceAccount" and properties.get("automountServiceAccountToken") is not False:
        yield f"{name}: mounts its token by default"
    if kind in WORKLOADS:
        pod = _pod(properties)
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{name}: mounts a service account token"
        if not pod.get("serviceAccountName"):
            yield f"{name}: uses the default service account"
        if pod.get("enableServiceLinks") is not False:
            yield f"{name}: injects every Service as environment"


def bounded(type_token: str, name: str, properties: Properties) -> Iterator[str]:
    """Requests and limits for cpu, memory and scratch space; every scratch volume bounded."""
    if kind_of(type_token) not in WORKLOADS:
        return
    for _, container in _containers(properties):
        for side in ("requests", "limits"):
            for resource in ("cpu", "memory", "ephemeral-storage"):
                if not container.get("resources", {}).get(side, {}).get(resource):
                    yield f"{name}/{container['name']}: no {side}.{resource}"
    for volume in _pod(properties).get("volumes", []):
        if "emptyDir" in volume and not volume["emptyDir"].get("sizeLimit"):
            yield f"{name}: scratch volume {volume['name']} is unbounded"


def probed(type_token: str, name: str, properties: Properties) -> Iterator[str]:
    """Readiness somewhere in the pod, liveness on every lasting container but NOT_PROBED, and the two are not the same."""
    if kind_of(type_token) not in ("StatefulSet", "Deployment", "DaemonSet"):
        return
    containers = [container for lasting, container in _containers(properties) if lasting]
    if not any(container.get("readinessProbe") for container in containers):
        yield f"{name}: no container has a readiness probe"
    for container in containers:
        exempt = (properties["metadata"].get("name"), container["name"]) in NOT_PROBED
        if not exempt and not container.get("livenessProbe"):
            yield f"{name}/{container['name']}: has no liveness probe"
        if container.get("readinessProbe") and plain(container["readinessProbe"]) == plain(
            container.get("livenessProbe")
        ):
            yield f"{name}/{container['name']}: liveness equals readiness"


def pinned_image(type_token: str, name: str, properties: Properties) -> Iterator[str]:
    """Every image has a tag other than latest, or a digest."""
    if kind_of(type_token) not in WORKLOADS:
        return
    for _, container in _containers(properties):
        image = container["image"]
        last = image.rsplit("/", 1)[-1]
        if "@sha256:" not in image and (":" not in last or last.endswith(":latest")):
            yield f"{name}/{container['name']}: image {image} is not pinned"


def labelled(type_token: str, name: str, properties: Properties) -> Iterator[str]:
    """The recommended labels on every namespaced object, and a workload's selector matches its pods."""
    if not kind_of(type_token):
        return
    labels = properties.get("metadata", {}).get("labels", {})
    for label in ("app.kubernetes.io/name", "app.kubernetes.io/part-of"):
        if label not in labels:
            yield f"{name}: label {label} is missing"
    if kind_of(type_token) in ("StatefulSet", "Deployment", "DaemonSet"):
        wanted = properties["spec"]["selector"]["matchLabels"]
        found = properties["spec"]["template"]["metadata"]["labels"]
        if any(found.get(key) != value for key, value in wanted.items()):
            yield f"{name}: the selector does not match the pod's labels"


def no_environment_secret(type_token: str, name: str, properties: Properties) -> Iterator[str]:
    """Secrets are files: an environment variable shows up in dumps and in children."""
    if kind_of(type_token) not in WORKLOADS:
        return
    for _, container in _containers(properties):
        for variable in container.get("env", []):
            if "secretKeyRef" in variable.get("valueFrom", {}):
                yield f"{name}/{container['name']}: {variable['name']} takes a Secret into the environment"
        for source in container.get("envFrom", []):
            if "secretRef" in source:
                yield f"{name}/{container['name']}: takes a whole Secret into the environment"


RULES: tuple[Rule, ...] = (
    restricted,
    unprivileged_uid,
    no_token,
    bounded,
    probed,
    pinned_image,
    labelled,
    no_environment_secret,
    encrypted,
    private_api,
    pinned_host_keys,
    narrow_grants,
    own_passwords,
)

# They know by themselves what concerns OpenNebula. All others are about the objects of this program alone.
OF_EVERYBODY: frozenset[Rule] = frozenset((private_api,))


def unbudgeted(resources: Iterable[tuple[str, str, Properties]]) -> Iterator[str]:
    """Of a whole graph: a workload with several pods keeps one while nodes are drained."""
    found = list(resources)
    # Anybody's budgets count, and one without a selector is about no pod.
    budgets = [
        ((properties.get("metadata") or {}).get("namespace"), selector)
        for token, _, properties in found
        if kind_of(token) == "PodDisruptionBudget"
        and (selector := (properties.get("spec") or {}).get("selector")) is not None
    ]
    for token, name, properties in found:
        if kind_of(token) not in ("StatefulSet", "Deployment") or (properties["spec"].get("replicas") or 1) < 2:
            continue
        labels = properties["spec"]["template"]["metadata"]["labels"]
        namespace = properties["metadata"].get("namespace")
        if not any(where == namespace and matches(selector, labels) for where, selector in budgets):
            yield f"{name}: has several pods and no PodDisruptionBudget"


def violations(type_token: str, name: str, properties: Properties) -> list[str]:
    """What every rule has to say about one resource of this program."""
    return [sentence for rule in RULES for sentence in said(rule, type_token, name, properties)]
