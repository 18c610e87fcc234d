"""The hook execution manager: hooks of oned, their commands, and the reply."""

from __future__ import annotations

import base64
from pathlib import Path

from lab.standins.opennebula.services import Service
from tests.lab.standins.services.conftest import Start
from tests.lab.standins.services.events import Events
from tests.lab.standins.services.fake_oned import FakeOned
from tests.lab.standins.services.web import until

HOOK = (
    "<HOOK><ID>4</ID><NAME>on-running</NAME><TYPE>state</TYPE><TEMPLATE><RESOURCE>VM</RESOURCE><STATE>ACTIVE</STATE>"
    "<LCM_STATE>RUNNING</LCM_STATE><COMMAND>tell.sh</COMMAND><ARGUMENTS>went $TEMPLATE</ARGUMENTS></TEMPLATE></HOOK>"
)


def hem(install: Start, oned: FakeOned, events: Events, hooks: Path) -> Service:
    service = install(
        "hem",
        {
            ":subscriber_endpoint": events.endpoint,
            ":replier_endpoint": events.replier,
            ":hook_base_path": str(hooks),
        },
    )
    auth = service.directory / "var" / ".one" / "one_auth"
    auth.write_text("oneadmin:rehearsal\n")
    service.environment |= {"ONE_AUTH": str(auth), "ONE_XMLRPC": oned.endpoint}
    return service


def test_a_hook_runs_and_its_result_reaches_oned(
    install: Start, eventful: FakeOned, events: Events, tmp_path: Path
) -> None:
    script = tmp_path / "tell.sh"
    script.write_text('#!/bin/sh\necho "$1"\necho "$2" | base64 -d | grep -c "<NAME>hooked</NAME>"\nexit 3\n')
    script.chmod(0o755)
    eventful.hooks.append(HOOK)
    service = hem(install, eventful, events, tmp_path)
    service.launch()
    events.subscribed("EVENT API one.hook.allocate 1")
    events.subscribed("EVENT STATE VM/ACTIVE/RUNNING")
    eventful._vm_allocate(eventful.users[0], "NAME=hooked", False)
    eventful.run(eventful.vms[0])
    _, code, hook, content = events.expect("reply").split(" ")
    assert (code, hook) == ("3", "4")
    result = base64.b64decode(content).decode()
    out = result.partition("<STDOUT>")[2].partition("</STDOUT>")[0]
    assert base64.b64decode(out).decode() == "went\n1\n"
    assert "<CODE>3</CODE>" in result
    until(lambda: "Failure executing hook 4" in service.log())
    assert service.stop() == 0


def test_without_hooks_in_oned_it_waits_for_new_ones(
    install: Start, eventful: FakeOned, events: Events, tmp_path: Path
) -> None:
    eventful._hookpool_info = None  # type: ignore[assignment, method-assign]
    service = hem(install, eventful, events, tmp_path)
    service.launch()
    events.subscribed("EVENT API one.hook.allocate 1")
    assert "Cannot get hook information" in service.log()


def test_without_oneadmins_credential(install: Start, oned: FakeOned, events: Events, tmp_path: Path) -> None:
    service = hem(install, oned, events, tmp_path)
    service.environment["ONE_AUTH"] = str(tmp_path / "nowhere")
    assert service.fails() == 1
    assert "ONE_AUTH file not present" in service.said()


def test_a_configuration_that_is_refused(install: Start, oned: FakeOned, events: Events, tmp_path: Path) -> None:
    service = hem(install, oned, events, tmp_path)
    service.settings[":concurrency"] = 0
    assert service.fails() == 1
    assert ":concurrency: cannot be 0" in service.said()
