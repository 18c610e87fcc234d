"""Configuration with its compiled defaults."""

from __future__ import annotations

from pathlib import Path

import pytest
from standin.config import HIDDEN, Config, ConfigError, load_monitord, load_oned
from standin.template import Template, TemplateError

from lab.standins.opennebula.loopback import ROOT

RAFT = {
    "LIMIT_PURGE": "100000",
    "LOG_RETENTION": "500000",
    "LOG_PURGE_TIMEOUT": "600",
    "ELECTION_TIMEOUT_MS": "1500",
    "BROADCAST_TIMEOUT_MS": "500",
    "XMLRPC_TIMEOUT_MS": "100",
}


def load(path: Path, text: str) -> Config:
    path.write_text(text)
    return load_oned(path, Path("/var/lib/one"))


def test_what_the_file_leaves_out_has_its_compiled_value(tmp_path: Path) -> None:
    config = load(tmp_path / "oned.conf", "")
    assert (config.get("PORT"), config.get("SESSION_EXPIRATION_TIME")) == ("2633", "0")
    assert config.section("RAFT") == RAFT
    assert config.section("DB") == {"BACKEND": "sqlite", "TIMEOUT": "2500"}
    assert (config.vectors("IM_MAD"), config.vectors("HM_MAD")) == ([], [])
    assert len(config.vectors("SCHED_MAD")) == 1
    assert config.get("DATASTORE_LOCATION") == "/var/lib/one/datastores"


def test_the_first_of_two_equal_names_counts(tmp_path: Path) -> None:
    config = load(tmp_path / "oned.conf", "PORT = 1\nPORT = 2\nDB = [ BACKEND = a ]\nDB = [ BACKEND = b ]\n")
    assert (config.integer("PORT"), config.section("DB")["BACKEND"]) == (1, "a")


def test_vectors_do_not_merge_with_their_defaults(tmp_path: Path) -> None:
    config = load(tmp_path / "oned.conf", "RAFT = [ ELECTION_TIMEOUT_MS = 5000 ]\n")
    assert config.integer("RAFT", "ELECTION_TIMEOUT_MS") == 5000
    with pytest.raises(ConfigError, match=r"RAFT/LOG_RETENTION has no number .*uninitialised integer"):
        config.integer("RAFT", "LOG_RETENTION")


def test_named_defaults_come_beside_the_named_vectors_of_the_file(tmp_path: Path) -> None:
    config = load(tmp_path / "oned.conf", 'AUTH_MAD_CONF = [ NAME = "core", PASSWORD_CHANGE = "NO" ]\n')
    core = [vector for vector in config.vectors("AUTH_MAD_CONF") if vector["NAME"] == "core"]
    assert core == [{"NAME": "core", "PASSWORD_CHANGE": "NO"}]
    assert {vector["NAME"] for vector in config.vectors("AUTH_MAD_CONF")} >= {"ldap", "server_cipher"}


def test_a_scalar_where_a_vector_belongs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="RAFT is not a vector"):
        load(tmp_path / "oned.conf", "RAFT = 1\n").integer("RAFT", "LIMIT_PURGE")


@pytest.mark.parametrize(
    ("log", "system"), [('SYSTEM = "STD"', "std"), ("SYSTEM = File", "file"), ("SYSTEM = syslog", "syslog")]
)
def test_log_systems(tmp_path: Path, log: str, system: str) -> None:
    assert load(tmp_path / "oned.conf", f"LOG = [ {log} ]\n").log_system() == system


@pytest.mark.parametrize("log", ["SYSTEM = stdout", "DEBUG_LEVEL = 3"])
def test_other_log_systems_are_refused(tmp_path: Path, log: str) -> None:
    with pytest.raises(ConfigError, match=r"Unknown LOG_SYSTEM\."):
        load(tmp_path / "oned.conf", f"LOG = [ {log} ]\n").log_system()


def test_a_syntax_error_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="Could not load nebula configuration file"):
        load(tmp_path / "oned.conf", "A = 1\nDB = [ BACKEND = mysql, ]\n")
    assert capsys.readouterr().out.startswith(
        "\nError while parsing configuration file: syntax error, unexpected CBRACKET, expecting VARIABLE at line 3, "
    )


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError):
        load_oned(tmp_path / "oned.conf", tmp_path)
    assert "Error while parsing configuration file: Error opening template file" in capsys.readouterr().out


def test_what_follows_a_cdata_end_is_lost_without_a_word(tmp_path: Path) -> None:
    config = load(tmp_path / "oned.conf", 'PORT = 1\nONEGATE_ENDPOINT = "]]>"\nPORT = 2\nMAX_CONN = 99\n')
    assert (config.get("PORT"), config.get("MAX_CONN")) == ("1", "15")


def test_the_shipped_files_are_complete() -> None:
    oned = load_oned(ROOT / "etc/one/oned.conf", Path("/var/lib/one"))
    assert {key: oned.integer("RAFT", key) for key in RAFT}["ELECTION_TIMEOUT_MS"] == 5000
    assert [vector["NAME"] for vector in oned.vectors("VM_MAD")] == ["kvm", "qemu", "lxc"]
    monitord = load_monitord(ROOT / "etc/one/monitord.conf")
    assert monitord.section("NETWORK")["MONITOR_ADDRESS"] == "auto"
    assert [vector["NAME"] for vector in monitord.vectors("IM_MAD")] == ["kvm", "qemu", "lxc"]


def test_monitord_defaults_have_no_monitor_address(tmp_path: Path) -> None:
    (tmp_path / "monitord.conf").write_text("")
    config = load_monitord(tmp_path / "monitord.conf")
    assert config.section("NETWORK") == {"ADDRESS": "0.0.0.0", "PORT": "4124", "THREADS": "16"}
    assert config.section("PROBES_PERIOD")["MONITOR_VM"] == "90"


def test_database_credentials_are_masked() -> None:
    config = Config([("DB", {"BACKEND": "mysql", "PASSWD": "secret", "CONNECTIONS": "5"}), ("PORT", "1")])
    assert config.text(HIDDEN) == "DB=BACKEND=***,CONNECTIONS=5,PASSWD=***\nPORT=1\n"
    assert "secret" not in config.xml(hidden=HIDDEN)
    assert "secret" in config.xml()


def test_templates_of_the_api() -> None:
    assert list(Template.parse("<T><A> x </A><V><K>1</K></V></T>")) == [("A", "x"), ("V", {"K": "1"})]
    with pytest.raises(TemplateError, match=r"^Parse error: XML Template malformed\.$"):
        Template.parse("<T><A></T>")
    with pytest.raises(TemplateError, match=r"^Parse error\.$"):
        Template.parse('A = "]]>"')
