"""Commands on a real sshd: what runs, what comes back, what a failure says."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from google.protobuf.empty_pb2 import Empty

from lab.plugins.wire import UNKNOWN, plain
from tests.lab.plugins.conftest import Sshd, free_port
from tests.lab.plugins.harness import Plugin, refused


def test_create_returns_both_streams_without_the_last_newline(remote_command: Plugin, sshd: Sshd) -> None:
    inputs = remote_command.checked({"connection": sshd.connection(), "create": "echo out; echo; echo err >&2"})
    id, state = remote_command.create(inputs)
    assert id.startswith("it")
    assert (state["stdout"], state["stderr"]) == ("out\n", "err")
    assert state["connection"] == inputs["connection"]


def test_script_by_stdin(remote_command: Plugin, sshd: Sshd) -> None:
    script = 'set -eu\nread -r line <<EOF\nhello\nEOF\necho "$line"\n' + "# filler\n" * 50000
    _, state = remote_command.create(
        remote_command.checked({"connection": sshd.connection(), "create": "sh -s", "stdin": script})
    )
    assert state["stdout"] == "hello"


def test_failure_tells_status_command_and_output(remote_command: Plugin, sshd: Sshd) -> None:
    text = refused(
        remote_command, {"connection": sshd.connection(), "create": "echo one; echo two >&2; exit 7", "logging": "none"}
    )
    assert text.startswith('process exited with status 7: running "echo one; echo two >&2; exit 7":\n')
    assert "one\n" in text
    assert "two\n" in text


def test_a_command_need_not_read_what_it_is_given(remote_command: Plugin, sshd: Sshd) -> None:
    for _ in range(5):  # whether the write or the end comes first is a matter of luck
        inputs = {"connection": sshd.connection(), "create": "exit 4", "stdin": "unread\n" * 500_000}
        assert refused(remote_command, inputs).startswith("process exited with status 4: ")
    inputs = {"connection": sshd.connection(), "create": "echo done", "stdin": "unread\n" * 500_000}
    assert remote_command.create(remote_command.checked(inputs))[1]["stdout"] == "done"


def test_failure_by_signal(remote_command: Plugin, sshd: Sshd) -> None:
    assert "signal KILL" in refused(remote_command, {"connection": sshd.connection(), "create": "kill -9 $$"})


@pytest.mark.parametrize(
    ("logging", "shown"),
    [
        (None, ["out", "err"]),
        ("stdoutAndStderr", ["out", "err"]),
        ("stdout", ["out"]),
        ("stderr", ["err"]),
        ("none", []),
    ],
)
def test_logging_shows_what_is_asked(remote_command: Plugin, sshd: Sshd, logging: str | None, shown: list[str]) -> None:
    inputs: dict[str, Any] = {"connection": sshd.connection(), "create": "echo out; sleep 0.2; printf err >&2"}
    _, state = remote_command.create(remote_command.checked(inputs | ({"logging": logging} if logging else {})))
    assert (state["stdout"], state["stderr"]) == ("out", "err")
    assert remote_command.engine.shown() == shown


def test_environment_must_be_accepted(remote_command: Plugin, sshd: Sshd, tmp_path: Path) -> None:
    accepted = {"connection": sshd.connection(), "create": "echo $ONE_X", "environment": {"ONE_X": "y"}}
    assert remote_command.create(remote_command.checked(accepted))[1]["stdout"] == "y"
    witness = tmp_path / "ran"
    text = refused(
        remote_command,
        {"connection": sshd.connection(), "create": f"touch {witness}", "environment": {"OTHER": "y"}},
    )
    assert "'OTHER': sshd must name it in AcceptEnv" in text
    assert not witness.exists(), "the command must not run without its variables"


def test_previous_output_goes_along_where_accepted(remote_command: Plugin, sshd: Sshd) -> None:
    inputs = remote_command.checked({"connection": sshd.connection(), "create": "echo first", "update": "echo again"})
    id, state = remote_command.create(inputs)
    state = remote_command.update(id, state, inputs)
    assert state["stdout"] == "again"
    assert any("PULUMI_COMMAND_STDOUT is not accepted" in text for text in remote_command.engine.warnings())
    remote_command.engine.lines.clear()
    remote_command.update(id, state, remote_command.checked({**plain(inputs), "addPreviousOutputInEnv": False}))
    assert remote_command.engine.warnings() == []


def test_update_falls_back_to_create_and_delete_uses_the_state(
    remote_command: Plugin, sshd: Sshd, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    inputs = remote_command.checked(
        {"connection": sshd.connection(), "create": f"date >> {marker}", "delete": f"rm {marker}"}
    )
    id, state = remote_command.create(inputs)
    state = remote_command.update(id, state, inputs)
    assert len(marker.read_text().splitlines()) == 2
    remote_command.delete(id, state)
    assert not marker.exists()


def test_delete_without_a_command_needs_no_host(remote_command: Plugin, sshd: Sshd) -> None:
    state = remote_command.checked({"connection": sshd.connection(port=free_port()), "create": "true"})
    remote_command.delete("it", {**state, "stdout": "", "stderr": ""})


def test_preview_runs_nothing_and_knows_no_output(remote_command: Plugin, sshd: Sshd, tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    inputs = remote_command.checked({"connection": sshd.connection(), "create": f"touch {witness}"})
    id, state = remote_command.create(inputs, preview=True)
    assert (id, state["stdout"]) == ("", UNKNOWN)
    assert (
        remote_command.update("it", {**inputs, "stdout": "x", "stderr": ""}, inputs, preview=True)["stdout"] is UNKNOWN
    )
    assert not witness.exists()


def test_cancel_ends_a_running_command(remote_command: Plugin, sshd: Sshd) -> None:
    with ThreadPoolExecutor() as pool:
        result = pool.submit(refused, remote_command, {"connection": sshd.connection(), "create": "sleep 60"})
        time.sleep(1)
        remote_command.stub.Cancel(Empty())
        assert "cancelled" in result.result(10)


@pytest.fixture
def cheap_server(sshd: Sshd) -> Iterator[dict[str, Any]]:
    """Connection to a server that takes a second a command and little else: a hundred sshd would measure sshd."""
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    login = asyncssh.import_private_key(sshd.private_key).convert_to_public()
    loop, port = asyncio.new_event_loop(), free_port()

    async def answer(process: asyncssh.SSHServerProcess[str]) -> None:
        await asyncio.sleep(1)
        process.stdout.write(f"{process.command}\n")
        process.exit(0)

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            port,
            server_host_keys=[host_key],
            authorized_client_keys=asyncssh.import_authorized_keys(login.export_public_key().decode()),
            process_factory=answer,
            backlog=200,
        )

    acceptor = loop.run_until_complete(listen())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield sshd.connection(port=port, hostKey=host_key.export_public_key().decode())
    loop.call_soon_threadsafe(acceptor.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_a_hundred_hosts_at_once(remote_command: Plugin, cheap_server: dict[str, Any]) -> None:
    start = time.monotonic()
    with ThreadPoolExecutor(100) as pool:
        futures = [
            pool.submit(
                remote_command.create, remote_command.checked({"connection": cheap_server, "create": f"host {n}"})
            )
            for n in range(100)
        ]
        outputs = [future.result()[1]["stdout"] for future in futures]
    assert outputs == [f"host {n}" for n in range(100)]
    assert time.monotonic() - start < 30, "one after the other takes more than 100 s"


def test_ends_at_once_with_runs_under_way(remote_command: Plugin, sshd: Sshd) -> None:
    with ThreadPoolExecutor() as pool:
        result = pool.submit(refused, remote_command, {"connection": sshd.connection(), "create": "sleep 60"})
        time.sleep(1)
        assert remote_command.stop() < 2, "the engine waits 5 s and kills then"
        with pytest.raises(BaseException):  # noqa: B017 - whatever gRPC makes of a connection that is gone
            raise result.exception() or AssertionError(result.result())
