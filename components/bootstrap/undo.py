"""The text that takes back a host's preparation, piped over SSH into a root shell when the host has left oned.

Pure, and the same for every host but for its name: which things are ours, the host itself knows, by marks in files, by
names, and by the record that the preparation keeps there (`MADE` in shell/common.sh). So it needs no plan, which is gone
when a host has left the configuration. Whether it runs at all is the registration's business (`components/registration`).
"""

from __future__ import annotations

import shlex

from components.bootstrap.plan import HostPlan
from components.bootstrap.script import shell_text

_CALL = "undo </dev/null\n"


def render_undo(name: str, *, uninstall: bool, lock_wait: int = HostPlan.lock_wait) -> str:
    """The script. `uninstall`: the node package goes too, if the preparation installed it. `lock_wait` in seconds.

    It prints and fails as the preparation does (`components/bootstrap/script.py`).
    """
    values = {"NAME": name, "UNINSTALL": "yes" if uninstall else "", "LOCK_WAIT": f"{lock_wait:d}"}
    header = "".join(f"PLAN_{key}={shlex.quote(value)}\n" for key, value in values.items())
    return header + shell_text(("common", "account", "withdraw", "undo")) + _CALL
