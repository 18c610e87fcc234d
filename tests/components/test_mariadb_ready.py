"""The database pod's readiness script against a real server: it wants what oned wants, not an answer alone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.mariadb import SCRIPTS
from lab.standins.opennebula.database import MariaDb

pytestmark = pytest.mark.database


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDb]:
    # Below /tmp itself: pytest's own directory is closed to the server's user.
    directory = Path(f"/tmp/mariadb-ready-{os.getpid()}")
    with MariaDb(directory) as found:
        found.sql(f"CREATE DATABASE IF NOT EXISTS `{found.schema}`")
        yield found
    subprocess.run(["rm", "-rf", directory], check=True)


def ready(server: MariaDb, place: Path, *, password: str | None = None, schema: str | None = None) -> bool:
    (place / "my.cnf").write_text(f"[client]\nport = {server.port}\n[mariadbd]\nskip-name-resolve\n")
    (place / "password").write_text(password or server.password)
    script = (SCRIPTS / "mariadb-ready.sh").read_text()
    script = script.replace("/etc/one-mariadb", str(place)).replace("/run/secrets/mariadb", str(place))
    environment = {**os.environ, "DATABASE_USER": server.user, "DATABASE_NAME": schema or server.schema}
    command = ["sh", "-c", script]
    return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False).returncode == 0


def test_ready_is_a_login_of_oneds_account_to_its_schema(server: MariaDb, tmp_path: Path) -> None:
    assert ready(server, tmp_path)


def test_a_server_that_refuses_the_login_or_lacks_the_schema_is_not_ready(server: MariaDb, tmp_path: Path) -> None:
    assert not ready(server, tmp_path, password="another")
    assert not ready(server, tmp_path, schema="another")


def test_a_password_of_any_characters(server: MariaDb, tmp_path: Path) -> None:
    password = "a'b\\nc# \"d;e=f"
    quoted = password.replace("\\", "\\\\").replace("'", "\\'")
    server.sql(f"ALTER USER '{server.user}'@'%' IDENTIFIED BY '{quoted}';")
    try:
        assert ready(server, tmp_path, password=password)
    finally:
        server.sql(f"ALTER USER '{server.user}'@'%' IDENTIFIED BY '{server.password}';")


def test_a_server_that_is_away_is_not_ready(server: MariaDb, tmp_path: Path) -> None:
    server.stop()
    assert not ready(server, tmp_path)
    server.start()
    assert ready(server, tmp_path)
