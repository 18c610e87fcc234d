"""Hosts on the real engine: what is kept of them, what runs when, and a stack of before that had remote commands."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pulumi_command
import pytest
from pulumi import automation

from components import hosts
from components.generated.keys import new_key_pair
from components.host_settings import HostSettings, SshSettings, endpoint
from components.hosts import Hosts, HostsArgs
from components.preparing import workshop
from components.preparing.values import Endpoint
from lab.paths import PROJECT
from stacks.settings import StackSettings, parse
from tests.examples import config
from tests.lab.plugins.conftest import Sshd, bin_dir, stack
from tests.lab.plugins.stack import Program, Stack

__all__ = ["bin_dir", "stack"]
pytestmark = pytest.mark.engine
KEY = new_key_pair().public_key


class Registered(pulumi.ComponentResource):
    """In the place of a Host: no oned here."""

    def __init__(self, name: str, _args: object, opts: pulumi.ResourceOptions) -> None:
        super().__init__("test:index:Registered", name, None, opts)
        self.host_id = pulumi.Output.from_input(1)
        self.register_outputs({})


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stack's directory is a project whose hosts run the given script."""
    for name in ("components", ".venv"):
        (tmp_path / name).symlink_to(PROJECT / name)
    monkeypatch.setattr(workshop, "PROJECT", tmp_path)
    monkeypatch.chdir(tmp_path)  # an inline program's directory is the process's own
    monkeypatch.setattr(hosts, "Host", Registered)
    monkeypatch.setattr(hosts, "OnedReady", lambda name, opts: Registered(name, None, opts))
    monkeypatch.setattr(hosts, "FleetReady", lambda *_args, **_more: None)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


def settings(sshd: Sshd, names: tuple[str, ...], **ssh: Any) -> StackSettings:
    entries = [
        {"name": name, "kind": "kvm", "address": "10.0.0.11", "hostKey": sshd.host_key, "port": sshd.port}
        for name in names
    ]
    values = config() | {"hosts": json.dumps(entries[:1]), "ssh": json.dumps({"user": "root", **ssh})}
    found = parse(values)
    # All behind one sshd on loopback, which the settings rightly refuse.
    made = [found.hosts[0].model_copy(update={"name": name, "address": "127.0.0.1"}) for name in names]
    return found.model_copy(update={"hosts": tuple(made)})


def program(sshd: Sshd, names: tuple[str, ...] = ("kvm-1",), script: str = "echo {}\n", **ssh: Any) -> Program:
    def run() -> None:
        found = settings(sshd, names, **ssh)
        hosts.script = lambda host, _args, _keys: f"# {host.name}\n{script}"  # type: ignore[assignment]
        hosts.peers = lambda _hosts, _numbers: "# peers\necho {}\n"  # type: ignore[assignment]
        Hosts(
            "hosts",
            HostsArgs(
                hosts=found.hosts,
                ssh=found.ssh,
                packages=found.packages,
                fleet=found.fleet,
                version=found.version,
                monitoring=found.monitoring,
                way_back=found.way_back,
                preparation=found.preparation,
                private_key=pulumi.Output.secret(sshd.private_key),
                oneadmin_public_key=KEY,
                frontend_name="front",
                frontend_host_public_key=KEY,
                oned=(pulumi.ComponentResource("test:index:Oned", "oned"),),
                namespace_name="one",
            ),
        )

    return run


