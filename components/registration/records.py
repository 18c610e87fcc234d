"""oned's XML to values, element by element: no tree is built, so a pool of thousands of hosts costs only its records.

Layout as of 7.4 and 6.10 (Host::to_xml, HostMonitoringTemplate::to_xml). Unknown elements are skipped; a missing or
malformed identity is an error, because every decision of this package hangs on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar
from xml.parsers import expat

from components.registration.client import ClusterRecord, HostRecord, MachineRecord, Sample
from components.registration.transport import MAX_DEPTH, AnswerBroken, safe_parser

Leaves = dict[str, list[str]]
"""Texts of the elements without children, by path below the record, in document order."""

_T = TypeVar("_T")


def parse_hosts(xml: str) -> tuple[HostRecord, ...]:
    return each_record(xml, "HOST_POOL/HOST", _host)


def parse_host(xml: str) -> HostRecord:
    found = each_record(xml, "HOST", _host)
    if len(found) != 1:
        raise AnswerBroken(f"{len(found)} hosts where one was asked for")
    return found[0]


def parse_clusters(xml: str) -> tuple[ClusterRecord, ...]:
    return each_record(
        xml,
        "CLUSTER_POOL/CLUSTER",
        lambda leaves: ClusterRecord(id=number_at(leaves, "ID"), name=text_at(leaves, "NAME")),
    )


def parse_machines(xml: str) -> tuple[MachineRecord, ...]:
    return each_record(xml, "VM_POOL/VM", _machine)


def parse_samples(xml: str) -> tuple[Sample, ...]:
    """Monitoring records that carry numbers. onemonitord also writes empty ones, for hosts that are offline."""
    found = each_record(xml, "MONITORING_DATA/MONITORING", _sample)
    return tuple(sample for sample in found if sample is not None)


def _host(leaves: Leaves) -> HostRecord:
    template = {
        path.removeprefix("TEMPLATE/"): texts[0]
        for path, texts in leaves.items()
        if path.startswith("TEMPLATE/") and path.count("/") == 1
    }
    return HostRecord(
        id=number_at(leaves, "ID"),
        name=text_at(leaves, "NAME"),
        state=number_at(leaves, "STATE"),
        im_mad=text_at(leaves, "IM_MAD"),
        vm_mad=text_at(leaves, "VM_MAD"),
        cluster_id=number_at(leaves, "CLUSTER_ID"),
        cluster=text_at(leaves, "CLUSTER"),
        template=template,
        running_vms=number_at(leaves, "HOST_SHARE/RUNNING_VMS", default=len(leaves.get("VMS/ID", ()))),
        vms=ids_at(leaves, "VMS/ID"),
        free_cpu=_free(leaves, "CPU"),
        free_memory=_free(leaves, "MEM"),
        error=leaves.get("TEMPLATE/ERROR/MESSAGE", leaves.get("TEMPLATE/ERROR", [""]))[0],
        monitored_at=number_at(leaves, "MONITORING/TIMESTAMP", default=0),
    )


def _free(leaves: Leaves, what: str) -> int:
    limit = number_at(leaves, f"HOST_SHARE/MAX_{what}", default=0)
    return limit - number_at(leaves, f"HOST_SHARE/{what}_USAGE", default=0)


def _machine(leaves: Leaves) -> MachineRecord:
    stays = leaves.get("HISTORY_RECORDS/HISTORY/HID", [])
    cpu = _first(leaves, "TEMPLATE/CPU")
    memory = _first(leaves, "TEMPLATE/MEMORY")
    return MachineRecord(
        id=number_at(leaves, "ID"),
        name=text_at(leaves, "NAME"),
        state=number_at(leaves, "STATE"),
        lcm_state=number_at(leaves, "LCM_STATE"),
        host_id=int(stays[-1]) if stays and stays[-1].isdecimal() else -1,
        # Only for choosing a host that has room: oned checks it again.
        cpu=round(float(cpu) * 100) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", cpu) else 0,
        memory=int(memory) * 1024 if re.fullmatch(r"\d{1,15}", memory) else 0,
        requirements=_first(leaves, "USER_TEMPLATE/SCHED_REQUIREMENTS"),
        error=_first(leaves, "USER_TEMPLATE/ERROR"),
    )


def _first(leaves: Leaves, path: str) -> str:
    return leaves.get(path, [""])[0].strip()


def _sample(leaves: Leaves) -> Sample | None:
    if not any(path.startswith("CAPACITY/") for path in leaves):
        return None
    return Sample(host_id=number_at(leaves, "ID"), timestamp=number_at(leaves, "TIMESTAMP"))


def text_at(leaves: Leaves, path: str) -> str:
    try:
        return leaves[path][0]
    except KeyError:
        raise AnswerBroken(f"a record without {path}") from None


def number_at(leaves: Leaves, path: str, *, default: int | None = None) -> int:
    if default is not None and not leaves.get(path, [""])[0].strip():
        return default
    text = text_at(leaves, path)
    if len(text) > 20 or not text.strip().lstrip("-").isdecimal():
        raise AnswerBroken(f"a record whose {path} is no number")
    return int(text)


def ids_at(leaves: Leaves, path: str) -> tuple[int, ...]:
    """The numbers of a list of ids, in order."""
    texts = [text for text in leaves.get(path, []) if text.strip()]
    if not all(text.isdecimal() and len(text) < 20 for text in texts):
        raise AnswerBroken(f"a record whose {path} is no number")
    return tuple(int(text) for text in texts)


def each_record(xml: str, where: str, build: Callable[[Leaves], _T]) -> tuple[_T, ...]:
    """Every element at path `where`, built from its leaves as soon as it ends."""
    record = tuple(where.split("/"))
    found: list[_T] = []
    path: list[str] = []
    leaves: Leaves = {}
    text: list[str] = []
    leaf = False

    def start(tag: str, _attributes: dict[str, str]) -> None:
        nonlocal leaf
        path.append(tag)
        if len(path) > MAX_DEPTH:
            raise AnswerBroken(f"XML nested deeper than {MAX_DEPTH} levels")
        if len(path) <= len(record) and tag != record[len(path) - 1]:
            raise AnswerBroken(f"<{tag[:40]}> where <{record[len(path) - 1]}> was expected")
        text.clear()
        leaf = True

    def end(_tag: str) -> None:
        nonlocal leaf
        if len(path) == len(record):
            found.append(build(leaves))
            leaves.clear()
        elif leaf and len(path) > len(record):
            leaves.setdefault("/".join(path[len(record) :]), []).append("".join(text))
        path.pop()
        text.clear()
        leaf = False

    parser = safe_parser()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    try:
        parser.Parse(xml.encode(), True)
    except expat.ExpatError as error:
        reason = expat.errors.messages.get(error.code, "unreadable")
        raise AnswerBroken(f"no XML inside the answer ({reason})") from None
    return tuple(found)
