"""oned's hook manager as its subscribers see it, with the real ZeroMQ library: run by Debian's own Python.

Arguments: the two ports. Reads `publish TOPIC<tab>CONTENT` lines; prints `ready`, `subscribed TOPIC` for each new
subscription and `reply TEXT` for each message on the second port, which it answers with ACK.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

zmq: Any = importlib.import_module("zmq")  # Debian's; the project's own environment has none


def main(publisher_port: str, replier_port: str) -> None:
    context = zmq.Context()
    publisher = context.socket(zmq.XPUB)
    publisher.setsockopt(zmq.XPUB_VERBOSE, 1)
    publisher.bind(f"tcp://127.0.0.1:{publisher_port}")
    replier = context.socket(zmq.REP)
    replier.bind(f"tcp://127.0.0.1:{replier_port}")
    poller = zmq.Poller()
    for source in (publisher, replier, sys.stdin):
        poller.register(source, zmq.POLLIN)
    rest = b""
    print("ready", flush=True)
    while True:
        events = dict(poller.poll())
        if publisher in events:
            message = publisher.recv()
            print("subscribed" if message[:1] == b"\x01" else "unsubscribed", message[1:].decode(), flush=True)
        if replier in events:
            print("reply", replier.recv().decode(), flush=True)
            replier.send(b"ACK")
        if sys.stdin.fileno() in events:
            # Not readline: what Python has buffered, poll does not see.
            chunk = os.read(sys.stdin.fileno(), 65536)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                topic, _, content = line.partition(b"\t")
                publisher.send_multipart([topic, content])


main(*sys.argv[1:])
