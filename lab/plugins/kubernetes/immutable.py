"""Which changes need a new object, because the API server refuses them on an old one.

The rules are the official plugin's for 4.29, not the server's complete ones: a change that neither knows reaches the
server and fails with its words. Paths are written without indexes: `spec.containers.image` is any container's image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lab.plugins.diffs import Path
from lab.plugins.kubernetes.objects import Kind

_ANY: Final = ("metadata.name", "metadata.namespace")
_CONTAINER_FIELDS: Final[str] = (
    "args command env image imagePullPolicy lifecycle livenessProbe ports readinessProbe resources securityContext "
    "stdin stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts workingDir"
)
_POD_FIELDS: Final[str] = (
    "affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks hostAliases hostIPC hostNetwork "
    "hostPID hostname imagePullSecrets nodeName nodeSelector overhead preemptionPolicy priority priorityClassName "
    "readinessGates restartPolicy runtimeClassName schedulerName securityContext serviceAccount serviceAccountName "
    "shareProcessNamespace subdomain terminationGracePeriodSeconds volumes"
)
_VOLUME_SOURCES: Final[str] = (
    "awsElasticBlockStore azureDisk azureFile cephfs cinder csi fc flexVolume flocker gcePersistentDisk glusterfs "
    "hostPath iscsi local nfs photonPersistentDisk portworxVolume quobyte rbd scaleIO storageos vsphereVolume"
)

_RULES: Final[Mapping[tuple[str, str], Sequence[str]]] = {
    ("apps", "DaemonSet"): ("spec.selector",),
    ("apps", "Deployment"): ("spec.selector",),
    ("apps", "StatefulSet"): (
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    ("batch", "Job"): ("spec.completions", "spec.parallelism", "spec.selector", "spec.template"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("storage.k8s.io", "StorageClass"): ("parameters", "provisioner"),
    ("", "PersistentVolume"): tuple(f"spec.{source}" for source in _VOLUME_SOURCES.split()),
    ("", "PersistentVolumeClaim"): (
        "spec.accessModes",
        "spec.selector",
        "spec.storageClassName",
        "spec.volumeName",
    ),
    ("", "Pod"): (
        *(f"spec.{field}" for field in _POD_FIELDS.split()),
        *(f"spec.{list_}.{field}" for list_ in ("containers", "initContainers") for field in _CONTAINER_FIELDS.split()),
    ),
    ("", "ResourceQuota"): ("spec.scopes",),
    ("", "Service"): ("spec.clusterIP",),
}


def replacing_paths(
    kind: Kind, obj: Mapping[str, Any], *, configmap_mutable: bool, secret_mutable: bool
) -> tuple[tuple[str, ...], ...]:
    """Paths whose change replaces an object of this kind."""
    paths: Sequence[str] = _RULES.get((kind.group, kind.kind), ())
    frozen = obj.get("immutable") is True
    if (kind.group, kind.kind) == ("", "Secret"):
        paths = ("type",) if secret_mutable and not frozen else ("type", "stringData", "data")
    elif (kind.group, kind.kind) == ("", "ConfigMap") and (frozen or not configmap_mutable):
        paths = ("binaryData", "data")
    return tuple(tuple(path.split(".")) for path in (*_ANY, *paths))


def replaces(path: Path, value: Any, rules: Sequence[tuple[str, ...]]) -> bool:
    """Whether a change at `path`, to or from `value`, touches a path of the rules."""
    names = tuple(step for step in path if isinstance(step, str))
    return any(
        names[: len(rule)] == rule or (rule[: len(names)] == names and _holds(value, rule[len(names) :]))
        for rule in rules
    )


def _holds(value: Any, rest: tuple[str, ...]) -> bool:
    if isinstance(value, list):
        return any(_holds(item, rest) for item in value)
    if not rest:
        return True
    return isinstance(value, Mapping) and rest[0] in value and _holds(value[rest[0]], rest[1:])
