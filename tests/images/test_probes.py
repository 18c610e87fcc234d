"""The probes of guacd and of the daemons, run as they are but for the kernel's table of sockets."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

IMAGES = Path(__file__).resolve().parents[2] / "images"
GUACD, DAEMON = IMAGES / "fireedge/guacd-alive", IMAGES / "service/alive"
LIMIT = 30.0  # seconds that no probe may need

# As the kernel shows them: sl, local_address, rem_address, st, …
LISTENING = "   1: 0100007F:12D6 00000000:0000 0A 00000000:00000000 00:00000000 00000000 19869        0 41000 1\n"
CONNECTED = "   2: 0100007F:12D6 0100007F:A2C0 01 00000000:00000000 00:00000000 00000000 19869        0 41001 1\n"
EVERYWHERE = "   0: 00000000:0A38 00000000:0000 0A 00000000:00000000 00:00000000 00000000 19869        0 40999 1\n"


@pytest.mark.parametrize(
    ("table", "alive"),
    [(EVERYWHERE + LISTENING, True), (EVERYWHERE, False), (EVERYWHERE + CONNECTED, False), ("", False)],
)
def test_guacd_is_alive_while_it_listens_on_loopback(tmp_path: Path, table: str, alive: bool) -> None:
    (tmp_path / "tcp").write_text(table)
    script = GUACD.read_text().replace("/proc/net/tcp", str(tmp_path / "tcp"))
    done = subprocess.run(["sh", "-c", script], capture_output=True, timeout=LIMIT, check=False)
    assert (done.returncode == 0) is alive


SIX = "   0: 00000000000000000000000000000000:0A38 00000000000000000000000000000000:0000 0A 00000000:00000000 0 0 0\n"


@pytest.mark.parametrize(
    ("four", "six", "alive"),
    [
        (EVERYWHERE, "", True),
        (LISTENING, SIX, True),
        (EVERYWHERE, None, True),  # a node without IPv6
        (LISTENING + CONNECTED, "", False),
        (EVERYWHERE.replace(" 0A ", " 01 "), "", False),
        (EVERYWHERE.replace(":0A38 00000000:0000", ":A2C0 00000000:0A38"), "", False),
        ("", None, False),
    ],
)
def test_a_daemon_is_alive_while_it_listens_however_slow_it_is(
    tmp_path: Path, four: str, six: str | None, alive: bool
) -> None:
    (tmp_path / "tcp").write_text(four)
    if six is not None:
        (tmp_path / "tcp6").write_text(six)
    script = DAEMON.read_text().replace("/proc/net/tcp", str(tmp_path / "tcp"))
    done = subprocess.run(["sh", "-c", script, "alive", "2616"], capture_output=True, timeout=LIMIT, check=False)
    assert (done.returncode == 0) is alive


def test_the_probes_are_executable() -> None:
    assert os.access(GUACD, os.X_OK) and os.access(DAEMON, os.X_OK)
