"""Waiting until an object is ready, or until it is clear that it will not be.

A wait ends by readiness, by a cause that does not heal, by its timeout, by the object's disappearance or by Cancel,
whichever comes first. It polls: one GET every half second, and a look at pods and events every two. An API server that is
away for less than a minute does not end it: the object exists by then, and must not be lost to the engine.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from lab.plugins.errors import PluginError
from lab.plugins.kubernetes import problems
from lab.plugins.kubernetes.api import ApiError, Unreachable
from lab.plugins.kubernetes.look import Look
from lab.plugins.kubernetes.objects import (
    TIMEOUT_SECONDS,
    Object,
    annotation,
    kind_of,
    label,
    metadata,
    name_of,
    namespace_of,
)
from lab.plugins.kubernetes.ready import Rule, Verdict

_FIRST_POLL, _POLL, _LOOK_EVERY = 0.1, 0.5, 2.0
_AWAY_LIMIT = 60.0


class NotReady(PluginError):
    """The object is there but not ready. `live` is how it was seen last."""

    def __init__(self, message: str, live: Object, reasons: list[str]) -> None:
        super().__init__(message)
        self.live, self.reasons = live, reasons


def seconds_for(inputs: Object, custom: float, default: float) -> float:
    """Time to wait: the resource's customTimeouts, else its annotation, else the kind's default."""
    if custom > 0:
        return custom
    text = annotation(inputs, TIMEOUT_SECONDS)
    return float(text) if text.isdigit() else default


class Waiter:
    """Waits of one plugin, all ended by one event: the engine's Cancel."""

    def __init__(self, look: Look, cancelled: threading.Event) -> None:
        self._look, self._cancelled = look, cancelled

    def ready(self, live: Object, rule: Rule, timeout: float, tell: Callable[[str], None], *, new: bool) -> Object:
        """Wait for `live`; `new` when this operation made it. Returns it as seen last, raises NotReady."""
        wait, seen = _Wait(self._look, live, new), _Sight(self._look, live)
        start, poll, told, settled = time.monotonic(), _FIRST_POLL, "", _Steady()
        next_look = start + _LOOK_EVERY
        while True:
            verdict, now = self._judge(rule, live), time.monotonic()
            steady = settled.for_seconds(verdict.progress if verdict.done else None, now)
            if verdict.done and steady >= verdict.settle:
                if told:
                    tell("")
                return live
            if verdict.failure:
                raise wait.failed(live, verdict.failure)
            found = ""
            if now >= next_look:
                next_look = now + _LOOK_EVERY
                found = wait.look(live, now)
            if now - start >= timeout:
                raise wait.failed(live, f"not ready after {timeout:.0f} s: {verdict.progress}")
            if (line := "; ".join(part for part in (verdict.progress, found) if part)) != told:
                tell(told := line)
            if self._cancelled.wait(min(poll, max(0.0, start + timeout - now) + 0.01)):
                raise wait.failed(live, f"cancelled while waiting: {verdict.progress}")
            poll = min(_POLL, poll * 1.5)
            found_again = seen.again()
            if found_again is None:
                raise PluginError(f"{label(live)} was deleted by somebody else while waiting for it")
            live = found_again

    def gone(self, obj: Object, timeout: float, tell: Callable[[str], None]) -> None:
        """Wait until `obj` does not exist any more. Raises NotReady with what holds it."""
        start, poll, told, seen = time.monotonic(), _FIRST_POLL, "", _Sight(self._look, obj)
        while True:
            live = seen.again()
            if live is None:
                if told:
                    tell("")
                return
            held = _held_by(live)
            if time.monotonic() - start >= timeout:
                raise NotReady(f"{label(obj)} is not gone after {timeout:.0f} s{held}", live, [])
            if held and held != told:
                tell(f"being deleted{(told := held)}")
            if self._cancelled.wait(poll):
                raise NotReady(f"{label(obj)}: cancelled while waiting for its deletion{held}", live, [])
            poll = min(_POLL, poll * 1.5)

    def _judge(self, rule: Rule, live: Object) -> Verdict:
        try:
            return rule.check(live, self._look)
        except (ApiError, Unreachable) as error:
            return Verdict(False, str(error), failure="" if _passes(error) else str(error))


