"""Authentication: what the drivers read, what the rules refuse, and that no password stands anywhere in clear."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from components import ldap_check
from components.authentication import Authentication, AuthenticationArgs, auth_entries, egress_rules
from components.authentication_files import Symbol, ldap_file, render, saml_file
from components.authentication_rules import problems
from components.authentication_settings import AuthenticationSettings, unprintable
from components.domain import Version
from components.ldap_passwords import check_passwords, parse_passwords, password_names
from components.oned_conf import render as render_oned
from components.placement import Placement
from tests.certificates import certificate
from tests.graph import Graph, Secret, deploy, reveal

MARKER = "MARKER-pass'word\\\"$"
PLACEMENT = Placement(namespace="one", namespace_name="one", image_pull_policy="IfNotPresent")


def server(name: str = "main", **changes: Any) -> dict[str, Any]:
    return {"name": name, "host": "192.0.2.10", "base": "dc=example,dc=com", "user": "cn=reader"} | changes


def provider(name: str = "keycloak", **changes: Any) -> dict[str, Any]:
    found = {"name": name, "issuer": f"https://{name}.example/realm", "idpCert": certificate()}
    return found | changes


def settings(*servers: dict[str, Any], saml: Any = None, default: str = "ldap", **ldap: Any) -> AuthenticationSettings:
    found: dict[str, Any] = {"default": default}
    if servers:
        found["ldap"] = {"servers": servers, **ldap}
    if saml is not None:
        found["saml"] = saml
    return AuthenticationSettings.model_validate_json(json.dumps(found))


def saml(*providers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"spEntityId": "opennebula", "identityProviders": providers or (provider(),)} | changes


def found(
    given: AuthenticationSettings,
    *,
    passwords: tuple[str, ...] = ("main",),
    version: Version = Version.V7_4,
    host: str | None = "cloud.example",
) -> dict[str, str]:
    return dict(problems(given, version=version, passwords=passwords, fireedge_host=host))


def graph(given: AuthenticationSettings, passwords: Mapping[str, str] | None = None) -> tuple[Graph, Any]:
    made: list[Authentication] = []

    def program() -> None:
        secret = pulumi.Output.secret(json.dumps(passwords)) if passwords is not None else None
        args = AuthenticationArgs(settings=given, placement=PLACEMENT, passwords=secret, fireedge_host="cloud.example")
        made.append(Authentication("authentication", args))

    return deploy(program), made[0]


def psych(text: str) -> Any:
    """What Ruby reads, as the drivers load it; symbols come back with their colon."""
    show = "def f(v) case v when Hash then v.to_h { |k, w| [k.inspect, f(w)] } when Array then v.map { |w| f(w) }"
    show += " when Symbol then v.inspect else v end end"
    done = subprocess.run(
        ["ruby", "-ryaml", "-rjson", "-e", f"{show}; puts JSON.generate(f(YAML.load(STDIN.read)))"],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


# ---- what the drivers read


def test_ruby_reads_the_ldap_file_as_the_driver_expects_it() -> None:
    given = settings(
        server(ca=certificate(), group="cn=cloud"),
        server("second", user=None, encryption="none", egress=["198.51.100.0/24"], mappingDefault=None),
        server("third", encryption="simpleTls", verify=False, raw={"attributes": ["memberOf", "mail"]}),
        order=["main", ["second", "third"]],
    )
    assert given.ldap is not None
    read = psych(ldap_file(given.ldap, {"main": MARKER}))
    assert read[":order"] == ["main", ["second", "third"]]
    main, second, third = (read[json.dumps(name)] for name in ("main", "second", "third"))
    assert main[":user"] == "cn=reader" and main[":password"] == MARKER and main[":auth_method"] == ":simple"
    assert main[":encryption"] == {
        ":method": ":start_tls",
        ":tls_options": {":verify_mode": 1, ":ca_file": "/etc/one/auth/ldap-main-ca.pem"},
    }
    assert (main[":host"], main[":port"], main[":group"]) == ("192.0.2.10", 389, "cn=cloud")
    assert {":user", ":password", ":encryption", ":mapping_default"}.isdisjoint(second)
    assert third[":encryption"] == {":method": ":simple_tls", ":tls_options": {":verify_mode": 0}}
    assert third[":port"] == 636 and third[":attributes"] == ["memberOf", "mail"]
    assert len({entry[":mapping_filename"] for entry in (main, second, third)}) == 3


def test_patterns_take_the_place_of_the_order() -> None:
    given = settings(server(), server("b"), matchUserRegex={r"^(.*)@orgA\.com$": "main", "^(.*)@b$": ["main", "b"]})
    assert given.ldap is not None
    read = psych(ldap_file(given.ldap, {}))
    assert ":order" not in read
    assert read[":match_user_regex"] == {r'"^(.*)@orgA\\.com$"': "main", '"^(.*)@b$"': ["main", "b"]}


def test_without_an_order_the_servers_are_asked_as_written() -> None:
    given = settings(server("b"), server("a"))
    assert given.ldap is not None
    assert psych(ldap_file(given.ldap, {}))[":order"] == ["b", "a"]


def test_ruby_reads_the_saml_file_as_the_driver_expects_it() -> None:
    given = settings(
        saml=saml(provider(groupRequired="one"), provider("okta-2", mappingMode="keycloak")), default="saml"
    )
    assert given.saml is not None
    read = psych(saml_file(given.saml, "cloud.example"))
    assert read[":acs_url"] == "https://cloud.example/fireedge/api/auth/acs"
    assert read[":sp_entity_id"] == "opennebula"
    keycloak, okta = read[":identity_providers"][":keycloak"], read[":identity_providers"][':"okta-2"']
    assert keycloak[":group_required"] == "one" and keycloak[":mapping_mode"] == "strict"
    assert okta[":mapping_mode"] == "keycloak"
    assert "\n" not in keycloak[":idp_cert"] and keycloak[":idp_cert"] in certificate().replace("\n", "")


@given(
    st.dictionaries(
        st.text(max_size=12).filter(lambda text: unprintable(text) is None),
        st.text(max_size=40).filter(lambda text: unprintable(text) is None) | st.booleans() | st.integers(),
        min_size=1,
        max_size=5,
    )
)
def test_every_accepted_text_survives_yaml(content: dict[str, Any]) -> None:
    assert yaml.safe_load(render(content)) == content


def test_texts_never_become_something_else() -> None:
    content = {
        "a": "yes",
        "b": ":symbol",
        "c": "0123",
        "d": "null",
        "e": "a: b",
        "f": "#x",
        "g": "",
        "h": "é\U0001f600",
    }
    assert psych(render(content)) == {json.dumps(key): value for key, value in content.items()}
    assert psych(render({Symbol("k"): Symbol("v")})) == {":k": ":v"}


def test_oned_names_only_drivers_that_are_configured() -> None:
    assert auth_entries(settings(default="core"), Version.V7_4) == {
        "AUTH_MAD": {"EXECUTABLE": "one_auth_mad", "AUTHN": "ssh,x509,server_cipher,server_x509"},
        "SESSION_EXPIRATION_TIME": 900,
    }
    both = settings(server(), saml=saml())
    entries = auth_entries(both, Version.V7_4)
    assert entries["AUTH_MAD"] == {
        "EXECUTABLE": "one_auth_mad",
        "AUTHN": "ssh,x509,ldap,server_cipher,server_x509,saml",
    }
    assert entries["DEFAULT_AUTH"] == "ldap"
    assert 'DEFAULT_AUTH = "ldap"' in render_oned(entries)
    assert "saml" not in str(auth_entries(both, Version.V6_10)["AUTH_MAD"])


# ---- the component


def test_nothing_is_made_for_core() -> None:
    recorded, component = graph(settings(default="core"))
    assert [record.kind for record in recorded.records] == ["Authentication"]
    assert component.secret is None


def test_files_are_secret_and_named_as_the_drivers_look_for_them() -> None:
    recorded, component = graph(settings(server(ca=certificate()), saml=saml()), {"main": MARKER})
    assert [record.kind for record in recorded.records] == ["Authentication", "Secret"]
    secret = recorded.one("Secret")
    assert isinstance(secret.inputs["stringData"], Secret)
    data = reveal(secret.inputs["stringData"])
    assert set(data) == {"ldap_auth.conf", "saml_auth.conf", "ldap-main-ca.pem"}
    assert psych(data["ldap_auth.conf"])['"main"'][":password"] == MARKER
    assert data["ldap-main-ca.pem"] == certificate()
    assert "name" not in secret.inputs["metadata"]  # a change makes a new one, and so a new pod
    assert component.secret is not None
    assert "MARKER" not in json.dumps([dict(record.inputs) for record in recorded.records], default=repr)


def test_oned_reaches_exactly_the_servers() -> None:
    given = settings(
        server(port=10389),
        server("b", host="ldap.example", egress=["198.51.100.0/28", "203.0.113.5/32"], encryption="simpleTls"),
    )
    assert list(egress_rules(given)) == [
        {"to": [{"ipBlock": {"cidr": "192.0.2.10/32"}}], "ports": [{"protocol": "TCP", "port": 10389}]},
        {
            "to": [{"ipBlock": {"cidr": "198.51.100.0/28"}}, {"ipBlock": {"cidr": "203.0.113.5/32"}}],
            "ports": [{"protocol": "TCP", "port": 636}],
        },
    ]
    assert egress_rules(settings(saml=saml(), default="saml")) == ()


# ---- the rules


def test_good_settings_have_no_problem() -> None:
    assert found(settings(server(), server("b", user=None), order=[["main", "b"]], saml=saml())) == {}
    assert found(settings(default="core"), passwords=()) == {}


@pytest.mark.parametrize(
    ("given", "path", "words"),
    [
        (settings(default="ldap"), "authentication.default", "at least one server"),
        (settings(default="saml"), "authentication.default", "identity provider"),
        (settings(server(port=636)), "ldap.servers[0].encryption", "simpleTls there"),
        (settings(server(port=3269)), "ldap.servers[0].encryption", "simpleTls there"),
        (settings(server(port=389, encryption="simpleTls")), "ldap.servers[0].encryption", "startTls there"),
        (settings(server(port=636, encryption="none")), "ldap.servers[0].encryption", "use simpleTls"),
        (settings(server(ca=certificate(), encryption="none")), "ldap.servers[0].ca", "encryption is none"),
        (settings(server(ca=certificate(), verify=False)), "ldap.servers[0].ca", "verify is false"),
        (settings(server("other")), "ldap.servers[0].user", "ldapPasswords.other"),
        (settings(server("other")), "ldapPasswords", "main is none of"),
        (settings(server(user=None)), "ldap.servers[0].user", "nobody uses it"),
        (settings(server(), server(host="192.0.2.11")), "ldap.servers", "2 servers are called main"),
        (settings(server(), order=["main", "gone"]), "ldap.order[1]", "gone is no server"),
        (settings(server(), order=["main", ["main"]]), "ldap.order", "main 2 times"),
        (settings(server(), matchUserRegex={"^a": "gone"}), "ldap.matchUserRegex[^a]", "gone is no server"),
        (settings(server(), order=["main"], matchUserRegex={"^a": "main"}), "ldap.order", "exclude each other"),
        (settings(server(), server("b", user=None), order=["main"]), "ldap.servers", "b would never be asked"),
        (settings(server(host="ldap.example")), "ldap.servers[0].egress", "is a name"),
        (settings(server(host="127.0.0.1")), "ldap.servers[0].host", "oned's own pod"),
        (settings(server(host="2001:db8::1")), "ldap.servers[0].host", "IPv6"),
        (settings(server(groupBase="ou=g")), "ldap.servers[0].groupBase", "rfc2307bis: false"),
        (settings(server(raw={"host": "x"})), "ldap.servers[0].raw.host", "typed settings"),
        (settings(server(raw={"password": "x"})), "ldap.servers[0].raw.password", "typed settings"),
        (
            settings(
                server(mappingFilename="x.yaml"), server("b", user=None, mappingFilename="x.yaml", mappingKey="B")
            ),
            "ldap.servers[1].mappingFilename",
            "written by authentication.ldap.servers[0] too",
        ),
        (settings(server(), saml=saml(provider(), provider())), "saml.identityProviders[1].name", "already"),
        (
            settings(server(), saml=saml(provider(mappingDefault=None))),
            "identityProviders[0].mappingDefault",
            "groupReq",
        ),
    ],
)
def test_what_is_refused(given: AuthenticationSettings, path: str, words: str) -> None:
    texts = [f"{where}: {text}" for where, text in found(given).items()]
    assert any(path in text.partition(": ")[0] and words in text for text in texts), texts


def test_saml_needs_version_7_and_a_host_name() -> None:
    given = settings(saml=saml(), default="saml")
    assert "6.10 has no SAML driver" in found(given, passwords=(), version=Version.V6_10)["authentication.saml"]
    assert "acs" in found(given, passwords=(), host=None)["authentication.saml.acsUrl"]
    own = settings(saml=saml(acsUrl="https://other.example/fireedge/api/auth/acs"), default="saml")
    assert found(own, passwords=(), host=None) == {}
    without = dict(problems(own, version=Version.V7_4, passwords=(), fireedge_host=None, fireedge=False))
    assert without.keys() == {"authentication.saml"} and "fireedge.enabled: true" in without["authentication.saml"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"matchUserRegex": {"(": "main"}}, "no regular expression"),
        ({"matchUserRegex": {r"\h+": "main"}}, "only Ruby has"),
        ({"matchUserRegex": {"(?P<user>.*)": "main"}}, "Python"),
        ({"matchUserRegex": {"(a)(b)": "main"}}, "more than one"),
        ({"servers": [server(ca="nonsense")]}, "PEM certificates"),
        ({"servers": [server(base="dc=x\ndc=y")]}, "U+000A"),
        ({"servers": [server(base=" dc=x")]}, "blank"),
        ({"servers": [server(mappingFilename="../x.yaml")]}, "plain file name"),
        ({"servers": []}, "at least 1"),
        ({"servers": [server(password="MARKER")]}, "password"),
    ],
)
def test_single_values_that_are_refused(change: dict[str, Any], words: str) -> None:
    fields = {"servers": [server()]} | change
    with pytest.raises(ValidationError) as caught:
        AuthenticationSettings.model_validate_json(json.dumps({"ldap": fields}))
    assert words in str(caught.value)
    assert "MARKER" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("plain", "mapping"),
        ("[]", "mapping"),
        ('{"main": 1}', "text"),
        ('{"main": ""}', "anonymous"),
        ('{"main": "MARKER\\n"}', "U+000A"),
        ('{"main": "MARKER\\u0000"}', "U+0000"),
        ('{"main": "MARKER\\ud800"}', "U+D800"),
        ('{"main": "' + "M" * 600 + '"}', "longer"),
    ],
)
def test_passwords_that_are_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"main|mapping") as caught:
        check_passwords(text)
    assert words in str(caught.value)
    assert "MARKER" not in str(caught.value)
    assert password_names(text) == frozenset()


def test_passwords_by_server() -> None:
    assert parse_passwords(json.dumps({"main": MARKER})) == {"main": MARKER}
    assert password_names('{"a": "1", "b": "2"}') == {"a", "b"}
    assert password_names(None) == frozenset()


# ---- the check


def test_servers_are_not_looked_at_unless_asked() -> None:
    given = settings(server(host="no.such.host.invalid"), check=False)
    assert given.ldap is not None
    assert list(ldap_check.check_servers(given.ldap, {})) == []


def test_an_unreachable_server_is_named_with_its_path() -> None:
    given = settings(server(host="127.0.0.1", port=1), check=True, checkSeconds=2)
    assert given.ldap is not None
    ((path, text),) = ldap_check.check_servers(given.ldap, {"main": MARKER})
    assert path == "authentication.ldap.servers[0].port"
    assert "nobody listens at 127.0.0.1:1" in text and "check: false" in text
