"""What oned needs to start, what its first boot leaves, and how it refuses."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from lab.standins.opennebula.database import MariaDb, free_port
from lab.standins.opennebula.local import LocalOned, OnedError
from tests.contract.endpoint import Endpoint

pytestmark = pytest.mark.database

CREDENTIALS = ("sunstone_auth", "onegate_auth", "oneflow_auth", "oneform_auth", "oneks_auth")


def refused(oned: LocalOned, *arguments: str) -> str:
    """All that a start that fails says; it must end by itself, with 255 and without its lock file."""
    oned.launch(*arguments)
    assert oned.wait() == 255
    assert not oned.lock_file.exists()
    return oned.log()


def api(oned: LocalOned) -> Endpoint:
    return Endpoint(oned.endpoint, oned.session, own=True)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_boot(oned: LocalOned, database: MariaDb) -> None:
    oned.start()
    secrets = {(oned.auth / name).read_text() for name in CREDENTIALS}
    assert len(secrets) == 1
    found = re.fullmatch(r"serveradmin:([0-9a-f]{64})\n", secrets.pop())
    assert found
    assert [mode(oned.auth / name) for name in (*CREDENTIALS, "one_key")] == [0o600] * 6
    assert re.fullmatch(r"[0-9a-f]{64}", (oned.auth / "one_key").read_text())
    hashes = {row[0]: row[1] for row in database.sql(
        "SELECT oid, ExtractValue(body, '/USER/PASSWORD') FROM opennebula.user_pool;")}  # fmt: skip
    assert hashes == {
        "0": hashlib.sha256(b"rehearsal").hexdigest(),
        "1": hashlib.sha256(found.group(1).encode()).hexdigest(),
    }
    assert database.sql(
        "SELECT version FROM opennebula.db_versioning UNION SELECT version FROM opennebula.local_db_versioning;"
    ) == [["7.4.0"]]
    assert "Starting OpenNebula 7.4.0 rehearsal stand-in" in oned.log()
    config = (oned.directory / "var" / "config").read_text()
    assert "DB=BACKEND=***,CONNECTIONS=5,DB_NAME=***,PASSWD=***,PORT=***,SERVER=***,USER=***\n" in config
    assert "SCRIPTS_REMOTE_DIR=/var/tmp/one\n" in config
    assert database.password not in config + oned.log()
    assert oned.lock_file.exists()


def test_state_survives_a_restart_and_sigterm_is_a_clean_end(oned: LocalOned) -> None:
    oned.start()
    host = api(oned).host("kept")
    key = (oned.auth / "one_key").read_text()
    assert oned.stop() == 0
    assert not oned.lock_file.exists()
    oned.start()
    assert api(oned).xml("host.info", host).findtext("NAME") == "kept"
    assert (oned.auth / "one_key").read_text() == key
    assert api(oned).host() == host + 1


def test_an_update_that_would_be_no_xml_succeeds_and_changes_nothing(oned: LocalOned) -> None:
    """Not among the contract tests: the real onemonitord dies of it (7.4.0)."""
    with oned:
        host = api(oned).host()
        assert api(oned).ok("host.update", host, "LABEL = z\nV = [ 1ST = x ]", 1) == host
        assert api(oned).xml("host.info", host).findtext("TEMPLATE/LABEL") is None


def test_the_zone_endpoint_is_localhost_unless_master_oned_says_otherwise(oned: LocalOned, database: MariaDb) -> None:
    oned.start()
    assert api(oned).xml("zone.info", 0).findtext("TEMPLATE/ENDPOINT") == f"http://localhost:{oned.port}/RPC2"
    oned.stop()
    database.forget()
    for name in CREDENTIALS:
        (oned.auth / name).unlink()
    oned.oned_conf["FEDERATION"] = {
        "MODE": "STANDALONE",
        "SERVER_ID": -1,
        "MASTER_ONED": "http://oned.cloud.svc:2633/RPC2",
    }
    oned.start()
    assert api(oned).xml("zone.info", 0).findtext("TEMPLATE/ENDPOINT") == "http://oned.cloud.svc:2633/RPC2"


def test_a_database_that_is_not_there_is_not_waited_for(oned: LocalOned) -> None:
    settings = oned.oned_conf["DB"]
    assert not isinstance(settings, str | int)
    oned.oned_conf["DB"] = {**settings, "PORT": free_port()}
    assert "Could not open connect to database server: Can't connect to server on '127.0.0.1' (115)" in refused(oned)
    assert list(oned.auth.glob("*_auth")) == [oned.auth / "one_auth"]
    oned.oned_conf["DB"] = {**settings, "SERVER": "mariadb.invalid"}
    assert "Could not open connect to database server: Unknown server host 'mariadb.invalid' (-2)" in refused(oned)
    oned.oned_conf["DB"] = {**settings, "PASSWD": "wrong"}
    assert "Access denied for user 'oneadmin'@'127.0.0.1' (using password: YES)" in refused(oned)
    oned.oned_conf["DB"] = settings
    oned.start()


def test_an_account_that_may_not_make_the_schema(oned: LocalOned) -> None:
    settings = oned.oned_conf["DB"]
    assert not isinstance(settings, str | int)
    oned.oned_conf["DB"] = {**settings, "DB_NAME": "elsewhere"}
    assert "Could not create the database." in refused(oned)


def test_character_sets_that_differ(oned: LocalOned, database: MariaDb) -> None:
    database.sql("CREATE DATABASE opennebula CHARACTER SET utf8mb4;")
    database.sql("CREATE TABLE opennebula.system_attributes (name VARCHAR(8)) CHARACTER SET latin1;")
    assert "Database and table charsets (utf8mb4, latin1) differs" in refused(oned)


@pytest.mark.parametrize("version", ["7.2.0", "7.6.0"])
def test_tables_of_another_version(oned: LocalOned, database: MariaDb, version: str) -> None:
    oned.start()
    oned.stop()
    database.sql(f"UPDATE opennebula.local_db_versioning SET version = '{version}';")
    said = refused(oned)
    assert f"needs DB version '7.4.0', and existing DB version is '{version}'." in said
    assert "Use onedb to upgrade DB." in said
    assert said.rstrip().endswith("Database version mismatch. Check oned.log.")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"MODE": "STANDALONE", "SERVER_ID": 0}, "Database has to be bootstraped to start oned in HA"),
        ({"MODE": "ALONE"}, "FEDERATION MODE must be one of STANDALONE, MASTER, SLAVE or CACHE."),
        ({"SERVER_ID": -1}, "FEDERATION MODE must be one of STANDALONE, MASTER, SLAVE or CACHE."),
        ({"MODE": "CACHE"}, "MASTER_ONED and MASTER_ONED_GRPC endpoints are missing."),
    ],
)
def test_modes(oned: LocalOned, section: dict[str, str | int], message: str) -> None:
    oned.oned_conf["FEDERATION"] = section
    assert message in refused(oned)


def test_an_incomplete_raft_vector(oned: LocalOned) -> None:
    oned.oned_conf["RAFT"] = {"ELECTION_TIMEOUT_MS": 5000}
    assert "RAFT/LOG_PURGE_TIMEOUT has no number" in refused(oned)


def test_unknown_backends_and_logs(oned: LocalOned) -> None:
    oned.oned_conf["LOG"] = {"SYSTEM": "stdout"}
    assert "Unknown LOG_SYSTEM." in refused(oned)
    oned.oned_conf["LOG"] = {"SYSTEM": "std", "DEBUG_LEVEL": 3}
    oned.oned_conf["DB"] = {"BACKEND": "postgresql"}
    assert "DB BACKEND must be sqlite or mysql." in refused(oned)
    oned.oned_conf["DB"] = {"BACKEND": "sqlite"}
    assert "keeps its state in MariaDB only" in refused(oned)


def test_a_syntax_error_in_the_file(oned: LocalOned) -> None:
    oned.oned_conf["BROKEN"] = 'x"\nDB = [ A = 1, ]\nC = "'
    said = refused(oned)
    assert (
        "Error while parsing configuration file: syntax error, unexpected CBRACKET, expecting VARIABLE at line" in said
    )
    assert "Could not load nebula configuration file." in said


def test_a_driver_whose_executable_is_missing(oned: LocalOned) -> None:
    oned.oned_conf["HM_MAD"] = {"EXECUTABLE": "one_nothing"}
    said = refused(oned)
    assert re.search(r"\[DrM\]\[E\]: File not exists: .*/one_nothing", said)
    assert "Could not load an OpenNebula driver" in said


@pytest.mark.parametrize("kind", ["HM_MAD", "TM_MAD", "DATASTORE_MAD", "MARKET_MAD"])
def test_kinds_of_drivers_that_are_needed(oned: LocalOned, kind: str) -> None:
    oned.shipped["oned.conf"] = oned.shipped["oned.conf"].replace(f"\n{kind} =", "\nUNUSED =")
    said = refused(oned)
    assert re.search(r"Failed to load \w+ Manager driver\.", said)
    assert "Could not load an OpenNebula driver" in said


def test_kinds_of_drivers_that_are_not_needed(oned: LocalOned) -> None:
    for kind in ("VM_MAD", "AUTH_MAD", "IPAM_MAD", "SCHED_MAD", "IM_MAD"):
        oned.shipped["oned.conf"] = oned.shipped["oned.conf"].replace(f"\n{kind} =", "\nUNUSED =")
    with oned:
        assert api(oned).xml("host.info", api(oned).host()).findtext("STATE") == "0"
    assert "Could not find information driver 'monitord'" in oned.log()


def test_a_driver_that_does_not_come_up(oned: LocalOned, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    oned.oned_conf["AUTH_MAD"] = {"EXECUTABLE": str(broken)}
    assert "Driver initialization failed, expected INIT SUCCESS message" in refused(oned)
    assert all((oned.auth / name).exists() for name in CREDENTIALS)  # that late, the first boot is over


@pytest.mark.parametrize(
    ("setting", "value", "cause"),
    [
        ("LOG", {"SYSTEM": "std"}, "expected INIT SUCCESS"),
        ("NETWORK", {"ADDRESS": "192.0.2.1", "PORT": 4124, "THREADS": 1}, "expected INIT SUCCESS"),
        ("NETWORK", {"ADDRESS": "127.0.0.1", "THREADS": 1}, "expected INIT SUCCESS"),
        ("IM_MAD", {"NAME": "kvm", "EXECUTABLE": "one_im_nothing"}, "expected INIT SUCCESS"),
    ],
)
def test_a_monitor_daemon_that_does_not_come_up(
    oned: LocalOned, setting: str, value: dict[str, str | int], cause: str
) -> None:
    oned.monitord_conf[setting] = value
    said = refused(oned)
    assert cause in said
    assert "Could not start the Information Manager" in said


def test_an_address_that_is_taken(oned: LocalOned) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", oned.port))
        said = refused(oned)
    assert f"Cannot bind to 127.0.0.1:{oned.port} : Address already in use" in said
    assert "Could not start the Request Manager (XML-RPC)" in said


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "Error reading one_auth: Could not open file"),
        ("", "Error reading one_auth: Error reading file"),
        ("no colon\n", "Wrong format must be <username>:<password>"),
        ("serveradmin:x\n", "The name 'serveradmin' is reserved"),
        ("oneadmin:two words\n", "Error creating oneadmin user: Invalid password, character ' ' is not allowed."),
    ],
)
def test_one_auth(oned: LocalOned, content: str | None, cause: str) -> None:
    path = oned.auth / "one_auth"
    path.unlink()
    if content is not None:
        path.write_text(content)
    said = refused(oned)
    assert cause in said
    assert said.rstrip().endswith("Error Initializing OpenNebula pools")


def test_the_host_name_must_resolve_when_it_is_not_given(oned: LocalOned) -> None:
    oned.oned_conf["HOSTNAME"] = ""
    oned.directory.joinpath("bin").unlink()
    (oned.directory / "bin").mkdir()
    script = oned.directory / "bin" / "oned"
    script.write_text(
        "#!/usr/bin/python3\nimport os, socket, sys\nsys.path.insert(0, os.environ['ONE_LOCATION'] + '/lib')\n"
        "socket.gethostname = lambda: 'pod-0.invalid'\nfrom standin.oned import run\nrun()\n"
    )
    script.chmod(0o755)
    assert "Unable to resolve hostname 'pod-0.invalid': " in refused(oned)


def test_the_log_may_be_a_file(oned: LocalOned) -> None:
    oned.oned_conf["LOG"] = {"SYSTEM": "file", "DEBUG_LEVEL": 3}
    oned.start()
    log = (oned.directory / "var" / "oned.log").read_text()
    assert re.search(
        r"^\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4} \[Z0\]\[ONE\]\[I\]: Using hostname: localhost$", log, re.M
    )
    assert "[ONE]" not in oned.log()


def test_init_db_makes_tables_and_no_users(oned: LocalOned, database: MariaDb) -> None:
    oned.launch("-i")
    assert oned.wait() == 0
    assert database.sql("SELECT COUNT(*) FROM opennebula.user_pool;") == [["0"]]
    assert list(oned.auth.glob("sunstone_auth")) == []
    oned.start()
    assert database.sql("SELECT COUNT(*) FROM opennebula.user_pool;") == [["2"]]


def test_command_line(oned: LocalOned) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [oned.directory / "bin" / "oned", *arguments],
            env={**os.environ, "ONE_LOCATION": str(oned.directory)},
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )

    assert run("-v").stdout.splitlines()[1:] == ["", "OpenNebula 7.4.0 rehearsal stand-in"]
    assert "--foreground" in run("--help").stdout
    assert (run("-x").returncode, run("-x").stderr) == (255, "Usage: oned [-h] [-v] [-f] [-i]\n")


def test_two_cannot_run_at_once(oned: LocalOned) -> None:
    oned.start()
    result = subprocess.run(
        [oned.directory / "bin" / "oned", "-f"],
        env={**os.environ, "ONE_LOCATION": str(oned.directory)},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert (result.returncode, result.stderr) == (
        255, f"Error: Cannot start oned, opening lock file {oned.lock_file}\n",
    )  # fmt: skip
    assert oned.lock_file.exists()


def test_a_lost_connection_is_had_again_when_it_is_used(oned: LocalOned, database: MariaDb) -> None:
    oned.start()
    for row in database.sql("SELECT id FROM information_schema.processlist WHERE user = 'oneadmin';"):
        database.sql(f"KILL {row[0]};")
    assert api(oned).ok("system.version") == "7.4.0"
    assert "[E]" not in oned.log().split("Request Manager started")[1]


def test_a_monitor_daemon_that_dies_is_started_again(oned: LocalOned) -> None:
    oned.start()
    found = subprocess.run(
        ["pgrep", "-f", f"{oned.directory}/lib/mads/onemonitord"], capture_output=True, text=True, check=True
    )
    before = int(found.stdout)
    os.kill(before, 9)
    for _ in range(100):
        found = subprocess.run(
            ["pgrep", "-f", f"{oned.directory}/lib/mads/onemonitord"], capture_output=True, text=True, check=False
        )
        if (
            found.stdout.strip()
            and int(found.stdout.split()[0]) != before
            and oned.monitor_log().count("Raft status: SOLO") == 2
        ):
            return
        subprocess.run(["sleep", "0.1"], check=True)
    raise OnedError(oned.monitor_log())