class _Sight:
    """An object looked at again and again."""

    def __init__(self, look: Look, live: Object) -> None:
        self._look, self._live, self._uid = look, live, metadata(live).get("uid")
        self._away_since: float | None = None

    def again(self) -> Object | None:
        """As it is now, or as it was while the server does not answer; None when it is gone or another.

        Raises NotReady when the server refuses, or stays away.
        """
        live, now = self._live, time.monotonic()
        try:
            found = self._look.find(kind_of(live), namespace_of(live), name_of(live))
        except (ApiError, Unreachable) as error:
            self._away_since = self._away_since or now
            if _passes(error) and now - self._away_since < _AWAY_LIMIT:
                return live
            raise NotReady(f"{label(live)}: cannot be waited for: {error}", live, []) from error
        self._away_since = None
        if found is None or metadata(found).get("uid") != self._uid:
            return None
        self._live = found
        return found


def _passes(error: ApiError | Unreachable) -> bool:
    """Whether a server that answers so may answer otherwise in a moment."""
    return isinstance(error, Unreachable) or error.status >= 500 or error.status == 429


class _Steady:
    """How long something has been saying the same."""

    def __init__(self) -> None:
        self._said: str | None = None
        self._since = 0.0

    def for_seconds(self, saying: str | None, now: float) -> float:
        if saying != self._said:
            self._said, self._since = saying, now
        return now - self._since


class _Wait:
    """What one wait remembers: which causes it met, since when, and what was there before it."""

    def __init__(self, look: Look, live: Object, new: bool) -> None:
        self._look = look
        self._crashes: dict[str, int] = {}
        self._old: set[str] = set()
        if not new:
            with contextlib.suppress(ApiError, Unreachable):  # then everything counts as new
                self._crashes = problems.crash_counts(live, look)
                self._old = {found.instance for found in problems.of_workload(live, look, {})}
        self._since: dict[str, float] = {}

    def look(self, live: Object, now: float) -> str:
        """Look for causes; raises NotReady for a hopeless one, else returns the first as a line."""
        try:
            found = self._found(live)
        except (ApiError, Unreachable):  # told by the object's own polls, or at the end
            return ""
        self._since = {problem.key: self._since.get(problem.key, now) for problem in found}
        for problem in found:
            limit = problem.hopeless_after
            if limit is not None and now - self._since[problem.key] >= limit:
                raise self.failed(live, "it will not become ready by waiting")
        return found[0].text if found else ""

    def failed(self, live: Object, why: str) -> NotReady:
        """The error with every cause known now."""
        try:
            found = [problem.with_last_words(self._look) for problem in self._found(live)]
            reasons = found or problems.unready_pods(live, self._look)
        except (ApiError, Unreachable) as error:
            reasons = [f"cannot look for causes: {error}"]
        namespace = f" -n {namespace_of(live)}" if namespace_of(live) else ""
        advice = f"see: kubectl{namespace} describe {live['kind'].lower()} {name_of(live)}"
        text = "\n".join(f"  {reason}" for reason in [*reasons, advice])
        return NotReady(f"{label(live)}: {why}\n{text}", live, reasons)

    def _found(self, live: Object) -> list[problems.Problem]:
        found = problems.of_workload(live, self._look, self._crashes)
        return [problem for problem in found if not problem.instance or problem.instance not in self._old]


def _held_by(live: Object) -> str:
    finalizers = metadata(live).get("finalizers") or []
    held = [f"finalizers {', '.join(finalizers)}"] if finalizers else []
    for found in (live.get("status") or {}).get("conditions") or ():
        if live.get("kind") == "Namespace" and found.get("status") == "True":
            held.append(f"{found.get('reason')}: {found.get('message')}")
    return f"; held by {'; '.join(held)}" if held else ""
