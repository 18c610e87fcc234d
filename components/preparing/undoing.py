"""A host's preparation taken back, over the same pinned SSH connection that made it.

Called in the process of the registration provider, which alone knows that the host has left oned, and has the stack's
configuration also when the program does not run (`destroy`). The script is the same for all hosts, so nothing of it need be in the
state. The agent lives as long as that process.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path

from components.bootstrap.undo import render_undo
from components.preparing.agent import Agent, AgentError
from components.preparing.preparation import Failed, Preparation
from components.preparing.values import Endpoint, Target, Way

PROJECT = Path(__file__).resolve().parents[2]
_PLACE = PROJECT / ".state/prepare"

_guard = threading.Lock()
_agents: dict[str, Agent] = {}


class NotUndone(Exception):
    """What is wrong, and the next command, in one line."""


def undo(name: str, endpoint: Endpoint, way: Way, private_key: str | None, *, uninstall: bool) -> None:
    """Take the host's preparation back; twice is the same as once. `private_key` None: the agent of $SSH_AUTH_SOCK.

    Takes at most the way's limits. Raises NotUndone.
    """
    _PLACE.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="undo-", dir=_PLACE)
    try:
        socket = "" if private_key is None else _agent(private_key).socket
        script = render_undo(name, uninstall=uninstall)
        Preparation(folder, Target(name, endpoint, ""), way._replace(agent=socket), script).run()
    except AgentError as error:
        raise NotUndone(str(error)) from None
    except Failed as failed:
        raise NotUndone(failed.lines(name)[-1]) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _agent(private_key: str) -> Agent:
    with _guard:
        if private_key not in _agents:
            _agents[private_key] = Agent(private_key)
        return _agents[private_key]
