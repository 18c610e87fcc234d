"""The command plugin through the real engine and the official SDK: what an operator sees."""

from __future__ import annotations

from pathlib import Path

import pulumi
import pulumi_command
import pytest
from pulumi import automation

from tests.lab.plugins.conftest import Sshd
from tests.lab.plugins.stack import Program, Stack

pytestmark = pytest.mark.engine


def test_command_from_create_to_destroy(stack: Stack, sshd: Sshd, tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    def program(text: str, trigger: int = 0) -> Program:
        def run() -> None:
            made = pulumi_command.remote.Command(
                "prepare",
                connection=pulumi_command.remote.ConnectionArgs(
                    host="127.0.0.1", port=sshd.port, user="root", private_key=sshd.private_key, host_key=sshd.host_key
                ),
                create=f"cat >> {marker}",
                delete=f"rm {marker}",
                stdin=pulumi.Output.secret(f"{text}\n"),
                triggers=[trigger],
                add_previous_output_in_env=False,
                logging=pulumi_command.remote.Logging.NONE,
            )
            pulumi_command.local.Command("after", create="echo done", opts=pulumi.ResourceOptions(depends_on=[made]))

        return run

    assert stack.up(program("one")).summary == {"create": 3}
    assert stack.up(program("one")).summary == {"same": 3}
    assert marker.read_text() == "one\n"
    assert stack.up(program("two")).summary == {"update": 1, "same": 2}
    assert marker.read_text() == "one\ntwo\n"
    assert stack.refresh().summary == {"same": 3}
    assert stack.up(program("two", trigger=1)).done("prepare") == ["create-replacement", "replace", "delete-replaced"]
    assert not marker.exists(), "the new one ran, then the old one's delete, as in the official"
    marker.touch()
    text = stack.state()
    assert "ciphertext" in text
    for secret in ("PRIVATE KEY", "two"):
        assert secret not in text
    assert stack.destroy().summary == {"delete": 3}
    assert not marker.exists()


def test_failed_command_is_not_kept_and_the_others_are(stack: Stack, sshd: Sshd) -> None:
    def program() -> None:
        pulumi_command.local.Command("good", create="echo good")
        pulumi_command.remote.Command(
            "bad",
            connection=pulumi_command.remote.ConnectionArgs(
                host="127.0.0.1", port=sshd.port, private_key=sshd.private_key, host_key=sshd.host_key
            ),
            create="echo the reason >&2; exit 9",
        )

    with pytest.raises(automation.CommandError) as caught:
        stack.up(program)
    assert "process exited with status 9" in str(caught.value)
    assert "the reason" in str(caught.value)
    assert "good" in stack.names()
    assert "bad" not in stack.names()
