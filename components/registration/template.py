"""Writing OpenNebula template text (`KEY="value"` lines) so that a value can never become another attribute.

pyone's own conversion puts values between quotes as they are, so `x"\nVM_MAD="kvm` would change a host's driver. The
rules below are those of src/parsers/template_parser.l (7.4): inside quotes `\"` is the only escape. What the grammar
cannot carry unchanged is refused, not altered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from components.registration.errors import Unexpressible

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

WRITTEN_BY_ONED = frozenset(
    {
        # What the host/system probes of 6.10 and 7.4 print on KVM, qemu and LXC hosts (src/im_mad/remotes): `common.d`, `node-probes.d`,
        *("ARCH", "HOSTNAME", "MODELNAME", "VERSION"),
        *("CORE", "HUGEPAGE", "MEMORY_NODE", "NUMA_NODE", "PCI"),
        *("DS", "DS_LOCATION_FREE_MB", "DS_LOCATION_TOTAL_MB", "DS_LOCATION_USED_MB"),
        "AUTONFS_MOUNT",  # 7.4
        # `lib/linux.rb`,
        *("CGROUPS_VERSION", "CPUSPEED", "HYPERVISOR", "TOTALCPU", "TOTALMEMORY"),
        # KVM's own.
        *("KVM_CPU_FEATURES", "KVM_CPU_MODEL", "KVM_CPU_MODELS", "KVM_MACHINES", "VM"),
        "MEMORY_ENCRYPTION",  # 7.4
        # What `host/monitor` prints goes to the monitoring records; oned takes some of these names off a host that goes offline (Host.cc).
        *("FREECPU", "FREEMEMORY", "USEDCPU", "USEDMEMORY", "NETRX", "NETTX"),
        # oned itself (Host.cc).
        *("VM_POLL", "WILDS", "TOTAL_WILDS", "ZOMBIES", "TOTAL_ZOMBIES", "ERROR", "IM_MAD", "VM_MAD", "NAME"),
    }
)
"""Attributes that the probes or oned itself write: a label of that name would fight with them, or switch drivers.

Not PCI_FILTER and PCI_SHORT_ADDRESS: oned only reads those, they are an operator's to set."""


def name_problem(name: str) -> str | None:
    """Why `name` cannot be a label, or None. oned upper-cases names and stores them as XML elements."""
    if name in WRITTEN_BY_ONED:
        return "is written by oned or its probes and cannot be a label"
    return attribute_name_problem(name)


def attribute_name_problem(name: str) -> str | None:
    """Why `name` cannot be an attribute of anything, or None."""
    return None if _NAME.fullmatch(name) else "must be letters, digits and '_', beginning with a letter"


def value_problem(value: str) -> str | None:
    """Why `value` cannot be carried by a template unchanged, or None."""
    if _CONTROL.search(value):
        return "contains a line break or another control character"
    if value != value.strip():
        return "begins or ends with white space, which oned cuts off"
    if value.endswith("\\"):
        return "ends with a backslash, which would swallow the closing quote"
    if "]]>" in value:
        return "contains ']]>', which oned's template parser refuses"
    return None


def render(attributes: Mapping[str, str]) -> str:
    """Template text for `attributes`, sorted by name. Raises Unexpressible."""
    return "".join(f"{name}={_quoted(name, value)}\n" for name, value in sorted(attributes.items()))


def _quoted(name: str, value: str) -> str:
    problem = None if _NAME.fullmatch(name) else "is no attribute name"
    problem = problem or value_problem(value)
    if problem:
        raise Unexpressible(f"attribute {name!r}", problem, then="change it in the stack's configuration")
    return '"' + value.replace('"', '\\"') + '"'
