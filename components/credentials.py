"""Passwords of the control plane: generated unless the operator gives them.

Runs nothing. Makes a GeneratedPassword for each password that the configuration does not give. Deliberately not here:
Kubernetes Secrets, which each component makes for exactly the pods that mount them. Outputs: the passwords and FireEdge's key, secret.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pulumi

from components.generated.resource import GeneratedPassword


@dataclass(frozen=True, kw_only=True)
class CredentialsArgs:
    """The operator's own, or None for a generated one. `fireedge` is a key of 32 hexadecimal digits."""

    oneadmin: pulumi.Input[str] | None
    serveradmin: pulumi.Input[str] | None
    database: pulumi.Input[str] | None
    fireedge: pulumi.Input[str] | None = None


class Credentials(pulumi.ComponentResource):
    """See the module."""

    oneadmin: pulumi.Output[str]
    serveradmin: pulumi.Output[str]
    database: pulumi.Output[str]
    fireedge: pulumi.Output[str]

    def __init__(self, name: str, args: CredentialsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opennebula:index:Credentials", name, None, opts)

        def password(role: str, given: pulumi.Input[str] | None) -> pulumi.Output[str]:
            if given is not None:
                return pulumi.Output.secret(given)
            return GeneratedPassword(f"{name}-{role}", opts=pulumi.ResourceOptions(parent=self)).value

        self.oneadmin = password("oneadmin", args.oneadmin)
        self.serveradmin = password("serveradmin", args.serveradmin)
        self.database = password("database", args.database)
        self.fireedge = (
            pulumi.Output.secret(args.fireedge)
            if args.fireedge is not None
            else password("fireedge", None).apply(lambda value: hashlib.sha256(value.encode()).hexdigest()[:32])
        )
        self.register_outputs({})


def session(user: str, password: str) -> str:
    """OpenNebula's session string, the one line of a `*_auth` file."""
    return f"{user}:{password}\n"
