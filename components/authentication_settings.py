"""Typed settings of OpenNebula's LDAP and SAML drivers. Pure; rules that need two values are in `authentication_rules.py`.

Facts: `src/authm_mad/remotes/{ldap,saml}/` at release-7.4.0 and release-6.10.5 (the LDAP driver is the same in both; the
SAML driver exists since 7.0) and ruby-net-ldap, through which the LDAP driver speaks. Bind passwords are no settings:
they stand encrypted under `opennebula:ldapPasswords` (`ldap_passwords.py`).
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from components.domain import (
    Address,
    AttributeName,
    DnsLabel,
    Network,
    Port,
    Seconds,
    Section,
    matching,
    shape,
    shapes,
)

PORT_LDAP = 389
PORTS_LDAPS = (636, 3269)  # 3269: Active Directory's global catalogue with TLS, 3268 without


class Driver(StrEnum):
    """Who is asked about a user that oned does not know (DEFAULT_AUTH)."""

    CORE = "core"
    LDAP = "ldap"
    SAML = "saml"


class Encryption(StrEnum):
    """How the LDAP driver speaks to a server; the words of ldap_auth.conf in this file's spelling."""

    NONE = "none"
    SIMPLE_TLS = "simpleTls"
    START_TLS = "startTls"


def unprintable(value: str) -> str | None:
    """What a quoted YAML scalar on one line cannot carry without escapes that parsers read differently; None if fine."""
    for character in value:
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp", "Co", "Cn") or character == "\ufeff":
            return f"U+{ord(character):04X}"
    return None


def _text(value: str) -> str:
    if not value or value != value.strip():
        raise ValueError("must not be empty, nor start or end with a blank")
    if found := unprintable(value):
        raise ValueError(f"must be one line of printable characters ({found} is none)")
    return value


def _regex(value: str) -> str:
    """The driver matches with Ruby. What this program can check is what Ruby and Python read alike."""
    if re.search(r"\(\?(P|[aLux]|[^)]*s[^)]*\))", value) or "\\Z" in value:
        raise ValueError("uses a construct of Python's regular expressions that Ruby reads otherwise or not at all")
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise ValueError(
            f"is no regular expression ({error}); constructs that only Ruby has (\\h, \\z, (?<name>…)) are not accepted"
        ) from None
    if pattern.groups > 1:
        raise ValueError(
            "has more than one (…) group: the driver takes the first as the user's name; use (?:…) for others"
        )
    return value


def _certificates(value: str) -> str:
    from cryptography import x509

    try:
        x509.load_pem_x509_certificates(value.encode())
    except ValueError:
        raise ValueError(
            "must be one or more PEM certificates (-----BEGIN CERTIFICATE-----…), the CA's and not the server's key"
        ) from None
    return value.strip() + "\n"


def _idp_certificate(value: str) -> str:
    """As saml_auth.conf wants it: base64 on one line. A PEM file is accepted and stripped to that."""
    from cryptography import x509

    body = "".join(line for line in value.split() if line)
    body = re.sub(r"-----(BEGIN|END)CERTIFICATE-----", "", body)
    pem = f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"
    try:
        x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise ValueError("must be the identity provider's signing certificate: PEM, or its base64 part alone") from None
    return body


def _plain_file(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}\.yaml", value):
        raise ValueError("must be a plain file name that ends in .yaml; the driver keeps it in /var/lib/one")
    return value


