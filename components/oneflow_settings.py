"""What an operator decides about OneFlow, and its file made of it. Pure; `components/oneflow.py` makes the resources."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from components import naming
from components.domain import Seconds, Section, Version, matching
from components.oned_settings import events_endpoint
from components.yaml_conf import Keys, Raw, Yaml, YamlError, merge_raw, render

CONFIG = "oneflow-server.conf"

NameTemplate = Annotated[
    str,
    Field(min_length=1, max_length=128),
    matching(r"[^\x00-\x1f\x7f]+", "must be one line without control characters"),
]

# Every key that oneflow-server.rb and CloudAuth.rb look up, at release-6.10.5 and release-7.4.0.
_KNOWN = frozenset(
    {
        "one_xmlrpc",
        "subscriber_endpoint",
        "autoscaler_interval",
        "host",
        "port",
        "force_deletion",
        "retries",
        "default_cooldown",
        "wait_timeout",
        "concurrency",
        "shutdown_action",
        "action_number",
        "action_period",
        "vm_name_template",
        "vn_name_template",
        "page_size",
        "core_auth",
        "expire_delta",
        "expire_margin",
        "log",
    }
)
KNOWN: dict[Version, frozenset[str]] = {Version.V6_10: _KNOWN, Version.V7_4: _KNOWN | {"vr_name_template"}}


class ShutdownAction(StrEnum):
    """How OneFlow ends the VMs of a role."""

    TERMINATE = "terminate"
    TERMINATE_HARD = "terminate-hard"


class OneFlowSettings(Section):
    """OneFlow, the service manager. Defaults are the shipped ones."""

    enabled: bool = Field(default=True, description="run OneFlow; needs images.oneflow")
    log_level: int = Field(default=2, ge=0, le=3, description="0 errors, 1 warnings, 2 info, 3 debug")
    autoscaler_interval: Seconds = Field(default=90, description="seconds between two looks at the scaling rules")
    default_cooldown: Seconds = Field(default=300, description="seconds of rest after a scaling")
    wait_timeout: Seconds = Field(default=30, description="seconds to wait for VMs to report a state")
    concurrency: int = Field(default=10, ge=1, le=256, description="threads that work on services")
    retries: int = Field(default=5, ge=0, le=100, description="further tries of a call that oned refused to log in")
    force_deletion: bool = Field(default=False, description="delete VMs whose termination fails")
    shutdown_action: ShutdownAction = Field(
        default=ShutdownAction.TERMINATE, description="how the VMs of a role are ended"
    )
    action_number: int = Field(default=1, ge=1, le=1000, description="VMs of a role that an action takes at a time")
    action_period: Seconds = Field(default=60, description="seconds between two such portions")
    page_size: int = Field(default=10, ge=1, le=10000, description="services a page when finished ones are purged")
    vm_name_template: NameTemplate = Field(
        default="$ROLE_NAME_$VM_NUMBER_(service_$SERVICE_ID)", description="names of the VMs"
    )
    vn_name_template: NameTemplate | None = Field(
        default=None, description="names of the networks; OneFlow's own if none"
    )
    vr_name_template: NameTemplate | None = Field(
        default=None, description="names of the virtual routers (7.x); OneFlow's own if none"
    )
    oned_wait: Seconds = Field(default=360, description="seconds that a start of OneFlow waits for oned")
    raw: Raw = Field(default={})


def config_text(settings: OneFlowSettings, version: Version, *, namespace: str, oned_endpoint: str) -> str:
    """oneflow-server.conf. Raises YamlError when a raw key fights a typed one or is unknown to the release."""
    typed: dict[str, Yaml] = {
        "one_xmlrpc": oned_endpoint,
        "subscriber_endpoint": events_endpoint(namespace),
        "autoscaler_interval": settings.autoscaler_interval,
        # Shipped as 127.0.0.1, which no other pod could reach.
        "host": "0.0.0.0",
        "port": naming.PORT_ONEFLOW,
        "force_deletion": settings.force_deletion,
        "retries": settings.retries,
        "default_cooldown": settings.default_cooldown,
        "wait_timeout": settings.wait_timeout,
        "concurrency": settings.concurrency,
        "shutdown_action": settings.shutdown_action.value,
        "action_number": settings.action_number,
        "action_period": settings.action_period,
        "vm_name_template": settings.vm_name_template,
    }
    if settings.vn_name_template is not None:
        typed["vn_name_template"] = settings.vn_name_template
    if settings.vr_name_template is not None:
        typed["vr_name_template"] = settings.vr_name_template
    typed |= {
        "page_size": settings.page_size,
        "core_auth": "cipher",
        "log": {"level": settings.log_level, "system": "file"},
    }
    return render(merge_raw(typed, settings.raw, known=KNOWN[version], release=version.value), Keys.SYMBOLS)


def problems(settings: OneFlowSettings, version: Version) -> Iterator[tuple[str, str]]:
    """Rules that need two values, as (path, text)."""
    if settings.vr_name_template is not None and "vr_name_template" not in KNOWN[version]:
        yield "oneflow.vrNameTemplate", f"OpenNebula {version.value} has no virtual router roles; leave it out"
    if not settings.enabled:
        return
    try:
        config_text(settings, version, namespace="one", oned_endpoint="")
    except YamlError as error:
        yield "oneflow.raw", str(error)
