"""Rules of the LDAP and SAML settings that need two values. Pure; asked before anything is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from ipaddress import ip_address

from components.authentication_settings import (
    PORT_LDAP,
    PORTS_LDAPS,
    AuthenticationSettings,
    Driver,
    Encryption,
    IdentityProvider,
    LdapServer,
    LdapSettings,
    SamlSettings,
)
from components.domain import Version, nowhere
from components.ldap_passwords import PASSWORDS_KEY
from components.versions import RELEASES

PORTS_CLEAR = (PORT_LDAP, 3268)

Found = Iterator[tuple[str, str]]


def problems(
    settings: AuthenticationSettings,
    *,
    version: Version,
    passwords: Collection[str],
    fireedge_host: str | None,
    fireedge: bool = True,
) -> Found:
    """Everything wrong with settings whose single values are right, as (config path, text).

    `passwords` are the servers that ldapPasswords names; `fireedge_host` is FireEdge's host name at the ingress, `fireedge`
    whether it runs at all.
    """
    if settings.default is Driver.LDAP and settings.ldap is None:
        yield "authentication.default", "ldap needs authentication.ldap with at least one server"
    if settings.default is Driver.SAML and settings.saml is None:
        yield "authentication.default", "saml needs authentication.saml with at least one identity provider"
    if settings.saml is not None:
        if not RELEASES[version].saml:
            yield "authentication.saml", f"OpenNebula {version.value} has no SAML driver; use ldap, or version 7.4"
        if not fireedge:
            yield (
                "authentication.saml",
                "needs fireedge.enabled: true: people log in by SAML on its pages and nowhere else",
            )
        else:
            yield from _saml(settings.saml, fireedge_host)
    names = [server.name for server in settings.ldap.servers] if settings.ldap else []
    for name in sorted(set(passwords) - set(names)):
        yield PASSWORDS_KEY, f"{name} is none of authentication.ldap.servers; remove it or correct the name"
    if settings.ldap is not None:
        yield from _choice(settings.ldap, names)
        for index, server in enumerate(settings.ldap.servers):
            yield from _server(f"authentication.ldap.servers[{index}]", server, passwords)
    yield from _mapping_files(settings)


def _saml(saml: SamlSettings, fireedge_host: str | None) -> Found:
    if saml.acs_url is None and fireedge_host is None:
        text = "is required while FireEdge has no host name at the ingress: https://HOST/fireedge/api/auth/acs"
        yield "authentication.saml.acsUrl", text
    for field in ("name", "issuer"):
        seen: dict[str, int] = {}
        for index, provider in enumerate(saml.identity_providers):
            value = getattr(provider, field)
            if (earlier := seen.setdefault(value, index)) != index:
                path = f"authentication.saml.identityProviders[{index}].{field}"
                yield path, f"{value} is already identityProviders[{earlier}]; the driver takes the first"
    for index, provider in enumerate(saml.identity_providers):
        if provider.mapping_default is None:
            text = "the SAML driver puts group 1 in place of none; to refuse users without a group set groupRequired"
            yield f"authentication.saml.identityProviders[{index}].mappingDefault", text
        yield from _raw(f"authentication.saml.identityProviders[{index}]", provider)


def _choice(ldap: LdapSettings, names: list[str]) -> Found:
    path = "authentication.ldap"
    for name, count in Counter(names).items():
        if count > 1:
            yield f"{path}.servers", f"{count} servers are called {name}; each needs a name of its own"
    if ldap.order and ldap.match_user_regex:
        yield f"{path}.order", "order and matchUserRegex exclude each other: the driver refuses every login with both"
        return
    chosen = {f"{path}.order[{index}]": entry for index, entry in enumerate(ldap.order)}
    chosen |= {f"{path}.matchUserRegex[{regex}]": entry for regex, entry in ldap.match_user_regex.items()}
    for where, entry in chosen.items():
        for name in entry:
            if name not in names:
                yield where, f"{name} is no server of authentication.ldap.servers ({', '.join(names)})"
    for name, count in Counter(name for entry in ldap.order for name in entry).items():
        if count > 1:
            yield f"{path}.order", f"names {name} {count} times; once is enough"
    if chosen:
        for name in sorted(set(names) - {name for entry in chosen.values() for name in entry}):
            which = "order" if ldap.order else "matchUserRegex"
            yield f"{path}.servers", f"{name} would never be asked: {which} does not name it. Add it there or remove it"


def _server(path: str, server: LdapServer, passwords: Collection[str]) -> Found:
    port, encryption = server.effective_port, server.encryption
    if encryption is Encryption.START_TLS and port in PORTS_LDAPS:
        text = (
            f"startTls begins in clear, and {port} is a port that begins with TLS: simpleTls there, or port {PORT_LDAP}"
        )
        yield f"{path}.encryption", text
    elif encryption is Encryption.SIMPLE_TLS and port in PORTS_CLEAR:
        text = f"simpleTls begins with TLS, and {port} is a port that begins in clear: startTls there, or port 636"
        yield f"{path}.encryption", text
    elif encryption is Encryption.NONE and port in PORTS_LDAPS:
        yield f"{path}.encryption", f"none cannot speak to port {port}, which begins with TLS: use simpleTls"
    if server.ca is not None and (encryption is Encryption.NONE or not server.verify):
        why = "encryption is none" if encryption is Encryption.NONE else "verify is false"
        yield f"{path}.ca", f"would not be looked at: {why}"
    if server.user is not None and server.name not in passwords:
        text = f"needs its password: pulumi config set --secret --path 'opennebula:{PASSWORDS_KEY}.{server.name}'"
        yield f"{path}.user", text
    if server.user is None and server.name in passwords:
        yield f"{path}.user", f"is required: {PASSWORDS_KEY} has a password for this server and nobody uses it"
    if server.group_base is not None and server.rfc2307bis:
        yield f"{path}.groupBase", "has an effect only with rfc2307bis: false"
    yield from _reach(path, server)
    yield from _raw(path, server)


def _reach(path: str, server: LdapServer) -> Found:
    if nowhere(server.host):
        yield f"{path}.host", "means oned's own pod; give the directory server's address or name"
        return
    try:
        version = ip_address(server.host).version
    except ValueError:
        if not server.egress:
            yield (
                f"{path}.egress",
                f"is required because host {server.host} is a name and network policies know only addresses: "
                "the networks that it resolves to, such as [192.0.2.10/32]",
            )
        return
    if version != 4:
        yield f"{path}.host", "IPv6 addresses are not supported: the policies are IPv4. Give a name or an IPv4 address"


def _raw(path: str, section: LdapServer | IdentityProvider) -> Found:
    typed = {*type(section).model_fields, "password", "encryption"} - {"raw"}
    for key in sorted(set(section.raw) & typed):
        yield f"{path}.raw.{key}", "is decided by typed settings; change it there"


def _mapping_files(settings: AuthenticationSettings) -> Found:
    """Two sources that write one file with different contents would overwrite each other every few minutes."""
    sources: dict[str, tuple[str, str]] = {}
    users: list[tuple[str, LdapServer | IdentityProvider]] = []
    if settings.ldap is not None:
        users += [(f"authentication.ldap.servers[{i}]", server) for i, server in enumerate(settings.ldap.servers)]
    if settings.saml is not None:
        providers = enumerate(settings.saml.identity_providers)
        users += [(f"authentication.saml.identityProviders[{i}]", provider) for i, provider in providers]
    for path, user in users:
        first, key = sources.setdefault(user.effective_mapping, (path, user.mapping_key))
        if key != user.mapping_key:
            text = f"{user.effective_mapping} is written by {first} too, from {key} instead of {user.mapping_key}"
            yield f"{path}.mappingFilename", text
