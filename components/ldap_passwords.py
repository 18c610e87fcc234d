"""Bind passwords of the LDAP servers: the secret config value `opennebula:ldapPasswords`, server name to password. Pure."""

from __future__ import annotations

import json

from components.authentication_settings import unprintable

PASSWORDS_KEY = "ldapPasswords"
_LIMIT = 512  # characters


def parse_passwords(text: str | None) -> dict[str, str]:
    """Server name → bind password from the secret config value. Raises ValueError, which never holds a password."""
    if text is None:
        return {}
    hint = f"set one per server: pulumi config set --secret --path 'opennebula:{PASSWORDS_KEY}.SERVER'"
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        raise ValueError(f"must be a mapping of LDAP server to password; {hint}") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError(f"must be a mapping of LDAP server to password, all of them text; {hint}")
    for name, value in found.items():
        if not value:
            # RFC 4513, 5.1.2: a name with an empty password is "unauthenticated", and some servers say yes to it.
            raise ValueError(f"{name}: an empty password is no login but an anonymous one; leave user out for that")
        if len(value) > _LIMIT:
            raise ValueError(f"{name}: longer than {_LIMIT} characters")
        if problem := unprintable(value):
            raise ValueError(
                f"{name}: holds {problem}, which a line of ldap_auth.conf cannot carry; "
                "was it set from a file with a line end? Use printf instead of echo"
            )
    return found


def check_passwords(value: str) -> None:
    """Rule of the secret config key. Raises ValueError."""
    parse_passwords(value)


def password_names(text: str | None) -> frozenset[str]:
    """The servers that have a password; none for a value that `check_passwords` refuses anyway."""
    try:
        return frozenset(parse_passwords(text))
    except ValueError:
        return frozenset()
