"""Logins through a real OpenLDAP server: search, bind, groups, STARTTLS, and what oned says when it does not work."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lab.standins.opennebula.database import free_port
from lab.standins.opennebula.local import LocalOned
from tests.contract.endpoint import Endpoint

pytestmark = [
    pytest.mark.database,
    pytest.mark.skipif(
        shutil.which("slapd", path="/usr/sbin:/usr/bin") is None, reason="needs Debian's slapd and ldap-utils"
    ),
]

_CONF = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile {base}/pid
TLSCertificateFile {base}/cert.pem
TLSCertificateKeyFile {base}/key.pem
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=search,dc=cloud" read by * none
database mdb
suffix dc=cloud
rootdn cn=root,dc=cloud
rootpw root
directory {base}/db
overlay memberof
"""
_DATA = """
dn: dc=cloud
objectClass: dcObject
objectClass: organization
o: cloud
dc: cloud

dn: cn=search,dc=cloud
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: search
userPassword: finder

dn: uid=ann,dc=cloud
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: A
userPassword: anns

dn: uid=bob,dc=cloud
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: B
userPassword: bobs
"""
_GROUP = """
dn: cn=cloud users,dc=cloud
objectClass: groupOfNames
cn: cloud users
member: uid=ann,dc=cloud
"""


@pytest.fixture(scope="module")
def directory() -> Iterator[int]:
    """The port of a server that only lets the searching account read."""
    with tempfile.TemporaryDirectory(prefix="standin-ldap-") as name:
        base, port = Path(name), free_port()
        (base / "db").mkdir()
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1",
             "-keyout", base / "key.pem", "-out", base / "cert.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
        conf = base / "slapd.conf"
        conf.write_text(_CONF.format(base=base))
        subprocess.run(["/usr/sbin/slapadd", "-f", conf], input=_DATA, text=True, check=True, capture_output=True)
        server = subprocess.Popen(
            ["/usr/sbin/slapd", "-d", "0", "-f", conf, "-h", f"ldap://127.0.0.1:{port}"], stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while subprocess.run(
            ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"], capture_output=True, check=False
        ).returncode:
            assert time.monotonic() < deadline, "slapd does not listen"
            time.sleep(0.1)
        # Through the server: only it tells members about their group (memberOf).
        subprocess.run(
            ["ldapadd", "-x", "-H", f"ldap://127.0.0.1:{port}", "-D", "cn=root,dc=cloud", "-w", "root"],
            input=_GROUP, text=True, check=True, capture_output=True,
        )  # fmt: skip
        yield port
        server.terminate()
        server.wait(20)


class Zone:
    """An oned whose unknown users are the directory's."""

    def __init__(self, oned: LocalOned, port: int) -> None:
        self.oned = oned
        oned.oned_conf["DEFAULT_AUTH"] = "ldap"
        oned.environment["ONE_XMLRPC"] = oned.endpoint
        self.settings = {
            ":user": "cn=search,dc=cloud", ":password": "finder", ":host": "127.0.0.1", ":port": str(port),
            ":base": "dc=cloud", ":user_field": "uid", ":encryption": ":start_tls", ":timeout": "5",
            ":mapping_timeout": "0",
        }  # fmt: skip
        self.order = ":order:\n    - main\n"

    def configure(self, **changes: str) -> None:
        entries = {**self.settings, **{f":{name}": value for name, value in changes.items()}}
        text = "main:\n" + "".join(f"    {name}: {_quoted(value)}\n" for name, value in entries.items()) + self.order
        path = self.oned.directory / "etc" / "auth" / "ldap_auth.conf"
        path.write_text(text)

    @property
    def api(self) -> Endpoint:
        return Endpoint(self.oned.endpoint, self.oned.session, own=True)

    def login(self, session: str) -> ElementTree.Element | None:
        answer = self.api.call("user.info", -1, session=session)
        return ElementTree.fromstring(answer[1]) if answer[0] else None  # noqa: S314


def _quoted(value: str) -> str:
    return value if value.startswith(":") or value.isdigit() or value in ("true", "false") else f"'{value}'"


@pytest.fixture
def zone(oned: LocalOned, directory: int) -> Iterator[Zone]:
    made = Zone(oned, directory)
    made.configure()
    with oned:
        yield made


def test_a_first_login_makes_the_user(zone: Zone) -> None:
    assert zone.login("ann:wrong") is None
    assert "Auth Error: " in zone.oned.log()
    assert "Bad user/password" in zone.oned.log()
    user = zone.login("ann:anns")
    assert user is not None
    assert [user.findtext(tag) for tag in ("NAME", "AUTH_DRIVER", "GNAME", "PASSWORD")] == [
        "ann", "ldap", "users", "uid=ann,dc=cloud",
    ]  # fmt: skip
    again = zone.login("ann:anns")
    assert again is not None
    assert again.findtext("ID") == user.findtext("ID")
    assert zone.login("ann:") is None
    assert zone.login("nobody:x") is None
    assert "User nobody not found" in zone.oned.log()


def test_groups_of_the_directory_become_groups_of_oned(zone: Zone) -> None:
    gid = zone.api.ok("group.allocate", "tenants")
    zone.api.ok("group.update", gid, 'GROUP_DN = "cn=cloud users,dc=cloud"', 1)
    user = zone.login("ann:anns")
    assert user is not None
    assert (user.findtext("GNAME"), [each.text for each in user.iterfind("GROUPS/ID")]) == ("tenants", [str(gid)])


def test_only_members_of_a_group_get_in(zone: Zone) -> None:
    zone.configure(group="cn=cloud users,dc=cloud")
    assert zone.login("ann:anns") is not None
    assert zone.login("bob:bobs") is None
    assert "User bob is not in group cn=cloud users,dc=cloud" in zone.oned.log()


def test_a_directory_that_is_not_there_or_that_refuses_the_searcher(zone: Zone) -> None:
    zone.configure(port=str(free_port()))
    assert zone.login("ann:anns") is None
    assert "Exception raised with LDAP main: " in zone.oned.log()
    zone.configure(password="wrong")
    assert zone.login("bob:bobs") is None
    assert "User bob not found" in zone.oned.log()
    zone.order = ""
    zone.configure()
    assert zone.login("bob:bobs") is None
    assert "missing either :order or :match_user_regex in configuration" in zone.oned.log()


def test_saml_is_known_by_name_only(zone: Zone) -> None:
    zone.api.ok("user.allocate", "carl", "x", "saml")
    assert zone.login("carl:x") is None
    assert "SAML assertions cannot be checked by the rehearsal stand-in" in zone.oned.log()
