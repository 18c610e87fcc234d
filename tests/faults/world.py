"""oned, its front, and the hosts of a run of scenarios; and the one look that follows every fault."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count as counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from bench.hosts import endpoints, work
from bench.hosts.endpoints import Host
from bench.hosts.oned import Oned
from lab.errors import LabError
from lab.standins.opennebula.database import MariaDb, free_port
from lab.standins.opennebula.local import LocalOned
from tests.contract.endpoint import Endpoint
from tests.faults.fleet import PASSPHRASE, FleetStack, Plan, entries
from tests.faults.front import Front
from tests.registration.paper_hosts import PaperHosts

FOREIGN = "foreign-1"


class MarkedOned(LocalOned):
    """Its password is a word that can be looked for."""

    session = "oneadmin:marker-password-9e27"


@dataclass
class World:
    """`hosts` are endpoints that listen; which of them a stack declares is the scenario's."""

    place: Path
    oned: LocalOned
    front: Front
    fleet: endpoints.Fleet
    foreign: str = ""
    _numbers: Iterator[int] = field(default_factory=counter)

    @property
    def api(self) -> Endpoint:
        return Endpoint(self.oned.endpoint, self.oned.session, own=True)

    @property
    def look(self) -> Oned:
        """An independent look, past the front."""
        return Oned(self.oned.endpoint, self.oned.session)

    @property
    def password(self) -> str:
        return self.oned.session.partition(":")[2]

    def hosts(self, many: int) -> Sequence[Host]:
        return self.fleet.hosts[:many]

    @contextmanager
    def stack(self, many: int = 0, **more: Any) -> Iterator[FleetStack]:
        """A new stack over an empty oned and untouched hosts; a foreign host is there, too."""
        self.begin()
        given: dict[str, Any] = {"hosts": entries(self.hosts(many)), "password": self.password, **more}
        plan = Plan(self._name(), self.front.url, private_key=self.fleet.private_key, **given)
        stack = FleetStack(self.place / plan.name, plan)
        try:
            yield stack
        finally:
            self.front.well()
            stack.close()

    @contextmanager
    def another(self, like: FleetStack) -> Iterator[FleetStack]:
        """A second stack that declares the same."""
        plan = replace(like.plan, name=self._name())
        stack = FleetStack(self.place / plan.name, plan)
        try:
            yield stack
        finally:
            stack.close()

    def _name(self) -> str:
        return f"faults-{os.getpid()}-{next(self._numbers)}"

    def begin(self) -> None:
        """Nothing registered but the foreign host, nothing prepared."""
        self.front.well()
        for host_id in self.look.hosts():
            for vm in self.api.xml("host.info", host_id).findall("VMS/ID"):
                self.api.call("vm.recover", int(vm.text or ""), 3)
            self.until(lambda id_=host_id: not self.api.xml("host.info", id_).findall("VMS/ID"))  # type: ignore[misc]
            self.look.call("host.delete", host_id)
        work.forget(self.fleet.hosts)
        for host in self.fleet.hosts:
            for pattern in ("hold-*", "at-*", "go-*", "apt.conf"):
                for path in host.root.glob(pattern):
                    path.unlink()
        host_id = int(self.look.call("host.allocate", FOREIGN, "none", "none", 0))
        self.look.call("host.update", host_id, 'RACK = "not ours"', 1)
        self.foreign = self.row(FOREIGN)

    def ids(self) -> dict[str, int]:
        return {name: number for number, name in self.look.hosts().items()}

    def converged(self, stack: FleetStack, *, prepared: bool = True) -> None:
        """The look after a fault was mended: an up without changes, everything as declared, and a state that no kill can spoil."""
        outcome = stack.up()
        assert outcome.changed == 0, f"a second up changes: {dict(outcome.changes)}"
        self.as_declared(stack, prepared=prepared)
        sidecars = [path.name for path in (stack.place / "backend").rglob("*.attrs")]
        assert sidecars == [], "files of the backend that are not written by rename"

    def as_declared(self, stack: FleetStack, *, prepared: bool = True) -> None:
        """The hosts of oned are the declared ones, each once; nothing foreign was touched; no secret got out."""
        declared = [item["name"] for item in stack.plan.hosts]
        assert self.look.wrong([*declared, FOREIGN]) == []
        assert self.row(FOREIGN) == self.foreign, "a host of somebody else was changed"
        known = [host for host in self.fleet.hosts if host.name in declared]
        if prepared:
            assert work.undone(known, work.FIVE) == []
        self.no_secret(stack)

    def no_secret(self, stack: FleetStack, *texts: str) -> None:
        """The markers are in no state, output, trace, or file of a run."""
        places = [stack.state_text(), stack.text(), (stack.place / f"Pulumi.{stack.name}.yaml").read_text(), *texts]
        for folder in (stack.place / "traces", stack.work):
            places += [path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()]
        key = [line for line in self.fleet.private_key.splitlines() if len(line) > 60]
        for secret in (self.password, PASSPHRASE, *key):
            assert not any(secret in text for text in places), f"{secret[:16]}… got out"

    def recreate(self, host_id: int, *, driver: str) -> int:
        """Somebody deletes a host and registers it anew; the new number."""
        name = self.look.hosts()[host_id]
        self.look.call("host.delete", host_id)
        return int(self.look.call("host.allocate", name, driver, driver, 0))

    def until(self, reached: Callable[[], bool]) -> None:
        """Bounded; what oned does by itself."""
        limit = time.monotonic() + 60
        while not reached():
            assert time.monotonic() < limit, self.oned.log()[-2000:]
            time.sleep(0.1)

    def row(self, name: str) -> str:
        """All that oned says of a host."""
        pool = self.api.xml("hostpool.info")
        (row,) = [host for host in pool.findall("HOST") if host.findtext("NAME") == name]
        return ElementTree.tostring(row, encoding="unicode")


def told(error: LabError, *words: str) -> str:
    """An operator's message: it has all these words, and a next command. The text."""
    text = str(error)
    for word in words:
        assert word in text, f"{word!r} is not in:\n{text}"
    lower = text.lower()
    assert "next:" in lower or "fix:" in lower or "make unlock" in lower, f"no next command in:\n{text}"
    assert "Traceback" not in text, text
    return text


@contextmanager
def running(many: int) -> Iterator[World]:
    """All of it, on loopback, for `many` hosts."""
    with ExitStack() as all_:
        place = Path(all_.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        place.chmod(0o755)
        database = all_.enter_context(MariaDb(place / "mariadb"))
        oned = MarkedOned(place / "one", database)
        # One kind is monitored, on paper; the other has no driver, so that registering it starts nothing.
        oned.shipped["monitord.conf"] = oned.shipped["monitord.conf"].replace('NAME       = "lxc"', 'NAME       = "no"')
        PaperHosts(oned)
        all_.enter_context(oned)
        front = all_.enter_context(Front(oned.endpoint))
        fleet = endpoints.start(place / "fleet", many, free_port())
        all_.callback(fleet.stop)
        yield World(place, oned, front, fleet)
