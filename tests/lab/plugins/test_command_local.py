"""Local commands, and what Check and Diff say about any command."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import provider_pb2

from lab.plugins.wire import UNKNOWN, Secret
from tests.lab.plugins.harness import Plugin, error_text

LOCAL, REMOTE = "command:local:Command", "command:remote:Command"


@pytest.fixture
def plugin(start: Callable[..., Plugin]) -> Plugin:
    return start(LOCAL)


@pytest.fixture
def remote(start: Callable[..., Plugin]) -> Plugin:
    return start(REMOTE)


def reasons(response: provider_pb2.CheckResponse) -> dict[str, str]:
    return {failure.property: failure.reason for failure in response.failures}


def test_runs_with_everything_given(plugin: Plugin, tmp_path: Path) -> None:
    inputs = plugin.checked(
        {
            "create": 'cat; echo "$GREETING in $PWD" >&2',
            "stdin": "from stdin",
            "dir": str(tmp_path),
            "environment": {"GREETING": "hello"},
        }
    )
    _, state = plugin.create(inputs)
    assert (state["stdout"], state["stderr"]) == ("from stdin", f"hello in {tmp_path}")


def test_other_interpreter(plugin: Plugin) -> None:
    _, state = plugin.create(plugin.checked({"create": "print(1 + 1)", "interpreter": ["python3", "-c"]}))
    assert state["stdout"] == "2"


def test_previous_output_is_in_the_environment(plugin: Plugin) -> None:
    inputs = plugin.checked({"create": "echo first", "update": 'echo "after $PULUMI_COMMAND_STDOUT"'})
    id, state = plugin.create(inputs)
    assert plugin.update(id, state, inputs)["stdout"] == "after first"


def test_the_plugin_adds_nothing_to_the_environment(start: Callable[..., Plugin]) -> None:
    plugin = start(LOCAL, {"PATH": os.environ["PATH"], "HOME": "/"})
    _, state = plugin.create(plugin.checked({"create": "env | cut -d= -f1 | grep -v -e _ -e SHLVL -e PWD | sort"}))
    assert state["stdout"].split() == ["HOME", "PATH"]


def test_failure_names_status_and_output(plugin: Plugin) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        plugin.create(plugin.checked({"create": "echo why; exit 3"}))
    assert error_text(caught.value) == 'exit status 3: running "echo why; exit 3":\nwhy\n'


def test_interpreter_that_is_not_there(plugin: Plugin) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        plugin.create(plugin.checked({"create": "x", "interpreter": ["/no/such"]}))
    assert "cannot run /no/such" in error_text(caught.value)


def test_cancel_ends_the_command(plugin: Plugin, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with ThreadPoolExecutor() as pool:
        result = pool.submit(plugin.create, plugin.checked({"create": f"echo $$ > {pid}; sleep 60; true"}))
        for _ in range(100):
            if pid.exists() and pid.read_text().strip():
                break
            time.sleep(0.05)
        plugin.stub.Cancel(Empty())
        with pytest.raises(grpc.RpcError):
            result.result(10)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize(
    ("news", "path"),
    [
        ({"create": 1}, "create"),
        ({"crate": "true"}, "crate"),
        ({"logging": "all"}, "logging"),
        ({"environment": {"A": 1}}, "environment"),
        ({"assetPaths": ["**"]}, "assetPaths"),
        ({"triggers": "x"}, "triggers"),
    ],
)
def test_check_names_what_is_wrong(plugin: Plugin, news: dict[str, Any], path: str) -> None:
    assert list(reasons(plugin.check(news))) == [path]


@pytest.mark.parametrize(
    ("connection", "path"),
    [
        ({}, "connection.host"),
        ({"host": "h", "hostkey": "x"}, "connection.hostkey"),
        ({"host": "h", "port": "22"}, "connection.port"),
        ({"host": "h", "perDialTimeout": 1.5}, "connection.perDialTimeout"),
        ({"host": "h", "proxy": {"user": "u"}}, "connection.proxy.host"),
        ({"host": "h", "proxy": {"host": "b", "proxy": {"host": "c"}}}, "connection.proxy.proxy"),
    ],
)
def test_check_of_connections(remote: Plugin, connection: dict[str, Any], path: str) -> None:
    assert list(reasons(remote.check({"connection": connection, "create": "true"}))) == [path]


def test_connection_gets_defaults_and_becomes_secret(remote: Plugin) -> None:
    inputs = remote.checked({"connection": {"host": "h", "privateKey": "k", "proxy": {"host": "b"}}, "create": "true"})
    assert inputs["connection"] == Secret(
        {
            "host": "h",
            "user": "root",
            "port": 22,
            "dialErrorLimit": 10,
            "perDialTimeout": 15,
            "privateKey": Secret("k"),
            "proxy": {"host": "b", "user": "root", "port": 22, "dialErrorLimit": 10, "perDialTimeout": 15},
        }
    )


def test_what_is_unknown_in_a_preview_passes(remote: Plugin) -> None:
    assert not remote.check({"connection": UNKNOWN, "create": UNKNOWN}).failures
    assert not remote.check({"connection": {"host": UNKNOWN, "privateKey": UNKNOWN}, "create": "true"}).failures


def test_any_change_is_an_update(plugin: Plugin) -> None:
    old = {"create": "a", "environment": {"X": "1"}}
    response = plugin.diff({}, old, {"create": "b", "environment": {"X": "1"}, "delete": "d"})
    assert response.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert sorted(response.detailedDiff) == ["create", "delete"]
    assert not response.replaces


def test_changed_triggers_replace_and_the_new_comes_first(plugin: Plugin) -> None:
    response = plugin.diff({}, {"create": "a", "triggers": [1]}, {"create": "a", "triggers": [2]})
    assert list(response.replaces) == ["triggers[0]"]
    assert not response.deleteBeforeReplace


def test_a_secret_mark_is_no_change(plugin: Plugin) -> None:
    response = plugin.diff({}, {"create": "a"}, {"create": Secret("a")})
    assert response.changes == provider_pb2.DiffResponse.DIFF_NONE


def test_other_resources_are_refused_by_name(start: Callable[..., Plugin]) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        start("command:remote:CopyToRemote").check({})
    assert "command:remote:CopyToRemote is not supported by this rehearsal stand-in" in error_text(caught.value)


def test_says_what_it_is(plugin: Plugin) -> None:
    assert plugin.stub.GetPluginInfo(Empty()).version == "1.2.1+rehearsal"
    plugin.configure()
    assert any("rehearsal stand-in" in text for _, _, text in plugin.engine.lines)
