"""Which host a machine may go to and which of them it should: requirements, capacity, policy. Pure; works on the XML of
pools, so that oned's scheduler driver and the daemon of 6.10 share it.

Requirements know =, !=, <, >, &, |, ! and parentheses; ranks are arithmetic on attributes of the host. Source: OpenNebula
7.4.0 src/schedm_mad/remotes/rank, src/scheduler of 6.10.5.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from xml.etree import ElementTree

from standin.config import Config

PACKING, STRIPING, LOAD_AWARE, CUSTOM, FIXED = range(5)
_TOKEN: Final = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|(!=|[=<>&|!()])|([^\s=<>&|!()"]+))')
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ARITHMETIC: Final[dict[type, Callable[[float, float], float]]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
}  # fmt: skip


class ExpressionError(ValueError):
    """A requirement or rank that cannot be read."""


@dataclass
class Place:
    """A host with what is left of it in this round. CPU in percent of a core, memory in KiB."""

    oid: int
    cluster_id: int
    element: ElementTree.Element
    free_cpu: int
    free_memory: int
    taken: int = 0

    @classmethod
    def of(cls, element: ElementTree.Element) -> Place:
        def share(name: str) -> int:
            return int(element.findtext(f"HOST_SHARE/{name}") or 0)

        return cls(
            int(element.findtext("ID") or -1),
            int(element.findtext("CLUSTER_ID") or 0),
            element,
            share("MAX_CPU") - share("CPU_USAGE"),
            share("MAX_MEM") - share("MEM_USAGE"),
        )

    def attribute(self, name: str) -> str:
        for path in (name, f"TEMPLATE/{name}", f"HOST_SHARE/{name}", f"MONITORING/CAPACITY/{name}"):
            found = self.element.findtext(path)
            if found is not None:
                return found
        return ""

    def number(self, name: str) -> float:
        try:
            return float(self.attribute(name) or 0)
        except ValueError:
            return 0.0


@dataclass(frozen=True)
class Waiting:
    """A machine without a host."""

    oid: int
    cpu: int
    memory: int
    requirements: str
    rank: str

    @classmethod
    def of(cls, element: ElementTree.Element) -> Waiting:
        def text(path: str) -> str:
            return element.findtext(path) or ""

        return cls(
            int(text("ID")),
            int(float(text("TEMPLATE/CPU") or 0) * 100),
            int(text("TEMPLATE/MEMORY") or 0) * 1024,
            text("USER_TEMPLATE/SCHED_REQUIREMENTS"),
            text("USER_TEMPLATE/SCHED_RANK") or text("USER_TEMPLATE/RANK"),
        )


@dataclass(frozen=True)
class Policy:
    """How hosts are ordered, and how many machines one gets in a round."""

    kind: int
    rank: str = ""
    per_host: int = 1
    per_round: int = 30

    @classmethod
    def of(cls, config: Config) -> Policy:
        """From rank.conf or sched.conf."""
        chosen = config.vector("DEFAULT_SCHED") or {}
        return cls(
            int(chosen.get("POLICY") or STRIPING),
            chosen.get("RANK", ""),
            config.integer("MAX_HOST", default=1),
            config.integer("MAX_DISPATCH", default=30),
        )

    def score(self, machine: Waiting, place: Place) -> float:
        if machine.rank:
            return evaluate_rank(machine.rank, place)
        if self.kind == PACKING:
            return place.number("RUNNING_VMS") + place.taken
        if self.kind == LOAD_AWARE:
            return place.number("FREE_CPU") - place.taken * 100
        if self.kind == CUSTOM:
            return evaluate_rank(self.rank, place)
        if self.kind == FIXED:
            return place.number("PRIORITY")
        return -(place.number("RUNNING_VMS") + place.taken)


@dataclass
class Plan:
    """Machine to (host, system datastore); `refused` says of the others why."""

    moves: dict[int, tuple[int, int]] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)


def misfit(machine: Waiting, place: Place) -> str:
    """Why a machine cannot go there; empty when it can."""
    try:
        if machine.requirements and not evaluate_requirements(machine.requirements, place):
            return "requirements"
    except ExpressionError as error:
        return f"Error in SCHED_REQUIREMENTS: {error}"
    if machine.cpu > place.free_cpu or machine.memory > place.free_memory:
        return "capacity"
    return ""


def why_nowhere(machine: Waiting, places: Iterable[Place]) -> str:
    """The text for a machine that fits on none of these hosts."""
    reasons = {misfit(machine, place) for place in places}
    if not reasons:
        return "No hosts enabled to run VMs"
    wrong = next((reason for reason in reasons if reason.startswith("Error")), "")
    if wrong:
        return wrong
    return (
        "No host with enough capacity to deploy the VM" if "capacity" in reasons else "No host meets SCHED_REQUIREMENTS"
    )


def plan(
    machines: Iterable[Waiting], places: list[Place], datastores: Iterable[ElementTree.Element], policy: Policy
) -> Plan:
    """Places for machines in the order given, each host at most `policy.per_host` of them."""
    result = Plan()
    stores = [each for each in datastores if each.findtext("TYPE") == "1" and (each.findtext("STATE") or "0") == "0"]
    for machine in machines:
        if len(result.moves) >= policy.per_round:
            break
        fitting = [place for place in places if not misfit(machine, place)]
        if not fitting:
            result.refused[machine.oid] = why_nowhere(machine, places)
            continue
        free = [place for place in fitting if place.taken < policy.per_host]
        for place in sorted(free, key=lambda place: (-policy.score(machine, place), place.oid)):
            store = _store(stores, place.cluster_id)
            if store is None:
                result.refused[machine.oid] = "No system datastore meets requirements"
                continue
            result.refused.pop(machine.oid, None)
            result.moves[machine.oid] = (place.oid, store)
            place.taken += 1
            place.free_cpu -= machine.cpu
            place.free_memory -= machine.memory
            break
    return result


def _store(stores: list[ElementTree.Element], cluster_id: int) -> int | None:
    fitting = [
        int(each.findtext("ID") or 0)
        for each in stores
        if str(cluster_id) in {item.text for item in each.iterfind("CLUSTERS/ID")}
    ]
    return min(fitting, default=None)


def evaluate_requirements(text: str, place: Place) -> bool:
    """:raises ExpressionError: for what is no requirement."""
    tokens: list[str] = []
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionError(f"cannot read {text[at:]!r}")
        tokens.append(match[0].strip())
        at = match.end()
    value = _either(tokens, place)
    if tokens:
        raise ExpressionError(f"unexpected {tokens[0]}")
    return value


def _either(tokens: list[str], place: Place) -> bool:
    value = _both(tokens, place)
    while tokens and tokens[0] == "|":
        tokens.pop(0)
        other = _both(tokens, place)
        value = value or other
    return value


def _both(tokens: list[str], place: Place) -> bool:
    value = _single(tokens, place)
    while tokens and tokens[0] == "&":
        tokens.pop(0)
        other = _single(tokens, place)
        value = value and other
    return value


def _single(tokens: list[str], place: Place) -> bool:
    if not tokens:
        raise ExpressionError("unexpected end")
    token = tokens.pop(0)
    if token == "!":
        return not _single(tokens, place)
    if token == "(":
        value = _either(tokens, place)
        if not tokens or tokens.pop(0) != ")":
            raise ExpressionError("missing )")
        return value
    if not _NAME.fullmatch(token) or len(tokens) < 2:
        raise ExpressionError(f"unexpected {token}")
    comparison, wanted = tokens.pop(0), tokens.pop(0).strip('"')
    found = place.attribute(token.upper())
    if comparison in ("=", "!="):
        return _alike(found, wanted) == (comparison == "=")
    if comparison not in ("<", ">"):
        raise ExpressionError(f"unexpected {comparison}")
    try:
        left, right = float(found or 0), float(wanted)
    except ValueError:
        return False
    return left < right if comparison == "<" else left > right


def _alike(found: str, wanted: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in wanted.split("*"))
    return re.fullmatch(pattern, found, re.IGNORECASE) is not None


def evaluate_rank(text: str, place: Place) -> float:
    """The value of an arithmetic expression; 0 for what is none, as the real one ranks then."""
    known = _NAME.sub(lambda match: repr(place.number(match[0].upper())), text)
    try:
        return _arithmetic(ast.parse(known.strip() or "0", mode="eval").body)
    except (SyntaxError, ExpressionError, ZeroDivisionError):
        return 0.0


def _arithmetic(node: Any) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_arithmetic(node.operand)
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.Div):
            return _arithmetic(node.left) / _arithmetic(node.right)
        if type(node.op) in _ARITHMETIC:
            return _ARITHMETIC[type(node.op)](_arithmetic(node.left), _arithmetic(node.right))
    raise ExpressionError("no arithmetic")
