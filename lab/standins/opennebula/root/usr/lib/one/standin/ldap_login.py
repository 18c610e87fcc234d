"""The `ldap` authentication driver: finds the user in a directory, binds as the user, maps groups of the directory to
groups of oned.

Reads etc/auth/ldap_auth.conf and speaks to real directories with Debian's ldap3. Certificates are verified where
:verify_mode is 1 (VERIFY_PEER), against :ca_file; an :encryption that is a symbol alone verifies nothing. A directory that
refuses the searching account looks like one without the user. Source: OpenNebula 7.4.0
src/authm_mad/remotes/ldap/{authenticate,ldap_auth.rb}.
"""

from __future__ import annotations

import os
import re
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote
from xml.etree import ElementTree

from standin.auth_scripts import REFUSED, Question
from standin.locations import Locations

_DEFAULTS: Final[dict[str, Any]] = {
    ":host": "localhost",
    ":port": 389,
    ":user_field": "cn",
    ":user_group_field": "dn",
    ":group_field": "member",
    ":mapping_generate": True,
    ":mapping_timeout": 300,
    ":mapping_filename": "server1.yaml",
    ":mapping_key": "GROUP_DN",
    ":mapping_default": 1,
    ":rfc2307bis": True,
    ":timeout": 15,
}
_KEPT: Final = ";/?:@&=+$,[]-_.!~*'()"


class Refusal(Exception):
    """This server says no; the next one in the order may be asked."""


class OrderError(Exception):
    """A configuration that names no usable order of servers."""


class Directory:
    """One server entry of the configuration, connected."""

    def __init__(self, settings: dict[str, Any], var: Path) -> None:
        import ldap3

        self._ldap3 = ldap3
        self._settings = {**_DEFAULTS, **settings}
        self._mapping = self._load_mapping(var)
        self._encryption, tls = _tls(self._get(":encryption"))
        self._server = ldap3.Server(
            str(self._get(":host")),
            port=int(self._get(":port")),
            use_ssl=self._encryption == ":simple_tls",
            tls=tls,
            get_info=ldap3.NONE,
            connect_timeout=float(self._get(":timeout")),
        )

    def login(self, name: str, password: str) -> tuple[str, list[str]]:
        """DN and group ids.

        :raises Refusal: for a user that this server does not let in.
        :raises Exception: when the server cannot be used at all.
        """
        entry = self._find(name)
        if entry is None:
            raise Refusal(f"User {name} not found")
        dn, attributes = entry
        found = _first(attributes, self._get(":user_field"))
        if found and found.lower() != name.lower():
            raise Refusal(f'User "{name}" and "{found}" differes (leading/trailing whitespace)')
        member = self._member_value(dn, attributes)
        group = self._get(":group")
        if group and not self._in_group(member, str(group), attributes):
            raise Refusal(f"User {name} is not in group {group}")
        if not password or not self._bound(dn, password):
            raise Refusal("Bad user/password")
        gids = self._groups(member, attributes)
        if not gids:
            default = self._get(":mapping_default")
            if not default:
                raise Refusal("User does not belong to a mapped group")
            gids = [str(default)]
        return dn, gids

    def _get(self, key: str) -> Any:
        return self._settings.get(key)

    def _connection(self, user: str | None, password: str | None) -> Any:
        connection = self._ldap3.Connection(
            self._server, user, password, receive_timeout=int(self._get(":timeout")), check_names=False
        )
        connection.open()
        if self._encryption == ":start_tls":
            connection.start_tls()
        return connection

    def _search(self, base: str | None, query: str, attributes: list[str], scope: str = "SUBTREE") -> list[Any]:
        user = self._get(":user")
        connection = self._connection(user, self._get(":password") if user else None)
        try:
            if not connection.bind():
                return []
            connection.search(base or "", query, search_scope=scope, attributes=attributes)
            return [each for each in connection.response or [] if each.get("type") == "searchResEntry"]
        finally:
            connection.unbind()

    def _find(self, name: str) -> tuple[str, dict[str, list[str]]] | None:
        from ldap3.utils.conv import escape_filter_chars

        field = str(self._get(":user_field"))
        wanted = list(
            {"memberOf", field, *(() if self._get(":user_group_field") == "dn" else (self._get(":user_group_field"),))}
        )
        found = self._search(self._get(":base"), f"({field}={escape_filter_chars(name)})", wanted)
        if not found and "=" in name:
            found = self._search(name, "(objectClass=*)", wanted)
        if not found:
            return None
        attributes = {
            key.lower(): [str(each) for each in (value if isinstance(value, list) else [value])]
            for key, value in found[0]["attributes"].items()
        }
        return str(found[0]["dn"]), attributes

    def _bound(self, dn: str, password: str) -> bool:
        connection = self._connection(dn, password)
        try:
            return bool(connection.bind())
        finally:
            connection.unbind()

    def _member_value(self, dn: str, attributes: dict[str, list[str]]) -> str:
        field = str(self._get(":user_group_field"))
        return dn if field == "dn" else _first(attributes, field)

    def _in_group(self, member: str, group: str, attributes: dict[str, list[str]]) -> bool:
        from ldap3.utils.conv import escape_filter_chars

        if self._get(":rfc2307bis"):
            return group.lower() in (each.lower() for each in attributes.get("memberof", []))
        field = self._get(":group_field")
        return bool(self._search(group, f"({field}={escape_filter_chars(member)})", ["1.1"]))

    def _groups(self, member: str, attributes: dict[str, list[str]]) -> list[str]:
        from ldap3.utils.conv import escape_filter_chars

        if self._get(":rfc2307bis"):
            names = attributes.get("memberof", [])
        else:
            base = self._get(":group_base") or self._get(":base")
            field = self._get(":group_field")
            names = [
                str(each["dn"]) for each in self._search(base, f"({field}={escape_filter_chars(member)})", ["1.1"])
            ]
        known = {dn.lower(): gid for dn, gid in self._mapping.items()}
        admin = str(self._get(":group_admin_group_dn") or "").lower()
        star = "*" if admin and admin in (name.lower() for name in names) else ""
        return list(dict.fromkeys(f"{star}{known[name.lower()]}" for name in names if name.lower() in known))

    def _load_mapping(self, var: Path) -> dict[str, str]:
        import yaml

        path = var / str(self._get(":mapping_filename"))
        if self._get(":mapping_generate"):
            stale = not path.exists() or time.time() - path.stat().st_mtime > float(self._get(":mapping_timeout"))
            if stale:
                path.write_text(yaml.safe_dump(_mapped_groups(str(self._get(":mapping_key")))))
        found = yaml.safe_load(path.read_text()) if path.exists() else None
        return {str(dn): str(gid) for dn, gid in found.items()} if isinstance(found, dict) else {}


