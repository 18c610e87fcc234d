"""The database pod's start script with a real server: which accounts there are, and what each may do."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.mariadb import SCRIPTS

pytestmark = pytest.mark.database

_LIMIT = 60.0  # seconds
_ACCOUNT = "mysql" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


class Pod:
    """The script on one volume, under the account that the pod's image has. Its paths are below `place`."""

    password = "abc123"

    def __init__(self, place: Path) -> None:
        self.place = place
        for name in ("lib", "run", "config", "secret", "tmp"):
            (place / name).mkdir(parents=True)
        self.socket = place / "run" / "sock"
        text = (
            f"[mariadbd]\nsocket = {self.socket}\npid-file = {place}/run/pid\ntmpdir = {place}/tmp\nskip-networking\n"
        )
        (place / "config" / "my.cnf").write_text(text + "innodb-log-file-size = 8M\ninnodb-buffer-pool-size = 16M\n")
        self._own(place)
        script = (SCRIPTS / "mariadb-start.sh").read_text()
        for path, mine in (
            ("/var/lib/mysql", "lib"),
            ("/run/mysqld", "run"),
            ("/etc/one-mariadb", "config"),
            ("/run/secrets/mariadb", "secret"),
            ("/tmp/install.log", "tmp/install.log"),
        ):
            assert path in script
            script = script.replace(path, str(place / mine))
        self._script = script.replace("socket-user=mysql", f"socket-user={_ACCOUNT}")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, user: str = "oneadmin", schema: str = "one_db", password: str = password) -> None:
        self.stop()
        (self.place / "secret" / "password").write_text(password)
        self._own(self.place / "secret" / "password")
        environment = {**os.environ, "DATABASE_USER": user, "DATABASE_NAME": schema}
        log = (self.place / "log").open("wb")
        self._process = subprocess.Popen(
            [*self._as_account(), "sh", "-c", self._script], env=environment, stdout=log, stderr=log
        )
        deadline = time.monotonic() + _LIMIT
        while self._client("SELECT 1").returncode != 0:
            said = (self.place / "log").read_text(errors="replace")[-2000:]
            assert self._process.poll() is None and time.monotonic() < deadline, said
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_LIMIT)
            self._process = None

    def sql(self, statements: str) -> list[str]:
        """As the administrator, which is the account of the server over its socket; rows as text."""
        done = self._client(statements)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def may(self, statements: str, user: str = "oneadmin", password: str = password) -> bool:
        """Whether an account's own login gets this done."""
        return self._client(statements, f"--user={user}", f"--password={password}").returncode == 0

    def accounts(self) -> list[str]:
        """Those that log in over the network."""
        return self.sql("SELECT User FROM mysql.global_priv WHERE Host = '%' ORDER BY User")

    def grants(self, user: str = "oneadmin") -> list[str]:
        """Schemas that an account has a grant for, as the server keeps them."""
        return self.sql(f"SELECT Db FROM mysql.db WHERE User = '{user}'")

    def _client(self, statements: str, *login: str) -> subprocess.CompletedProcess[str]:
        command = ["mariadb", "--no-defaults", f"--socket={self.socket}", "--batch", "--skip-column-names", "--raw"]
        return subprocess.run(
            [*self._as_account(), *command, *(login or (f"--user={_ACCOUNT}",))],
            input=statements,
            capture_output=True,
            text=True,
            check=False,
        )

    def _as_account(self) -> list[str]:
        if os.geteuid() != 0:
            return []
        return ["setpriv", f"--reuid={_ACCOUNT}", f"--regid={_ACCOUNT}", "--clear-groups"]

    def _own(self, place: Path) -> None:
        if os.geteuid() == 0:
            for path in (place, *place.rglob("*")):
                shutil.chown(path, _ACCOUNT, _ACCOUNT)


@pytest.fixture
def pod() -> Iterator[Pod]:
    # Below /tmp itself: pytest's own directory is closed to the server's user.
    place = Path(f"/tmp/mariadb-start-{os.getpid()}")
    found = Pod(place)
    try:
        yield found
    finally:
        found.stop()
        shutil.rmtree(place)


def test_the_account_may_use_its_schema_and_none_of_a_similar_name(pod: Pod) -> None:
    """`_` in the schema of a grant stands for any character, unless it is escaped."""
    pod.start()
    pod.sql("CREATE DATABASE oneXdb; CREATE TABLE oneXdb.t (i INT)")
    assert pod.may("CREATE TABLE one_db.t (i INT); INSERT INTO one_db.t VALUES (1); DROP TABLE one_db.t")
    assert pod.may("DROP DATABASE one_db; CREATE DATABASE one_db"), "a first boot that was cut begins again so"
    assert not pod.may("SELECT * FROM oneXdb.t")
    assert not pod.may("CREATE DATABASE one2db")


def test_a_grant_of_an_older_start_is_taken_back(pod: Pod) -> None:
    pod.start()
    pod.sql("GRANT ALL PRIVILEGES ON `one_db`.* TO 'oneadmin'@'%'; GRANT PROCESS ON *.* TO 'oneadmin'@'%'")
    assert len(pod.grants()) == 2
    for _ in "ab":
        pod.start()
        assert pod.grants() == [r"one\_db"]
    assert not pod.may("SHOW PROCESSLIST; SHOW ENGINE INNODB STATUS")
    pod.start(schema="another")
    assert pod.grants() == ["another"]


def test_the_password_is_that_of_the_secret_at_every_start(pod: Pod) -> None:
    pod.start()
    pod.start(password="def456")
    assert pod.may("SELECT 1", password="def456")
    assert not pod.may("SELECT 1")


def test_an_account_that_another_took_the_place_of_is_dropped_and_a_strangers_is_not(pod: Pod) -> None:
    pod.start(user="first")
    pod.sql("CREATE USER 'backup'@'%' IDENTIFIED BY 'x'; CREATE USER 'first'@'10.0.0.1' IDENTIFIED BY 'x'")
    pod.sql("GRANT SELECT ON `one_db`.* TO 'backup'@'%'")
    pod.start(user="second")
    assert pod.accounts() == ["backup", "second"]
    assert not pod.may("SELECT 1", user="first")
    assert pod.grants("backup") == ["one_db"]
    assert pod.sql("SELECT Host FROM mysql.global_priv WHERE User = 'first'") == ["10.0.0.1"]
    pod.start(user="first")
    assert pod.accounts() == ["backup", "first"], "and back again"
    assert pod.may("CREATE TABLE one_db.t (i INT)", user="first")


def test_a_start_that_was_killed_before_the_server_came_forgets_no_account(pod: Pod) -> None:
    pod.start(user="first")
    pod.stop()
    real = pod._script
    pod._script = real.replace("exec mariadbd", "exit 1; exec mariadbd")
    with pytest.raises(AssertionError):
        pod.start(user="second")
    pod._script = real
    pod.start(user="third")
    assert pod.accounts() == ["third"]


def test_only_names_are_taken_from_the_record_of_accounts(pod: Pod) -> None:
    pod.start()
    record = pod.place / "lib" / "accounts"
    record.write_text("oneadmin\nroot'@'localhost', 'x\n\n*\n")
    pod.start()
    assert pod.accounts() == ["oneadmin"]
    assert pod.sql("SELECT User FROM mysql.global_priv WHERE User = 'root'") == ["root"]
    assert pod.may("SELECT 1")
