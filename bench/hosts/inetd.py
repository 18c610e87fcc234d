"""A listener on many addresses that starts `sshd -i` for each connection. `python -m bench.hosts.inetd SSHD PORT TABLE`.

TABLE is a file: address to sshd_config. An empty one is a host that has hung: it takes connections and says nothing.
"""

from __future__ import annotations

import json
import selectors
import signal
import socket
import subprocess
import sys
from pathlib import Path


def main(sshd: str, port: int, table: dict[str, str]) -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    ready = selectors.DefaultSelector()
    for address, config in table.items():
        server = socket.create_server((address, port), backlog=16)
        ready.register(server, selectors.EVENT_READ, config)
    hung: list[socket.socket] = []
    print("ready", flush=True)
    while True:
        for key, _ in ready.select():
            listener = key.fileobj
            assert isinstance(listener, socket.socket)  # noqa: S101 -- only those are registered
            connection, _ = listener.accept()
            if not key.data:
                hung.append(connection)  # kept open
                continue
            with connection:
                subprocess.Popen(
                    [sshd, "-i", "-f", key.data],
                    stdin=connection.fileno(),
                    stdout=connection.fileno(),
                    stderr=subprocess.DEVNULL,
                )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text()))
