"""The program's side of preparing hosts: what the command of a host finds when the engine is about to run it.

Nothing is made before a host is really prepared, so neither a preview nor an up without changes writes a file or starts
an agent. What is left lies in the checkout's state directory, is not secret, and is made anew whenever it is needed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import pulumi

from components.preparing import everyone
from components.preparing.agent import Agent
from components.preparing.values import SCRIPT, Endpoint, Way, script_path

_agents: dict[
    Path, Agent
] = {}  # of the stacks that this process runs; a later run of one takes the place of the earlier

PROJECT = Path(__file__).resolve().parents[2]  # where the engine starts its plugins, and so the commands


class Workshop:
    """For one stack in one run. `folder` is relative to the project, so that it is the same on every machine."""

    def __init__(self, stack: str, way: Way) -> None:
        self.folder = f".state/prepare/{stack}"
        self._place = PROJECT / self.folder
        self._way = way
        self._scripts: dict[str, str] = {}
        self._everyone: tuple[str, Sequence[tuple[str, Endpoint]]] = ("", ())
        self._key: str | None = None
        self._lock = threading.Lock()
        self._begun = False

    def keep(self, script: str) -> str:
        """Remember a script; its SHA-256."""
        digest = hashlib.sha256(script.encode()).hexdigest()
        self._scripts[digest] = script
        return digest

    def keep_key(self, private_key: str) -> None:
        """The key for this run's agent. Without one, the agent of the engine's environment is used."""
        self._key = private_key

    def before(self, hook: pulumi.ResourceHookArgs) -> None:
        """A resource hook: the command that is about to run finds what it needs."""
        self.lay_out((hook.new_inputs or {})["environment"][SCRIPT])

    def keep_for_everyone(self, script: str, targets: Sequence[tuple[str, Endpoint]]) -> str:
        """Remember what all hosts are told; a digest of it."""
        self._everyone = (script, targets)
        return hashlib.sha256(json.dumps([script, targets]).encode()).hexdigest()

    def before_everyone(self, _hook: pulumi.ResourceHookArgs) -> None:
        """A resource hook: the same for the command that tells all hosts."""
        script, targets = self._everyone
        self._ready()
        everyone.write(str(self._place), script, targets)

    def lay_out(self, digest: str) -> None:
        """Put everything in its place for one host. Raises AgentError, OSError."""
        self._ready()
        path = script_path(str(self._place), digest)
        draft = f"{path}.new"
        Path(draft).write_text(self._scripts[digest])
        os.replace(draft, path)

    def _ready(self) -> None:
        with self._lock:
            if not self._begun:
                self._begin()
                self._begun = True

    def _begin(self) -> None:
        # Only one run of a stack is at work at a time; what lies here is of one that was killed.
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir(parents=True, mode=0o700)
        if (former := _agents.pop(self._place, None)) is not None:
            former.close()
        way = self._way
        if self._key is not None:
            agent = _agents[self._place] = Agent(self._key)
            way = way._replace(agent=agent.socket)
        way.write(str(self._place))
