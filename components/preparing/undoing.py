"""A host's preparation taken back, over the same pinned SSH connection that made it.

Called in the process of the registration provider, which alone knows that the host has left oned, and has the stack's
configuration also when the program does not run (`destroy`). The script is the same for all hosts, so nothing of it need be in the
state. The agent lives as long as that process.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import threading
from pathlib import Path

from components.bootstrap.undo import render_undo
from components.preparing.agent import Agent, AgentError
from components.preparing.preparation import Failed, Preparation, this_machine
from components.preparing.values import Endpoint, Target, Way

PROJECT = Path(__file__).resolve().parents[2]
_PLACE = PROJECT / ".state/prepare"
_PLAIN = re.compile(r"[\w./+@=-]+")
"""A path that neither ssh_config nor a shell reads as anything but itself."""

_guard = threading.Lock()
_agents: dict[str, Agent] = {}


class NotUndone(Exception):
    """What is wrong, and the next command, in one line."""


def undo(name: str, endpoint: Endpoint, way: Way, private_key: str | None, *, uninstall: bool) -> bool:
    """Take the host's preparation back; twice is the same as once. `private_key` None: the agent of $SSH_AUTH_SOCK.

    Was anything of one found there? Takes at most the way's limits. Raises NotUndone.
    """
    folder = ""
    try:
        _PLACE.mkdir(parents=True, exist_ok=True)
        # Relative, as it is for preparations: the engine starts its plugins in the project, whose path may have a blank.
        folder = os.path.relpath(tempfile.mkdtemp(prefix="undo-", dir=_PLACE))
        if not _PLAIN.fullmatch(folder):
            raise NotUndone(_here(name, f"ssh cannot use the path {folder!r}", "run pulumi in the project's directory"))
        socket = "" if private_key is None else _agent(private_key).socket
        script = render_undo(name, uninstall=uninstall)
        way = way._replace(agent=socket)
        said = json.loads(Preparation(folder, Target(name, endpoint, ""), way, script, ("record", "changes")).run())
        return bool(said.get("record", True) or said.get("changes"))
    except AgentError as error:
        raise NotUndone(str(error)) from None
    except Failed as failed:
        raise NotUndone(failed.lines(name)[-1]) from None
    except OSError as error:
        raise NotUndone(this_machine(error).lines(name)[-1]) from None
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _here(name: str, text: str, then: str) -> str:
    return f"one-prepare: {name}: here: {text}; next: {then}"


def _agent(private_key: str) -> Agent:
    with _guard:
        if private_key not in _agents:
            _agents[private_key] = Agent(private_key)
        return _agents[private_key]
