"""Settings of the hook execution manager and the text of onehem-server.conf. Pure.

It runs as the container `hem` of the oned pod, because one_hm's sockets have no login and its replies go to oned alone,
and because hooks want oned's home and its ssh agent (ADR 16). Its file is a ConfigMap of its own that changes in place: the
container then starts the manager anew (`images/oned/hem-start`), and oned is left alone. Switching it on or off changes
the pod, and so restarts oned. Hooks themselves are objects of oned, declared through the API, and not here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import Field

from components import naming
from components.domain import Section, Version
from components.yaml_conf import Keys, Raw, Yaml, raw_problems, render

FILE: Final = "onehem-server.conf"


class HemSettings(Section):
    """The hook execution manager: runs what hooks ask for, such as the recovery of VMs of a failed host."""

    enabled: bool = Field(default=True, description="run it; without it no hook is ever executed")
    concurrency: int = Field(default=10, ge=1, le=200, description="hooks executed at once")
    log_level: int = Field(default=2, ge=0, le=3, description="0 errors … 3 every event")
    raw: Raw = Field(default={})


def problems(settings: HemSettings, version: Version) -> Iterator[tuple[str, str]]:
    """(path below `hem`, sentence). Every key that onehem-server.rb reads is typed, at both releases."""
    typed = _typed(settings)
    for name, text in raw_problems(typed, settings.raw, known=typed, release=version.value):
        yield f"raw.{name}", text


def config(settings: HemSettings) -> str:
    """onehem-server.conf, whole."""
    return render({**_typed(settings), **settings.raw}, Keys.SYMBOLS)


def _typed(settings: HemSettings) -> dict[str, Yaml]:
    return {
        "debug_level": settings.log_level,
        "hook_base_path": "/var/lib/one/remotes/hooks",
        "remote_hook_base_path": "/var/tmp/one/hooks",
        "subscriber_endpoint": f"tcp://localhost:{naming.PORT_HOOK_EVENTS}",
        "replier_endpoint": f"tcp://localhost:{naming.PORT_HOOK_REPLIES}",
        "concurrency": settings.concurrency,
    }
