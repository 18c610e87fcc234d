"""On which nodes of the Kubernetes cluster the pods run: labels that a node must have, and taints that the pods tolerate. Pure.

Kubernetes' own fields in its own words. Deliberately not here: how replicas are spread (components/service_pod.py), and
OpenNebula's scheduler, which places VMs on hosts (components/scheduler.py).
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field, model_validator

from components.domain import LabelKey, LabelValue, Section
from components.manifests import Manifest


class Operator(StrEnum):
    """How a toleration compares a taint's value."""

    EQUAL = "Equal"
    EXISTS = "Exists"


class Effect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Section):
    """Taints of nodes that the pods put up with. Rules: ValidateTolerations of Kubernetes' pkg/apis/core/validation."""

    key: LabelKey | None = Field(
        default=None, description="the taint's key; every key when left out, with operator Exists"
    )
    operator: Operator = Field(default=Operator.EQUAL, description="Exists takes no value: every value is tolerated")
    value: LabelValue | None = Field(default=None, description="the taint's value, with operator Equal")
    effect: Effect | None = Field(default=None, description="the taint's effect; every effect when left out")
    toleration_seconds: int | None = Field(
        default=None,
        ge=0,
        le=2**31 - 1,
        description="seconds that a pod stays once the taint is there, with effect NoExecute",
    )

    @model_validator(mode="after")
    def _as_kubernetes_takes_it(self) -> Toleration:
        if self.key is None and self.operator is not Operator.EXISTS:
            raise ValueError("needs a key, or operator: Exists, which tolerates every taint")
        if self.value is not None and self.operator is Operator.EXISTS:
            raise ValueError(
                "has a value, which operator Exists does not compare: leave value out, or set operator: Equal"
            )
        if self.toleration_seconds is not None and self.effect is not Effect.NO_EXECUTE:
            raise ValueError(
                "has tolerationSeconds, which only taints with effect: NoExecute know: set that, or leave it out"
            )
        return self


class SchedulingSettings(Section):
    """On which nodes of the cluster pods run: everywhere, unless something is said."""

    node_selector: dict[LabelKey, LabelValue] = Field(
        default={},
        description="labels that a node of the cluster must have to run the pods, such as kubernetes.io/hostname: NODE",
    )
    tolerations: tuple[Toleration, ...] = Field(default=(), description="taints that such a node may have")


def pod_fields(settings: SchedulingSettings) -> Manifest:
    """Fields of a pod's spec; none where nothing is said."""
    found: Manifest = {}
    if settings.node_selector:
        found["nodeSelector"] = dict(settings.node_selector)
    if settings.tolerations:
        found["tolerations"] = [
            each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in settings.tolerations
        ]
    return found
