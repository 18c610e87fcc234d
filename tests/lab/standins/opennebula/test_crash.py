"""oned killed while it boots for the first time: what is left behind, and what has to be done so that it starts again.

Three leftovers, each with its own cure: the lock file (delete it), a schema without users (drop it), `*_auth` files
beside a schema without users (delete them too). With users in the database nothing but the lock file is in the way.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from lab.standins.opennebula.database import MariaDb
from lab.standins.opennebula.local import LocalOned
from tests.contract.endpoint import Endpoint

pytestmark = pytest.mark.database

SLOW = {"ONE_STANDIN_SLOW_BOOT": "60"}


def tables(database: MariaDb) -> set[str]:
    rows = database.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = 'opennebula';")
    return {row[0] for row in rows}


def has(database: MariaDb, table: str) -> bool:
    return table in tables(database)


def users(database: MariaDb) -> int:
    return int(database.sql("SELECT COUNT(*) FROM opennebula.user_pool;")[0][0]) if has(database, "user_pool") else 0


def kill_when(oned: LocalOned, reached: Callable[[], bool], number: signal.Signals = signal.SIGKILL) -> None:
    """Start slowly, and end it as soon as `reached`."""
    oned.environment.update(SLOW)
    process = oned.launch()
    deadline = time.monotonic() + 30
    while not reached():
        assert process.poll() is None, oned.log()
        assert time.monotonic() < deadline, oned.log()
        time.sleep(0.005)
    process.send_signal(number)
    assert process.wait(10) == -number
    oned.environment.clear()


def refused(oned: LocalOned) -> str:
    oned.output.unlink()
    oned.launch()
    assert oned.wait() == 255
    return oned.log()


def serves(oned: LocalOned, database: MariaDb) -> None:
    oned.start()
    assert Endpoint(oned.endpoint, oned.session, own=True).ok("system.version") == "7.4.0"
    assert users(database) == 2


def test_the_lock_file_stays_and_stops_every_start(oned: LocalOned, database: MariaDb) -> None:
    oned.start()
    oned.kill()
    for _ in range(2):
        assert refused(oned) == f"Error: Cannot start oned, opening lock file {oned.lock_file}\n"
    oned.lock_file.unlink()
    serves(oned, database)


def test_killed_while_tables_are_made(oned: LocalOned, database: MariaDb) -> None:
    kill_when(oned, lambda: has(database, "host_pool"))
    oned.lock_file.unlink()
    for _ in range(2):
        said = refused(oned)
        statement = "CREATE INDEX applied_idx on logdb (applied);"
        assert f"SQL command was: {statement}, error 1061 : Duplicate key name 'applied_idx'" in said
        assert said.rstrip().endswith("Error bootstrapping database.")
    assert users(database) == 0
    database.forget()
    serves(oned, database)


def test_killed_between_the_two_stages(oned: LocalOned, database: MariaDb) -> None:
    """The local tables have their version row, so the next start makes only the shared ones, and succeeds."""
    kill_when(oned, lambda: has(database, "group_pool"))
    oned.lock_file.unlink()
    serves(oned, database)


def test_killed_between_credentials_and_users(oned: LocalOned, database: MariaDb) -> None:
    kill_when(oned, (oned.auth / "oneflow_auth").exists)
    oned.lock_file.unlink()
    assert users(database) == 0
    for _ in range(2):
        assert (
            f"Password file {oned.auth.parent}//.one/sunstone_auth already exists but OpenNebula is boostraping the database. "
            "Check your database configuration in oned.conf." in refused(oned)
        )
    for path in oned.auth.glob("*_auth"):
        if path.name != "one_auth":
            path.unlink()
    serves(oned, database)


def test_killed_after_the_users_are_there(oned: LocalOned, database: MariaDb) -> None:
    kill_when(oned, lambda: users(database) == 2)
    oned.lock_file.unlink()
    serves(oned, database)


def test_credentials_that_were_there_before_the_first_boot(oned: LocalOned, database: MariaDb) -> None:
    (oned.auth / "oneflow_auth").write_text("serveradmin:mine\n")
    assert "oneflow_auth already exists but OpenNebula is boostraping the database" in refused_first(oned)
    assert users(database) == 0
    assert (oned.auth / "sunstone_auth").exists()  # made before the one that was in the way


def test_a_signal_before_the_tables_are_made_is_as_bad_as_sigkill(oned: LocalOned, database: MariaDb) -> None:
    kill_when(oned, lambda: has(database, "host_pool"), signal.SIGTERM)
    assert oned.lock_file.exists()


def test_a_database_that_was_lost_while_the_home_survived(oned: LocalOned, database: MariaDb) -> None:
    oned.start()
    oned.stop()
    database.forget()
    assert "already exists but OpenNebula is boostraping the database" in refused(oned)


def test_many_moments(oned: LocalOned, database: MariaDb) -> None:
    """Whenever it is killed, one of the three cures helps; applied as the program does: by what is there, not by
    when.
    """
    for step in range(5):
        database.forget()
        for path in oned.auth.glob("*_auth"):
            if path.name != "one_auth":
                path.unlink()
        process = oned.launch()
        time.sleep(0.15 + 0.12 * step)
        process.kill()
        process.wait(10)
        oned.lock_file.unlink(missing_ok=True)
        if users(database) == 0:
            database.forget()
            for path in oned.auth.glob("*_auth"):
                if path.name != "one_auth":
                    path.unlink()
        serves(oned, database)
        oned.stop()


def refused_first(oned: LocalOned) -> str:
    oned.launch()
    try:
        assert oned.wait() == 255
    except subprocess.TimeoutExpired:
        oned.kill()
        raise
    return oned.log()
