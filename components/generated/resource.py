"""Pulumi resources over the generating providers. Their secret halves are encrypted in the state."""

from __future__ import annotations

import pulumi
from pulumi.dynamic import Resource

from components.generated.provider import KeyPairProvider, MonitorKeyPairProvider, PasswordProvider


class GeneratedPassword(Resource, module="opennebula", name="GeneratedPassword"):
    """A password of `length` letters and digits. Output `value` is secret."""

    value: pulumi.Output[str]

    def __init__(self, name: str, *, length: int = 40, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["value"])
        super().__init__(
            PasswordProvider(), name, {"length": length, "value": None}, pulumi.ResourceOptions.merge(opts, secret)
        )


class GeneratedKeyPair(Resource, module="opennebula", name="GeneratedKeyPair"):
    """An Ed25519 key pair. Output `private_key` is secret, `public_key` is `type base64`."""

    private_key: pulumi.Output[str]
    public_key: pulumi.Output[str]

    def __init__(self, name: str, *, comment: str, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["private_key"])
        super().__init__(
            KeyPairProvider(),
            name,
            {"comment": comment, "private_key": None, "public_key": None},
            pulumi.ResourceOptions.merge(opts, secret),
        )


class GeneratedMonitorKeyPair(Resource, module="opennebula", name="GeneratedMonitorKeyPair"):
    """onemonitord's RSA key pair in PEM. Output `private_key` is secret."""

    private_key: pulumi.Output[str]
    public_key: pulumi.Output[str]

    def __init__(self, name: str, *, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["private_key"])
        super().__init__(
            MonitorKeyPairProvider(),
            name,
            {"private_key": None, "public_key": None},
            pulumi.ResourceOptions.merge(opts, secret),
        )
