"""Authentication: oned's LDAP and SAML drivers, configured whole and with their secrets.

Runs nothing: the drivers are programs that oned's pod starts. Makes one Secret whose keys are file names of
/etc/one/auth (ldap_auth.conf holds the bind passwords, so none of it is a ConfigMap). Deliberately not here: FireEdge's
side of SAML, users and groups themselves, x509 and ssh users, whose drivers need nothing of ours. Outputs: `secret`, its
name, None where neither driver is configured. It is auto-named: a change makes a new one, and so a new pod of oned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import Secret

from components import naming
from components.authentication_files import LDAP_FILE, SAML_FILE, ca_file, ldap_file, saml_file
from components.authentication_settings import AuthenticationSettings, Driver
from components.domain import Version
from components.ldap_passwords import parse_passwords
from components.manifests import Manifest, cidr_peer, policy_ports
from components.oned_conf import Value
from components.placement import Placement
from components.versions import RELEASES

# As shipped, in its order; ldap and saml only where they are configured.
_AUTHN = ("ssh", "x509", "ldap", "server_cipher", "server_x509", "saml")


@dataclass(frozen=True, kw_only=True)
class AuthenticationArgs:
    """`passwords` is the secret config value ldapPasswords; `fireedge_host` FireEdge's host name at the ingress."""

    settings: AuthenticationSettings
    placement: Placement
    passwords: pulumi.Input[str] | None
    fireedge_host: str | None


class Authentication(pulumi.ComponentResource):
    """See the module."""

    secret: pulumi.Output[str] | None

    def __init__(self, name: str, args: AuthenticationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opennebula:index:Authentication", name, None, opts)
        self.secret = None
        contents = files(args)
        if contents:
            made = Secret(
                f"{name}-files",
                metadata=args.placement.meta(naming.ONED),
                string_data=contents,
                opts=pulumi.ResourceOptions(parent=self),
            )
            self.secret = pulumi.Output.from_input(made.metadata.name)
        self.register_outputs({"secret": self.secret})


def auth_entries(settings: AuthenticationSettings, version: Version) -> Mapping[str, Value]:
    """oned.conf's part: AUTH_MAD whole, without the drivers that have no configuration, and who unknown users are.

    With core DEFAULT_AUTH stays as compiled, "default", a driver that does not exist: unknown users are refused
    (UserPool.cc, authenticate_external).
    """
    saml = settings.saml is not None and RELEASES[version].saml
    configured = {"ldap": settings.ldap is not None, "saml": saml}
    drivers = [driver for driver in _AUTHN if configured.get(driver, True)]
    entries: dict[str, Value] = {"AUTH_MAD": {"EXECUTABLE": "one_auth_mad", "AUTHN": ",".join(drivers)}}
    if settings.default is not Driver.CORE:
        entries["DEFAULT_AUTH"] = settings.default.value
    entries["SESSION_EXPIRATION_TIME"] = settings.session_expiration
    return entries


def files(args: AuthenticationArgs) -> dict[str, pulumi.Input[str]]:
    """File name in /etc/one/auth → content."""
    found: dict[str, pulumi.Input[str]] = {}
    ldap, saml = args.settings.ldap, args.settings.saml
    if ldap is not None:
        given = pulumi.Output.secret(args.passwords) if args.passwords is not None else pulumi.Output.secret("{}")
        found[LDAP_FILE] = given.apply(lambda text: ldap_file(ldap, parse_passwords(text)))
        found |= {ca_file(server.name): server.ca for server in ldap.servers if server.ca is not None}
    if saml is not None:
        found[SAML_FILE] = saml_file(saml, args.fireedge_host)
    return found


def egress_rules(settings: AuthenticationSettings) -> tuple[Manifest, ...]:
    """Egress rules from oned to the LDAP servers: exactly their networks, exactly their port. SAML needs none."""
    if settings.ldap is None:
        return ()
    return tuple(
        {
            "to": [cidr_peer(str(network)) for network in server.networks],
            "ports": policy_ports(("TCP", server.effective_port)),
        }
        for server in settings.ldap.servers
    )