def _tls(encryption: Any) -> tuple[str | None, Any]:
    """Method and TLS options, as ruby-net-ldap takes them: a symbol alone verifies nothing, a hash has what SSLContext is
    to have. A missing CA file fails, as it does there.
    """
    import ssl

    import ldap3

    method, options = encryption, {}
    if isinstance(encryption, dict):
        method, options = encryption.get(":method"), encryption.get(":tls_options") or {}
    verify = ssl.CERT_REQUIRED if options.get(":verify_mode") == 1 else ssl.CERT_NONE
    return method, ldap3.Tls(validate=verify, ca_certs_file=options.get(":ca_file"))


def authenticate(xml: str) -> int:
    """The exit code of the script; on success `ldap <user> <dn> <group ids>` on stdout."""
    import yaml

    question = Question.of(xml)
    if question is None:
        return REFUSED
    locations = Locations.from_environment()
    full = unquote(question.user)
    options = yaml.safe_load((locations.etc / "auth" / "ldap_auth.conf").read_text()) or {}
    try:
        order, user = _order(options, full)
    except OrderError as error:
        _tell(str(error))
        return REFUSED
    if len(order) > 1:
        _tell(f"Using group of servers: {' '.join(name for group in order for name in group)}")
    for group in order:
        for name, settings in _configured(options, group):
            try:
                dn, gids = Directory(settings, locations.var).login(user, question.secret)
            except Refusal as why:
                _tell(str(why))
                break
            except Exception as error:  # whatever a server does, the next one of its group is asked
                timed_out = isinstance(error, TimeoutError) or "timed out" in str(error)
                _tell(
                    f"Communication timed out with LDAP {name}"
                    if timed_out
                    else f"Exception raised with LDAP {name}: {error}"
                )
                continue
            print(f"ldap {quote(full, safe=_KEPT).lower()} {quote(dn, safe=_KEPT)} {' '.join(gids)}")
            return 0
    _tell(f"Could not authenticate user {user}")
    return REFUSED


def _configured(options: dict[str, Any], group: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in group:
        _tell(f"Trying LDAP server {name} ")
        settings = options.get(name)
        if not settings:
            _tell("Configuration for server not found")
            return
        yield name, settings


def _order(options: dict[str, Any], user: str) -> tuple[list[list[str]], str]:
    """Groups of servers in the order in which they are asked, and the user's name in them.

    :raises OrderError: for a configuration without exactly one of `:order` and `:match_user_regex`.
    """
    order, patterns = options.get(":order"), options.get(":match_user_regex")
    if order and patterns:
        raise OrderError(":order and :match_user_regex are mutually exclusive")
    if order:
        if not isinstance(order, list):
            raise OrderError(":order value malformed, must be an Array")
        return [_group(each) for each in order], user
    if not patterns:
        raise OrderError("missing either :order or :match_user_regex in configuration")
    if not isinstance(patterns, dict):
        raise OrderError(":match_user_regex value malformed, must be an Hash")
    for pattern, servers in patterns.items():
        match = re.search(str(pattern), user, re.IGNORECASE)
        if match:
            captured = match.group(1) if match.re.groups else None
            return [_group(servers)], captured or user
    _tell(f"User {user} does not mach any regex")
    return [], user


def _group(servers: Any) -> list[str]:
    if isinstance(servers, list):
        return [str(each) for each in servers]
    if isinstance(servers, dict):
        if len(servers) != 1:
            raise OrderError(f"invalid group configuration: {servers}")
        return _group(next(iter(servers.values())))
    return [str(servers)]


def _mapped_groups(key: str) -> dict[str, str]:
    """DN to group id, from the templates of oned's groups, asked over the API as oneadmin."""
    auth = Path(os.environ.get("ONE_AUTH") or Path.home() / ".one" / "one_auth")
    session = auth.read_text().splitlines()[0]
    with xmlrpc.client.ServerProxy(os.environ.get("ONE_XMLRPC") or _endpoint()) as proxy:
        answer: Any = proxy.one.grouppool.info(session)
    if not answer[0]:
        raise RuntimeError(answer[1])
    groups = ElementTree.fromstring(answer[1]).iterfind("GROUP")
    return {dn: group.findtext("ID") or "" for group in groups if (dn := group.findtext(f"TEMPLATE/{key.upper()}"))}


def _endpoint() -> str:
    path = Path.home() / ".one" / "one_endpoint"
    return path.read_text().strip() if path.is_file() else "http://localhost:2633/RPC2"


def _first(attributes: dict[str, list[str]], name: str) -> str:
    values = attributes.get(str(name).lower()) or [""]
    return values[0]


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
