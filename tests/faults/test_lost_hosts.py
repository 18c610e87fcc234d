"""A destroy that takes everything, with a host that is to be cleaned and does not answer: by which configuration it goes.

On the hosts that live nothing is taken back (`keep`): they are this machine. The dead one is behind a relay that refuses;
when it lives again, its sshd runs a note in place of what it is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from bench.hosts.endpoints import Host
from components.preparing import session
from components.registration.departure import ENV_LOST
from lab.errors import Incomplete
from tests.faults.fleet import FleetStack, entries, entry
from tests.faults.relay import Relay, Way
from tests.faults.world import FOREIGN, World, told

pytestmark = [pytest.mark.engine, pytest.mark.database]


@dataclass(frozen=True)
class Scene:
    """A stack that is up, and its host that has died since."""

    world: World
    stack: FleetStack
    host: Host
    relay: Relay

    def declare(self, *, dead: bool, lost: bool) -> None:
        """Write the stack's file. No up."""
        own = [entry(self.host, self.relay.port, onRemoval="clean")] if dead else []
        names = [self.host.name] if lost else []
        self.stack.configure(
            hosts=[*own, *entries(self.world.hosts(3)[1:])], config={"fleet": {"lost": names}} if names else {}
        )

    def fails(self, operation: str) -> str:
        """For the dead host alone, which has left oned and stays in the state. What the operator is told."""
        with pytest.raises(Incomplete) as caught:
            getattr(self.stack, operation)()
        words = (
            "1 of ",
            "hosts failed",
            "has left oned, but what was prepared on it is still there",
            "connection refused",
        )
        text = told(caught.value, self.host.name, *words, "if the machine is gone for good")
        assert self.host.name not in self.world.ids()
        assert [name for name in self.hosts() if self.host.name in name] == [f"hosts-{self.host.name}"]
        self.world.no_secret(self.stack, text)
        return text

    def hosts(self) -> list[str]:
        """Registrations in the state."""
        found = (each["urn"] for each in self.stack.export().get("resources", []))
        return sorted(urn.split("::")[-1] for urn in found if urn.split("::")[2].endswith("opennebula:Host"))

    def gone(self) -> None:
        """Nothing is left but what is somebody else's."""
        assert set(self.world.ids()) == {FOREIGN}
        assert self.stack.export().get("resources", []) == []


@pytest.fixture
def scene(world: World) -> Iterator[Scene]:
    host = world.hosts(3)[0]
    with Relay(host.endpoint.address, host.endpoint.port) as relay, world.stack(0, retain=False) as stack:
        stack.set_secret("opennebula:sshPrivateKey", world.fleet.private_key)
        found = Scene(world, stack, host, relay)
        found.declare(dead=True, lost=False)
        stack.up()
        relay.set(Way.REFUSED)
        yield found


@contextmanager
def noting(host: Host) -> Iterator[None]:
    """Whatever its sshd is told, it keeps as a note and answers as a host does on which something was taken back."""
    settings = host.root.parent / "sshd_config"
    before, answer = settings.read_text(), '{"record": true, "changes": ["access"]}'
    settings.write_text(f"{before}ForceCommand echo {session.MARK}; cat >$ONE_ROOT/told; echo '{answer}'\n")
    try:
        yield
    finally:
        settings.write_text(before)


def test_a_dead_host_stops_a_destroy_until_it_lives(scene: Scene) -> None:
    """And nothing else: the others go."""
    for _ in "ab":
        scene.fails("destroy")
        assert set(scene.world.ids()) == {FOREIGN}
        assert scene.hosts() == [f"hosts-{scene.host.name}"]
    with noting(scene.host):
        scene.relay.set(Way.OPEN)
        scene.stack.destroy()
    assert (scene.host.root / "told").read_text().startswith(f"PLAN_NAME={scene.host.name}\n")
    (scene.host.root / "told").unlink()
    scene.gone()


@pytest.mark.parametrize("before", ["an up that failed for it", "a destroy that failed for it", "nothing"])
def test_a_host_that_a_destroy_is_told_as_lost_is_not_asked(
    scene: Scene, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the environment, as the message says."""
    if before.startswith("an up"):
        scene.declare(dead=False, lost=False)
        scene.fails("up")
        assert len(scene.hosts()) == 3
        text = scene.fails("destroy")
        assert f"add {scene.host.name} to opennebula:fleet.lost and repeat the command. A destroy goes by" in text
    elif before.startswith("a destroy"):
        assert f"with {ENV_LOST}={scene.host.name} in its environment" in scene.fails("destroy")
    monkeypatch.setenv(ENV_LOST, scene.host.name)
    scene.stack.destroy()
    assert f"host {scene.host.name} is said to be lost: what was prepared on it is not taken back" in scene.stack.text()
    scene.gone()


def test_a_host_that_the_last_up_knew_as_lost_is_not_asked(scene: Scene) -> None:
    scene.declare(dead=False, lost=True)
    scene.stack.up()
    assert scene.host.name not in scene.world.ids()
    assert len(scene.hosts()) == 2
    scene.declare(dead=False, lost=False)
    scene.stack.destroy()
    scene.gone()


def test_a_file_that_names_it_is_nothing_to_a_destroy_before_an_up(scene: Scene) -> None:
    """Not even after a destroy that failed: the up makes again what that had taken, but for the lost host."""
    scene.fails("destroy")
    scene.declare(dead=False, lost=True)
    scene.fails("destroy")
    scene.stack.up()
    assert len(scene.hosts()) == 2
    scene.stack.destroy()
    scene.gone()
