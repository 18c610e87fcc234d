"""one_hm: publishes what oned tells it on a ZeroMQ PUB socket, and takes results of hooks on a REP socket.

Every message is two frames, key and base64 of the XML: `EVENT API <call> <0|1>`, for machines
`EVENT VM <id>/<state>/<lcm state> `, `EVENT STATE VM/<state>/<lcm state>/<id> ` and `EVENT SERVICE <id> `, the same
without a lifecycle state for hosts. Blanks at the end are part of a key. Dies at load without python3-zmq, as the real
one without its gem, and oned does not start then. Source: OpenNebula 7.4.0 src/hm_mad/one_hm.rb.
"""

from __future__ import annotations

import base64
import os
import sys
import threading
from typing import Any, Final
from xml.etree import ElementTree

import zmq

from standin.external import FAILURE, SUCCESS, options

_BIND: Final = "127.0.0.1"
_PUBLISH: Final = 2101
_REPLIES: Final = 2102


class HookDriver:
    """Both sockets are bound before INIT is answered."""

    def __init__(self, bind: str, publish: int, replies: int, high_water: int | None) -> None:
        context: Any = zmq.Context()
        self._stdout = threading.Lock()
        self._publisher = context.socket(zmq.PUB)
        if high_water is not None:
            self._publisher.setsockopt(zmq.SNDHWM, high_water)
        self._replier = context.socket(zmq.REP)
        for socket, port, name in ((self._publisher, publish, "publisher"), (self._replier, replies, "replier")):
            endpoint = f"tcp://{bind}:{port}"
            try:
                socket.bind(endpoint)
            except zmq.ZMQError as error:
                text = f"ERROR: Failed to bind {name} socket to {endpoint}: {error.strerror} ({error.errno})"
                print(text, file=sys.stderr or sys.stdout)
                os._exit(255)
        threading.Thread(target=self._receive, daemon=True).start()

    def serve(self) -> None:
        """Until FINALIZE or the end of stdin."""
        for line in sys.stdin:
            words = line.split()
            if not words:
                continue
            if words[0] == "INIT":
                self._say("INIT SUCCESS")
            elif words[0] == "FINALIZE":
                return
            elif words[0] == "EXECUTE" and len(words) > 2:
                self._publish(words[2])
            elif words[0] == "RETRY" and len(words) > 2:
                self._publisher.send_multipart([b"RETRY", " ".join(words[2:]).encode()])

    def _publish(self, packed: str) -> None:
        try:
            keys = event_keys(base64.b64decode(packed).decode(errors="replace"))
        except (ValueError, ElementTree.ParseError) as error:
            self._say(f"LOG E 0 ERROR: {error}")
            return
        for key in keys:
            self._publisher.send_multipart([f"EVENT {key}".encode(), packed.encode()])

    def _receive(self) -> None:
        while True:
            words = self._replier.recv().decode(errors="replace").split()
            self._replier.send(b"ACK")
            code = int(words[0]) if words and words[0].lstrip("-").isdigit() else 0
            hook = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
            self._say(f"EXECUTE {FAILURE if code else SUCCESS} {hook} {code} {' '.join(words[2:])}")

    def _say(self, line: str) -> None:
        with self._stdout:
            print(line, flush=True)


def event_keys(xml: str) -> list[str]:
    """What a message is published under.

    :raises xml.etree.ElementTree.ParseError: for a message that is no XML.
    """
    root = ElementTree.fromstring(xml)
    if root.findtext("HOOK_TYPE") == "API":
        return [f"API {root.findtext('CALL')} {root.findtext('CALL_INFO/RESULT')}"]
    if root.findtext("HOOK_TYPE") != "STATE":
        return [""]
    kind, state, oid = (root.findtext(name) or "" for name in ("HOOK_OBJECT", "STATE", "RESOURCE_ID"))
    lifecycle = (root.findtext("LCM_STATE") or "") if kind == "VM" else ""
    keys = [f"{kind} {oid}/{state}/{lifecycle} ", f"STATE {kind}/{state}/{lifecycle}/{oid} "]
    service = root.findtext("SERVICE_ID")
    return [*keys, f"SERVICE {service} "] if service is not None else keys


def run() -> None:
    """Entry point of /usr/lib/one/mads/one_hm."""
    found, _ = options(sys.argv[1:], "t:p:l:h:b:", ["threads=", "publisher-port=", "logger-port=", "hwm=", "bind="])

    def get(short: str, long: str, default: str) -> str:
        return found.get(short) or found.get(long) or default

    high_water = get("-h", "--hwm", "")
    HookDriver(
        get("-b", "--bind", _BIND),
        int(get("-p", "--publisher-port", str(_PUBLISH))),
        int(get("-l", "--logger-port", str(_REPLIES))),
        int(high_water) if high_water else None,
    ).serve()
    os._exit(0)
