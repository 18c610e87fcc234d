"""What a stack tells its users: endpoints, hosts, where the password is. A small contract; nothing secret in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi


@dataclass(frozen=True, kw_only=True)
class Exports:
    """Stack outputs.

    `endpoints` maps a name to a URL or HOST:PORT, `hosts` a host's name to its id and kind, `datastores` the name of each
    declared one to its id, `password_command` prints oneadmin's password for whoever may read the Secret.
    """

    version: str
    namespace: pulumi.Input[str]
    endpoints: Mapping[str, pulumi.Input[str]]
    hosts: pulumi.Input[Mapping[str, Any]]
    datastores: pulumi.Input[Mapping[str, int]]
    password_command: pulumi.Input[str]
    oneadmin_public_key: pulumi.Input[str]

    def publish(self) -> None:
        """Export them all, in camelCase as Pulumi users expect."""
        pulumi.export("version", self.version)
        pulumi.export("namespace", self.namespace)
        pulumi.export("endpoints", dict(self.endpoints))
        pulumi.export("hosts", self.hosts)
        pulumi.export("datastores", self.datastores)
        pulumi.export("passwordCommand", self.password_command)
        pulumi.export("oneadminPublicKey", self.oneadmin_public_key)