def _several(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Text = Annotated[str, Field(max_length=512), AfterValidator(_text)]
Attribute = Annotated[
    str, matching(r"[A-Za-z][A-Za-z0-9;-]{0,62}", "must be the name of an LDAP attribute, such as uid or memberOf")
]
Regex = Annotated[str, AfterValidator(_regex)]
MappingFile = Annotated[str, AfterValidator(_plain_file)]
# One server, or several of which the first that answers decides.
Servers = Annotated[
    tuple[DnsLabel, ...],
    Field(min_length=1),
    BeforeValidator(_several),
]
TemplateKey = AttributeName
RawValue = Annotated[
    Annotated[Text, shape("text")]
    | Annotated[int, shape("number")]
    | Annotated[bool, shape("truth")]
    | Annotated[tuple[Text, ...], shape("list")],
    shapes("must be a text, a whole number, true, false or a list of texts"),
]
Raw = dict[
    Annotated[str, matching(r"[a-z][a-z0-9_]*", "must be a key of the driver's file without its colon: a-z, 0-9, _")],
    RawValue,
]


class _Mapping(Section):
    """How groups of the directory become groups of OpenNebula; the same for both drivers."""

    mapping_generate: bool = Field(
        default=True, description="build the mapping from OpenNebula's groups, by the attribute named in mappingKey"
    )
    mapping_timeout: Seconds = Field(default=300, description="seconds until the mapping is built anew")
    mapping_filename: MappingFile | None = Field(
        default=None, description="file of the mapping in /var/lib/one; one of its own for each server when left out"
    )
    mapping_default: Annotated[int, Field(ge=0)] | None = Field(
        default=1, description="id of the group for users without a mapped group (1: users); null refuses them"
    )


class LdapServer(_Mapping):
    """One directory server."""

    name: DnsLabel = Field(description="its name in order, matchUserRegex and ldapPasswords")
    host: Address = Field(description="address or DNS name, as oned's pod reaches it and as its certificate names it")
    port: Port | None = Field(default=None, description="port; 389, or 636 with encryption simpleTls, when left out")
    encryption: Encryption = Field(
        default=Encryption.START_TLS, description="startTls, simpleTls (ldaps), or none: everything in clear"
    )
    ca: Annotated[str, AfterValidator(_certificates)] | None = Field(
        default=None,
        description="PEM certificates that the server's must come from; the image's own list when left out",
    )
    verify: bool = Field(default=True, description="check the server's certificate and name; false trusts anybody")
    egress: tuple[Network, ...] = Field(
        default=(), description="networks of the server; needed when host is a name: network policies know no names"
    )
    user: Text | None = Field(default=None, description="who searches (a DN, or user@domain); anonymous when left out")
    base: Text = Field(description="where users, and groups unless groupBase is given, are searched")
    group_base: Text | None = Field(default=None, description="where groups are searched; only with rfc2307bis: false")
    group: Text | None = Field(
        default=None, description="DN of the group that a user must be in; anybody when left out"
    )
    user_field: Attribute = Field(default="cn", description="attribute with the login name; sAMAccountName for AD")
    user_group_field: Attribute = Field(default="dn", description="attribute of a user that groups list")
    group_field: Attribute = Field(default="member", description="attribute of a group that lists its users")
    rfc2307bis: bool = Field(
        default=True, description="groups from the user's memberOf; false: searched by groupField (posixGroup)"
    )
    group_admin_group_dn: Text | None = Field(
        default=None, description="DN of the group whose members administrate all groups they are mapped to"
    )
    mapping_key: TemplateKey = Field(
        default="GROUP_DN", description="attribute of OpenNebula's groups with a group's DN"
    )
    timeout: Seconds = Field(default=15, description="seconds that the driver gives one login at this server")
    raw: Raw = Field(default={}, description="further keys of this server in ldap_auth.conf, without the colon")

    @property
    def effective_port(self) -> int:
        """The port, or the usual one of the encryption."""
        return self.port or (PORTS_LDAPS[0] if self.encryption is Encryption.SIMPLE_TLS else PORT_LDAP)

    @property
    def effective_mapping(self) -> str:
        """The mapping file; never shared by accident, as the shipped default would have it."""
        return self.mapping_filename or f"ldap-{self.name}.yaml"

    @property
    def networks(self) -> tuple[Network, ...]:
        """Where oned's pod may connect to for this server."""
        try:
            address = ip_address(self.host)
        except ValueError:
            return self.egress
        own = (IPv4Network(address),) if isinstance(address, IPv4Address) else ()
        return tuple(dict.fromkeys((*own, *self.egress)))


class LdapSettings(Section):
    """The LDAP driver (ldap_auth.conf)."""

    servers: tuple[LdapServer, ...] = Field(min_length=1, description="the directory servers")
    order: tuple[Servers, ...] = Field(
        default=(),
        description="who is asked in which order; a list inside means the first of them that answers. All as written when left out",
    )
    match_user_regex: dict[Regex, Servers] = Field(
        default={},
        description="instead of order: login name pattern to server; a (…) group in it is the name in the directory",
    )
    check: bool = Field(
        default=True,
        description="before anything is touched, bind to every server from this machine and search its base; false where "
        "only the cluster can reach them",
    )
    check_seconds: Seconds = Field(default=5, description="seconds that each step of the check may take")

    @property
    def effective_order(self) -> tuple[tuple[str, ...], ...]:
        """The order, unless patterns decide."""
        if self.match_user_regex:
            return ()
        return self.order or tuple((server.name,) for server in self.servers)


class IdentityProvider(_Mapping):
    """One SAML identity provider."""

    name: DnsLabel = Field(description="its name in saml_auth.conf")
    issuer: Text = Field(description="the provider's own name in its assertions (entity id)")
    idp_cert: Annotated[str, AfterValidator(_idp_certificate)] = Field(
        description="its signing certificate: PEM, or the base64 part alone"
    )
    user_field: Text = Field(default="NameID", description="where the login name stands")
    group_field: Annotated[str, matching(r"[^']+", "must be an attribute's name without '"), AfterValidator(_text)] = (
        Field(default="member", description="attribute of the assertion with the groups")
    )
    group_required: Text | None = Field(default=None, description="group that a user must be in; anybody when left out")
    mapping_key: TemplateKey = Field(
        default="SAML_GROUP", description="attribute of OpenNebula's groups with a group's name"
    )
    mapping_mode: Literal["strict", "keycloak"] = Field(default="strict", description="keycloak: groups are paths")
    group_admin_name: Text | None = Field(
        default=None, description="group whose members administrate all groups they are mapped to"
    )
    raw: Raw = Field(default={}, description="further keys of this provider in saml_auth.conf, without the colon")

    @property
    def effective_mapping(self) -> str:
        """The mapping file of this provider."""
        return self.mapping_filename or f"saml-{self.name}.yaml"


class SamlSettings(Section):
    """The SAML driver (saml_auth.conf), OpenNebula 7 only."""

    sp_entity_id: Text = Field(description="this OpenNebula's name at every identity provider (audience, client id)")
    acs_url: (
        Annotated[
            str, matching(r"https://[^\s/]+(/\S*)?", "must be an https URL such as https://HOST/fireedge/api/auth/acs")
        ]
        | None
    ) = Field(default=None, description="where providers send assertions; made of FireEdge's host name when left out")
    identity_providers: tuple[IdentityProvider, ...] = Field(min_length=1, description="the trusted providers")


class AuthenticationSettings(Section):
    """Who may log in besides the users that oned knows by password."""

    default: Driver = Field(
        default=Driver.CORE,
        description="who is asked about unknown users: core (nobody: they are refused), ldap or saml",
    )
    session_expiration: int = Field(
        default=900, ge=0, le=86400, description="seconds that a login is remembered without asking the driver; 0 never"
    )
    ldap: LdapSettings | None = Field(default=None, description="the LDAP driver")
    saml: SamlSettings | None = Field(default=None, description="the SAML driver")
