"""The secret keys of a stack's configuration: what each is, and what a good value looks like. `stacks/settings.py` reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pulumi

from components.domain import Section
from components.generated.keys import monitor_public_half, public_half
from components.ingress_settings import KEY as INGRESS_KEY
from components.ingress_settings import check_key as check_ingress_key
from components.ldap_passwords import PASSWORDS_KEY, check_passwords


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """Secret config values, wrapped; None = the program generates one (or uses an agent, for `ssh_private_key`).

    `api_password` is read by the registration provider itself; it stands here so that the key is known and checked.
    """

    oneadmin_password: pulumi.Output[str] | None = None
    serveradmin_password: pulumi.Output[str] | None = None
    database_password: pulumi.Output[str] | None = None
    oneadmin_ssh_key: pulumi.Output[str] | None = None
    frontend_host_key: pulumi.Output[str] | None = None
    ssh_private_key: pulumi.Output[str] | None = None
    monitor_key: pulumi.Output[str] | None = None
    fireedge_key: pulumi.Output[str] | None = None
    ingress_key: pulumi.Output[str] | None = None
    ldap_passwords: pulumi.Output[str] | None = None
    api_password: pulumi.Output[str] | None = None


class SecretRule(Section):
    """One secret config key: what it is, and what a good value looks like."""

    description: str
    check: Callable[[str], None]


def _password(value: str) -> None:
    if not value.isascii() or not value.isalnum() or not 8 <= len(value) <= 128:
        # SQL, oned's grammar, onedb's parser and the session string each trip over other characters.
        raise ValueError("must be 8 to 128 ASCII letters and digits")


def _monitor_key(value: str) -> None:
    monitor_public_half(value)


def _hex_key(value: str) -> None:
    if not re.fullmatch(r"[0-9a-f]{32}", value):
        # FireEdge takes the text's bytes for an AES-256 key.
        raise ValueError("must be 32 hexadecimal digits: openssl rand -hex 16")


def _private_key(value: str) -> None:
    public_half(value)


SECRETS: dict[str, SecretRule] = {
    "oneadminPassword": SecretRule(description="password of oneadmin; generated when left out", check=_password),
    "serveradminPassword": SecretRule(description="password of serveradmin; generated when left out", check=_password),
    "databasePassword": SecretRule(
        description="password of oned's database account; generated when left out", check=_password
    ),
    "oneadminSshKey": SecretRule(
        description="oneadmin's OpenSSH private key; generated when left out", check=_private_key
    ),
    "frontendHostKey": SecretRule(
        description="the control plane's SSH host key, OpenSSH private; generated when left out. Hosts pin it; the way back serves it",
        check=_private_key,
    ),
    "sshPrivateKey": SecretRule(
        description="OpenSSH private key for the bootstrap of hosts; or set ssh.agent", check=_private_key
    ),
    "monitorKey": SecretRule(
        description="RSA private key, PEM, with which onemonitord reads what hosts push; generated when left out",
        check=_monitor_key,
    ),
    "fireedgeKey": SecretRule(
        description="FireEdge's key for its tokens and consoles, 32 hexadecimal digits; generated when left out",
        check=_hex_key,
    ),
    INGRESS_KEY: SecretRule(description="private key of ingress.tls of kind inline, PEM", check=check_ingress_key),
    PASSWORDS_KEY: SecretRule(
        description="bind passwords of authentication.ldap, by server name", check=check_passwords
    ),
    "apiPassword": SecretRule(
        description="oneadmin's password for api.url, where the cluster's Secret cannot be read", check=_password
    ),
}
