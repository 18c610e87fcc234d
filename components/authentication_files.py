"""The texts of ldap_auth.conf and saml_auth.conf from typed settings. Pure.

Both are YAML with Ruby's symbols (`:key:`), read by Ruby's Psych. Every text is written in double quotes, so that no
value can become a number, a symbol or a structure; every value was checked for what such a scalar cannot carry.

TLS is written as the hash that ruby-net-ldap takes, not as the plain symbol of the shipped sample: with the symbol the
library checks the name in the certificate but not who signed it (connection.rb, wrap_with_ssl), which protects nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from components.authentication_settings import (
    Encryption,
    IdentityProvider,
    LdapServer,
    LdapSettings,
    SamlSettings,
)

AUTH_DIRECTORY: Final = "/etc/one/auth"
LDAP_FILE: Final = "ldap_auth.conf"
SAML_FILE: Final = "saml_auth.conf"
ACS_PATH: Final = "/fireedge/api/auth/acs"

_VERIFY_NONE, _VERIFY_PEER = 0, 1  # OpenSSL::SSL


class Symbol(str):
    """A word that Ruby shall read as a symbol."""

    __slots__ = ()


def ca_file(server: str) -> str:
    """File name of a server's CA certificates in /etc/one/auth."""
    return f"ldap-{server}-ca.pem"


def ldap_file(settings: LdapSettings, passwords: Mapping[str, str]) -> str:
    """ldap_auth.conf. Holds the bind passwords."""
    content: dict[Any, Any] = {server.name: _server(server, passwords.get(server.name)) for server in settings.servers}
    if settings.match_user_regex:
        content[Symbol("match_user_regex")] = {
            regex: _one_or_list(names) for regex, names in settings.match_user_regex.items()
        }
    else:
        content[Symbol("order")] = [_one_or_list(names) for names in settings.effective_order]
    return render(content)


def saml_file(settings: SamlSettings, fireedge_host: str | None) -> str:
    """saml_auth.conf. The settings' problems are known to be none: there is an acsUrl or a host."""
    return render(
        {
            Symbol("sp_entity_id"): settings.sp_entity_id,
            Symbol("acs_url"): settings.acs_url or f"https://{fireedge_host}{ACS_PATH}",
            Symbol("identity_providers"): {
                Symbol(provider.name): _provider(provider) for provider in settings.identity_providers
            },
        }
    )


def render(content: Mapping[Any, Any]) -> str:
    """A mapping as YAML for Ruby; ends with a newline."""
    return "\n".join(_lines(content, "")) + "\n"


def _lines(content: Mapping[Any, Any], indent: str) -> list[str]:
    lines = []
    for key, value in content.items():
        name = f":{_symbol(key)}" if isinstance(key, Symbol) else _scalar(key)
        if isinstance(value, Mapping):
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {_value(value)}")
    return lines


def _value(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, Symbol):
        return f":{value}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _symbol(name: Symbol) -> str:
    return name if name.replace("_", "a").isalnum() else _scalar(str(name))


def _one_or_list(names: tuple[str, ...]) -> str | tuple[str, ...]:
    return names[0] if len(names) == 1 else names


def _server(server: LdapServer, password: str | None) -> dict[Symbol, Any]:
    found: dict[str, Any] = {}
    if server.user is not None:
        found |= {"user": server.user, "password": password or "", "auth_method": Symbol("simple")}
    found |= {"host": server.host, "port": server.effective_port, "timeout": server.timeout}
    if server.encryption is not Encryption.NONE:
        method = "start_tls" if server.encryption is Encryption.START_TLS else "simple_tls"
        options: dict[Any, Any] = {Symbol("verify_mode"): _VERIFY_PEER if server.verify else _VERIFY_NONE}
        if server.ca is not None:
            options[Symbol("ca_file")] = f"{AUTH_DIRECTORY}/{ca_file(server.name)}"
        found["encryption"] = {Symbol("method"): Symbol(method), Symbol("tls_options"): options}
    found |= {
        "base": server.base,
        "group_base": server.group_base,
        "group": server.group,
        "user_field": server.user_field,
        "user_group_field": server.user_group_field,
        "group_field": server.group_field,
        "rfc2307bis": server.rfc2307bis,
        "group_admin_group_dn": server.group_admin_group_dn,
    }
    return _keys(found, server)


def _provider(provider: IdentityProvider) -> dict[Symbol, Any]:
    found = {
        "issuer": provider.issuer,
        "idp_cert": provider.idp_cert,
        "user_field": provider.user_field,
        "group_field": provider.group_field,
        "group_required": provider.group_required,
        "mapping_mode": provider.mapping_mode,
        "group_admin_name": provider.group_admin_name,
    }
    return _keys(found, provider)


def _keys(found: Mapping[str, Any], section: LdapServer | IdentityProvider) -> dict[Symbol, Any]:
    """With the mapping's keys and the raw ones. What is None is left out: the drivers ask whether a key is there."""
    mapping = {
        "mapping_generate": section.mapping_generate,
        "mapping_timeout": section.mapping_timeout,
        "mapping_filename": section.effective_mapping,
        "mapping_key": section.mapping_key,
        "mapping_default": section.mapping_default,
    }
    both = {**found, **mapping, **section.raw}
    return {Symbol(key): value for key, value in both.items() if value is not None}
