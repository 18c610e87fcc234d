"""Names this package shares with the components that deploy oned, and the rule for host names.

Pure values. The Secret, the Service and the configuration keys are written by `components/` and `stacks/` and read
here; one table keeps both sides from drifting apart.
"""

from __future__ import annotations

import re
from typing import Final

ONEADMIN: Final = "oneadmin"
ONEADMIN_SECRET: Final = "oned-oneadmin"
"""Secret with oneadmin's session: its key `one_auth` holds `oneadmin:<password>`, as oned's own file does."""
SESSION_KEY: Final = "one_auth"

ONED_SERVICE: Final = "oned"
XMLRPC_PORT: Final = 2633
XMLRPC_PATH: Final = "/RPC2"

DEFAULT_NAMESPACE: Final = "opennebula"
DEFAULT_CLUSTER: Final = "default"
DEFAULT_CLUSTER_ID: Final = 0

CONFIG_KUBERNETES: Final = "opennebula:kubernetes"
CONFIG_API: Final = "opennebula:api"
CONFIG_API_PASSWORD: Final = "opennebula:apiPassword"
CONFIG_HOSTS: Final = "opennebula:hosts"
CONFIG_HOST_GROUPS: Final = "opennebula:hostGroups"
CONFIG_HOST_KEYS: Final = "opennebula:hostKeys"
CONFIG_HOST_KEYS_FILE: Final = "opennebula:hostKeysFile"
CONFIG_FLEET: Final = "opennebula:fleet"
CONFIG_SSH: Final = "opennebula:ssh"
CONFIG_SSH_KEY: Final = "opennebula:sshPrivateKey"
CONFIG_CLUSTERS: Final = "opennebula:clusters"
CONFIG_DATASTORES: Final = "opennebula:datastores"
CONFIG_STORAGE: Final = "opennebula:storage"

OWNER_ATTRIBUTE: Final = "MANAGED_BY"
"""Template attribute that names the stack a host belongs to, so that a second stack does not take it over unseen."""

_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")


def host_name_problem(name: str) -> str | None:
    """Why oned refuses `name` for a host, or None when it takes it.

    Source: HostPool.cc of OpenNebula 7.4 (the same in 6.10). The name is also what oned hands to ssh, so an IPv6
    literal cannot be registered at all: it needs a name that resolves.
    """
    if not 2 <= len(name) <= 63:
        return f"has {len(name)} characters; oned takes 2 to 63"
    if not _HOST_NAME.fullmatch(name):
        if ":" in name:
            return "contains ':', and oned takes no IPv6 literals; give the host a name that resolves"
        return "may contain only letters, digits, '.', '_' and '-'"
    if name[0] in "-._":
        return f"must not start with '{name[0]}'"
    if name[-1] in "-._":
        return f"must not end with '{name[-1]}'"
    return None
