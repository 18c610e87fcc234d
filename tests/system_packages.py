"""Debian packages that the tests need on this machine: `python -m tests.system_packages`, called by `make test`.

Servers among them (MariaDB, OpenSSH) are only to be there as programs: Debian's own switch, policy-rc.d, keeps their
packages from starting a service.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.errors import LabError
from lab.packages import ensure_system_packages

# program or path that must exist → package that brings it
NEEDED = {
    "mariadbd": "mariadb-server",
    "/usr/lib/python3/dist-packages/pymysql": "python3-pymysql",
    "/usr/sbin/sshd": "openssh-server",
    "ssh": "openssh-client",
    "ruby": "ruby",
    "rsync": "rsync",
    "lspci": "pciutils",
    "gpg": "gpg",
    "gpg-agent": "gpg-agent",
    "gpgv": "gpgv",
    "openssl": "openssl",
    "curl": "curl",
    "shellcheck": "shellcheck",
    "sudo": "sudo",
    "pgrep": "procps",
    "awk": "mawk",
    "node": "nodejs",
    "/usr/share/rubygems-integration/all/gems/webrick-1.8.1": "ruby-webrick",
    "/usr/lib/ruby/vendor_ruby/xmlrpc.rb": "ruby-xmlrpc",
    "/usr/lib/python3/dist-packages/zmq": "python3-zmq",
    "/usr/lib/python3/dist-packages/ldap3": "python3-ldap3",
    "/usr/lib/python3/dist-packages/yaml": "python3-yaml",
    "/usr/bin/chromium": "chromium",
    "/usr/bin/chromedriver": "chromium-driver",
    "certutil": "libnss3-tools",
    "/usr/sbin/slapd": "slapd",
    "ldapadd": "ldap-utils",
}
POLICY = Path("/usr/sbin/policy-rc.d")
PRIVILEGE_SEPARATION = Path("/run/sshd")  # sshd of Debian demands it; its service, which is not started, would make it


@contextmanager
def no_services() -> Iterator[None]:
    """Packages installed meanwhile start nothing. A policy that the machine has already stays as it is."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def main() -> int:
    """0 when everything is there."""
    try:
        with no_services():
            ensure_system_packages({what: package for what, package in NEEDED.items() if not Path(what).exists()})
        PRIVILEGE_SEPARATION.mkdir(exist_ok=True)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
