"""MariaDB as oned uses it: connect once with every connection of the pool, or give up; reconnect a lost one when it is
used.

Does not retry a refused connection, create users or change the server. Every statement that fails is logged with its
text. Source: OpenNebula 7.4.0 src/sql/MySqlDB.cc.
"""

from __future__ import annotations

import queue
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pymysql
from pymysql.connections import Connection

from standin.config import Config, ConfigError
from standin.log import Log

_REFUSED = 2003
_GONE = (2006, 2013)

Row = tuple[Any, ...]


class SqlError(Exception):
    """A statement that failed for good; already logged. `number` is the server's or the client library's."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number


class Database:
    """A pool of connections to one schema.

    :raises ConfigError: for a backend that is not mysql.
    :raises RuntimeError: when the server refuses a connection or the character sets differ.
    """

    def __init__(self, config: Config, connections: int, log: Log) -> None:
        settings = config.section("DB")
        backend = settings.get("BACKEND", "")
        if backend == "sqlite":
            raise ConfigError("DB BACKEND sqlite: the rehearsal stand-in keeps its state in MariaDB only.")
        if backend != "mysql":
            raise ConfigError("DB BACKEND must be sqlite or mysql.")
        self._log = log
        self._name = settings.get("DB_NAME", "opennebula")
        server = settings.get("SERVER", "localhost")
        self._target: dict[str, Any] = {
            "user": settings.get("USER", "oneadmin"),
            "password": settings.get("PASSWD", "oneadmin"),
            "autocommit": True,
        }
        if server == "localhost":
            self._target["unix_socket"] = "/run/mysqld/mysqld.sock"
        else:
            self._target["host"] = server
            self._target["port"] = config.integer("DB", "PORT", default=0) or 3306
        self._charset = settings.get("ENCODING", "")
        self._prepare_schema()
        self._idle: queue.LifoQueue[Connection[Any]] = queue.LifoQueue()
        for _ in range(connections + 1):  # one more, which the real client library keeps for escaping
            self._idle.put(self._connect(self._name))
        log.info("ONE", f"Set up {connections} DB connections using encoding {self._charset}")
        self._log_server()

    def query(self, sql: str, arguments: Sequence[object] = ()) -> list[Row]:
        """All rows of a statement.

        :raises SqlError: when it fails, or the connection is lost and cannot be had again.
        """
        with self._borrow() as connection:
            return self._run(connection, sql, arguments)

    def execute(self, sql: str, arguments: Sequence[object] = ()) -> None:
        """:raises SqlError: as `query`."""
        self.query(sql, arguments)

    def attempt(self, sql: str, arguments: Sequence[object] = ()) -> bool:
        """Run a statement whose failure the caller only counts."""
        try:
            self.query(sql, arguments)
        except SqlError:
            return False
        return True

    def close(self) -> None:
        while not self._idle.empty():
            connection = self._idle.get_nowait()
            if connection.open:
                connection.close()

    def _prepare_schema(self) -> None:
        connection = self._connect(None, charset="utf8mb4")
        try:
            with connection.cursor() as cursor:
                try:
                    cursor.execute(f"CREATE DATABASE IF NOT EXISTS {self._name}")
                except pymysql.MySQLError as error:
                    self._log.error("ONE", f"CREATE DATABASE IF NOT EXISTS {self._name}: {error.args[-1]}")
                    raise RuntimeError("Could not create the database.") from None
                if self._charset:
                    return
                cursor.execute(
                    "SELECT default_character_set_name FROM information_schema.SCHEMATA WHERE schema_name = %s",
                    (self._name,),
                )
                schema = cursor.fetchone()
                cursor.execute(
                    "SELECT c.character_set_name FROM information_schema.TABLES t "
                    "JOIN information_schema.COLLATION_CHARACTER_SET_APPLICABILITY c "
                    "ON c.collation_name = t.table_collation "
                    "WHERE t.table_schema = %s AND t.table_name = 'system_attributes'",
                    (self._name,),
                )
                table = cursor.fetchone()
        finally:
            connection.close()
        if schema is None:
            raise RuntimeError("Could not read databse encoding")
        if table is not None and table[0] != schema[0]:
            raise RuntimeError(f"Database and table charsets ({schema[0]}, {table[0]}) differs")
        self._charset = str(schema[0])

    def _connect(self, schema: str | None, charset: str | None = None) -> Connection[Any]:
        try:
            return pymysql.connect(**self._target, database=schema, charset=charset or self._charset)
        except pymysql.MySQLError as error:
            raise RuntimeError(f"Could not open connect to database server: {self._cause(error)}") from None

    def _cause(self, error: pymysql.MySQLError) -> str:
        """In the words of the C client, which people and scripts look for."""
        original = getattr(error, "original_exception", None)
        if isinstance(original, socket.gaierror):
            return f"Unknown server host '{self._target['host']}' ({original.errno})"
        if error.args[0] == _REFUSED and "host" in self._target:
            return f"Can't connect to server on '{self._target['host']}' (115)"
        return str(error.args[-1])

    def _log_server(self) -> None:
        version = str(self.query("SELECT @@GLOBAL.version")[0][0])
        numbers = [int(part) for part in version.split("-", 1)[0].split(".")[:3]]
        number = numbers[0] * 10000 + numbers[1] * 100 + numbers[2]
        self._log.info("ONE", f"Using {version.lower()} ({number}) with:")
        enabled = number >= (100200 if "mariadb" in version.lower() else 50708)
        self._log.info("ONE", f"\tJSON queries {'enabled' if enabled else 'disabled'}")

    @contextmanager
    def _borrow(self) -> Iterator[Connection[Any]]:
        connection = self._idle.get()
        try:
            yield connection
        finally:
            self._idle.put(connection)

    def _run(self, connection: Connection[Any], sql: str, arguments: Sequence[object]) -> list[Row]:
        try:
            try:
                return self._send(connection, sql, arguments)
            except pymysql.MySQLError as error:
                number = error.args[0] if isinstance(error, pymysql.OperationalError) else 0
                if not isinstance(error, pymysql.InterfaceError) and number not in _GONE:
                    raise
                self._reconnect(connection, error)
                return self._send(connection, sql, arguments)
        except pymysql.MySQLError as error:
            number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
            self._log.error("ONE", f"SQL command was: {sql}, error {number} : {error.args[-1]}")
            raise SqlError(number, str(error.args[-1])) from None

    def _reconnect(self, connection: Connection[Any], error: pymysql.MySQLError) -> None:
        lost = f"MySQL connection error {error.args[0] or _GONE[0]} : {error.args[-1]}"
        try:
            connection.connect()
        except pymysql.MySQLError as refused:
            self._log.error("ONE", f"{lost}... Reconnection attempt failed.")
            raise SqlError(_GONE[0], str(refused.args[-1])) from None

    @staticmethod
    def _send(connection: Connection[Any], sql: str, arguments: Sequence[object]) -> list[Row]:
        with connection.cursor() as cursor:
            cursor.execute(sql, arguments or None)
            return list(cursor.fetchall())
