"""One run of a command on a host."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import asyncssh
from asyncssh.packet import String

from lab.plugins.command.dial import dial, hang_up
from lab.plugins.command.output import CommandFailed, Output
from lab.plugins.errors import PluginError


@dataclass(frozen=True)
class Variables:
    """Environment of a run. What is not required may be refused by the server; that is only worth a warning."""

    required: Mapping[str, str]
    optional: Mapping[str, str] = field(default_factory=dict)


async def run(
    command: str,
    inputs: Mapping[str, Any],
    variables: Variables,
    *,
    show: Callable[[str], None],
    warn: Callable[[str], None],
) -> Output:
    """Run `command` over the inputs' connection, with their stdin.

    Raises PluginError when there is no connection or the server (sshd's AcceptEnv) refuses a required variable: then
    nothing ran. Raises CommandFailed when the command does not succeed.
    """
    connection = await dial(inputs["connection"], show)
    try:
        session = _Session(Output(inputs.get("logging"), show), variables)
        await _run(connection, command, session, inputs.get("stdin") or "")
    finally:
        await hang_up(connection)
    for variable in session.refused:
        warn(f"environment variable {variable} is not accepted by the server (sshd's AcceptEnv) and left out")
    return session.output


class _Session(asyncssh.SSHClientSession[bytes]):
    """Sends the variables, collects the output, and knows which variables the server refused."""

    def __init__(self, output: Output, variables: Variables) -> None:
        self.output, self._variables = output, variables
        self.refused: list[str] = []

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        if self._variables.required or self._variables.optional:
            self._send_before_the_command(chan)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self.output.write("stderr" if datatype == asyncssh.EXTENDED_DATA_STDERR else "stdout", data)

    def _send_before_the_command(self, channel: Any) -> None:
        """asyncssh sends variables without asking for an answer, so a refusal goes unnoticed; the official asks."""
        request = channel._make_request

        async def with_variables(name: bytes, *arguments: bytes) -> bool | None:
            if name == b"exec":
                for variable, value in (*self._variables.required.items(), *self._variables.optional.items()):
                    if not await request(b"env", String(variable), String(value)):
                        self.refused.append(variable)
                        if variable in self._variables.required:
                            return False
            return bool(await request(name, *arguments))

        channel._make_request = with_variables


async def _run(connection: asyncssh.SSHClientConnection, command: str, session: _Session, stdin: str) -> None:
    try:
        channel, _ = await connection.create_session(lambda: session, command, encoding=None, request_pty=False)
    except asyncssh.ChannelOpenError as error:
        if session.refused:
            raise PluginError(
                f"could not set environment variable {session.refused[-1]!r}: sshd must name it in AcceptEnv; "
                "or write it into the command: VAR=value command"
            ) from error
        raise CommandFailed(f"the server did not start it: {error.reason}", command, session.output) from error
    # A command that ends before it has read its input is no broken connection: its exit status tells how it went.
    with contextlib.suppress(BrokenPipeError):
        if stdin:
            channel.write(stdin.encode())
        channel.write_eof()
    await channel.wait_closed()
    session.output.finish()
    status, signal = channel.get_exit_status(), channel.get_exit_signal()
    if signal:
        raise CommandFailed(f"process ended by signal {signal[0]}", command, session.output)
    if status is None:
        raise CommandFailed("connection lost while the command ran: no exit status", command, session.output)
    if status:
        raise CommandFailed(f"process exited with status {status}", command, session.output)
