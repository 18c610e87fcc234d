"""A throw-away MariaDB on loopback for one test run: own directory, own port, an unprivileged process, nothing durable.

Not for the lab's cluster, which runs MariaDB as the program deploys it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_ACCOUNT = "mysql"


class DatabaseError(RuntimeError):
    """MariaDB is missing or does not start; the message has the next command or the log's end."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MariaDb:
    """`user` may do everything in schema `schema` and nothing outside, and nothing exists in it.

    `directory` is created and belongs to the server; remove it yourself.
    """

    user = "oneadmin"
    password = "loopback-only"
    schema = "opennebula"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._data = directory / "data"
        self._log = directory / "mariadbd.log"
        self.socket = directory / "sock"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start, with a fresh data directory the first time.

        :raises DatabaseError: when Debian's mariadb-server is not installed or the server does not answer in 60 s.
        """
        server, installer = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
        if server is None or installer is None:
            raise DatabaseError(
                "MariaDB is not installed. Next: apt-get install --no-install-recommends mariadb-server"
            )
        # Nothing of it in the shared /tmp, where others clean up.
        own = ["--no-defaults", f"--datadir={self._data}", f"--tmpdir={self._directory}"]
        fresh = not self._data.exists()
        if fresh:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._own()
            self._run([installer, *own, "--skip-test-db", *self._as_account()])
        self._process = subprocess.Popen(
            [
                server,
                *own,
                f"--socket={self.socket}",
                f"--port={self.port}",
                f"--log-error={self._log}",
                f"--pid-file={self._directory / 'pid'}",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                "--character-set-server=utf8mb4",
                "--collation-server=utf8mb4_general_ci",
                "--transaction-isolation=READ-COMMITTED",
                "--innodb-buffer-pool-size=16M",
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-log-file-size=8M",
                "--innodb-flush-method=nosync",
                *self._as_account(),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()
        if fresh:
            self.sql(
                f"CREATE USER '{self.user}'@'%' IDENTIFIED BY '{self.password}';"
                f"GRANT ALL ON `{self.schema}`.* TO '{self.user}'@'%';"
            )

    def stop(self) -> None:
        """Stop; data stays until the directory goes."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def sql(self, statements: str) -> list[list[str]]:
        """Run statements as the server's administrator; rows as text.

        :raises DatabaseError: with the server's message.
        """
        command = ["mariadb", "--no-defaults", f"--socket={self.socket}", "--batch", "--skip-column-names", "--raw"]
        account = [] if os.geteuid() == 0 else [f"--user={_current_user()}"]
        result = subprocess.run([*command, *account], input=statements, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise DatabaseError(result.stderr.strip())
        return [line.split("\t") for line in result.stdout.splitlines()]

    def forget(self) -> None:
        """Drop the schema: as if oned had never been there."""
        self.sql(f"DROP DATABASE IF EXISTS `{self.schema}`;")

    def _own(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self._directory, _ACCOUNT)

    def _as_account(self) -> list[str]:
        return [f"--user={_ACCOUNT}"] if os.geteuid() == 0 else []

    def _run(self, command: list[str]) -> None:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise DatabaseError(f"{command[0]} failed: {result.stderr or result.stdout}")

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.sql("SELECT 1;")
            except DatabaseError as error:
                ended = self._process is None or self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    tail = self._log.read_text(errors="replace")[-2000:] if self._log.exists() else "(no log)"
                    self.stop()
                    raise DatabaseError(f"MariaDB did not start: {error}\n{tail}") from None
                time.sleep(0.05)
            else:
                return


def _current_user() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name