@pytest.fixture(autouse=True)
def own_script(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("script", "peers"):
        monkeypatch.setattr(hosts, name, getattr(hosts, name))  # put back what `program` replaces


@pytest.fixture
def sshd(start_sshd: Callable[..., Sshd]) -> Sshd:
    return start_sshd()


def of_host(state: str, name: str) -> dict[str, Any]:
    resources = json.loads(state)["checkpoint"]["latest"]["resources"]
    (found,) = [item for item in resources if item["urn"].endswith(f"::hosts-prepare-{name}")]
    return dict(found)


def test_prepared_once_and_again_only_when_something_of_it_changes(stack: Stack, sshd: Sshd, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    first = program(sshd, script=f"echo ran >>{seen}; echo '{{\"changed\": true}}'\n")
    stack.preview(first)
    assert not (tmp_path / ".state").exists(), "a preview writes nothing"
    stack.up(first)
    assert seen.read_text() == "ran\n"
    assert stack.up(first).summary.keys() == {"same"}
    assert stack.up(
        program(sshd, script=f"echo ran >>{seen}; echo '{{\"changed\": true}}'\n", dialTimeout=9)
    ).summary.keys() == {"same"}
    assert seen.read_text() == "ran\n"
    assert stack.up(program(sshd, script=f"echo more >>{seen}\n")).done("hosts-prepare-kvm-1") == ["update"]
    assert seen.read_text() == "ran\nmore\n"
    assert stack.refresh().summary.keys() == {"same"}
    stack.destroy()
    assert seen.read_text() == "ran\nmore\n"


def test_what_is_kept_of_a_host(stack: Stack, sshd: Sshd) -> None:
    stack.up(program(sshd, script="# " + "x" * 60_000 + '\necho \'{"os": "debian 12", "changed": true}\'\n'))
    found = of_host(stack.state(), "kvm-1")
    assert found["outputs"]["stdout"] == '{"os":"debian 12"}'
    assert len(json.dumps(found, separators=(",", ":"))) < 1700
    assert "PRIVATE KEY" not in stack.state() and "ciphertext" not in json.dumps(found)


def test_one_wrong_host_does_not_stop_the_others(stack: Stack, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("kvm-1", "kvm-2", "kvm-3")
    original = endpoint

    def impostor(host: HostSettings, ssh: SshSettings) -> Endpoint:
        return original(host, ssh)._replace(host_key=KEY if host.name == "kvm-2" else sshd.host_key)

    monkeypatch.setattr(hosts, "endpoint", impostor)
    with pytest.raises(automation.CommandError) as caught:
        stack.up(program(sshd, names), continue_on_error=True)
    text = str(caught.value)
    assert "one-prepare: kvm-2: host key: host key mismatch" in text and "; next: " in text
    assert {"hosts-prepare-kvm-1", "hosts-prepare-kvm-3"} <= set(stack.names())
    assert "hosts-prepare-kvm-2" not in stack.names()


def test_a_stack_of_remote_commands_is_taken_over_without_asking_the_host(
    stack: Stack, sshd: Sshd, tmp_path: Path
) -> None:
    """The old resource goes without a connection; the new one runs the same script, which may run again."""

    def before() -> None:
        parent = pulumi.ComponentResource("opennebula:index:Hosts", "hosts")
        pulumi_command.remote.Command(
            "hosts-prepare-kvm-1",
            connection=pulumi_command.remote.ConnectionArgs(
                host="127.0.0.1", port=sshd.port, private_key=sshd.private_key, host_key=sshd.host_key
            ),
            create=f"cat >>{tmp_path}/seen",
            stdin="ran\n",
            logging=pulumi_command.remote.Logging.NONE,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(parent=parent),
        )

    stack.up(before)
    after = program(sshd, script=f"echo ran >>{tmp_path}/seen\n")
    assert stack.up(after).done("hosts-prepare-kvm-1") == ["create", "delete"]
    assert (tmp_path / "seen").read_text() == "ran\nran\n"
    # the old command, the new one, and what all hosts are told of each other
    assert sshd.log.read_text().count("Accepted publickey") == 3
    assert stack.up(after).summary.keys() == {"same"}


def test_the_key_is_gone_when_the_program_is(stack: Stack, sshd: Sshd, tmp_path: Path) -> None:
    stack.up(program(sshd))
    way = json.loads((tmp_path / ".state/prepare/test/way.json").read_text())
    assert way["agent"]
    workshop._agents[tmp_path / ".state/prepare/test"].close()
    done = subprocess.run(["ssh-add", "-l"], env={"SSH_AUTH_SOCK": way["agent"]}, capture_output=True, check=False)
    assert done.returncode == 2
