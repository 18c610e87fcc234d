"""SSH trust between the control plane and its hosts, made before either exists.

Runs nothing. Makes oneadmin's key pair and the control plane's SSH host key, unless the operator gives them. Because
they are resources, hosts learn oneadmin's public key while the database still starts. Deliberately not here: how the
keys reach pods and hosts (`components/oned.py`, `components/hosts.py`). Outputs: the four halves; private ones secret.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components.generated.keys import public_half
from components.generated.resource import GeneratedKeyPair


@dataclass(frozen=True, kw_only=True)
class SshIdentityArgs:
    """The operator's own OpenSSH private keys, or None for generated ones."""

    oneadmin_key: pulumi.Input[str] | None
    frontend_host_key: pulumi.Input[str] | None


@dataclass(frozen=True, kw_only=True)
class SshKey:
    """Both halves of one key: `private` in OpenSSH's PEM (secret), `public` as `type base64`."""

    private: pulumi.Output[str]
    public: pulumi.Output[str]


class SshIdentity(pulumi.ComponentResource):
    """See the module."""

    oneadmin: SshKey
    frontend_host: SshKey

    def __init__(self, name: str, args: SshIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opennebula:index:SshIdentity", name, None, opts)

        def key(role: str, comment: str, given: pulumi.Input[str] | None) -> SshKey:
            if given is not None:
                private = pulumi.Output.secret(given)
                # The public half is no secret; saying so keeps diffs of the host scripts readable.
                return SshKey(private=private, public=pulumi.Output.unsecret(private.apply(public_half)))
            pair = GeneratedKeyPair(f"{name}-{role}", comment=comment, opts=pulumi.ResourceOptions(parent=self))
            return SshKey(private=pair.private_key, public=pair.public_key)

        self.oneadmin = key("oneadmin", "oneadmin", args.oneadmin_key)
        self.frontend_host = key("frontend-host", "opennebula front-end", args.frontend_host_key)
        self.register_outputs({"oneadmin": self.oneadmin.public, "frontend_host": self.frontend_host.public})
