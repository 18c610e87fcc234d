"""At most so many handshakes at once through one bastion, whoever starts them.

sshd drops logins that are under way beyond its MaxStartups (10 by default), at random. A slot is a file that is locked
while a handshake lasts; the kernel gives it back when its holder dies. A bastion that was just found dead is not asked
again by everyone who waits: what the first one learned is left beside the slots.
"""

from __future__ import annotations

import fcntl
import os
import time

_LOOK_AGAIN = 0.03  # seconds


class Slots:
    """Those of one bastion, in a folder that all stacks of this checkout share."""

    def __init__(self, folder: str, bastion: str, count: int) -> None:
        os.makedirs(folder, exist_ok=True)
        safe = "".join(letter if letter.isalnum() or letter in ".-@" else "_" for letter in bastion)
        self._place, self._count = os.path.join(folder, safe), count
        self._began = time.time()

    def take(self) -> Held:
        """Wait for a free slot. Raises Dead."""
        while True:
            self._told()
            for number in range(self._count):
                file = os.open(f"{self._place}.{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(file)
                    continue
                return Held(file)
            time.sleep(_LOOK_AGAIN)

    def dead(self, cause: str) -> None:
        """Tell the others what is wrong with the bastion."""
        draft = f"{self._place}.dead.{os.getpid()}"
        with open(draft, "w") as file:
            file.write(cause)
        os.replace(draft, f"{self._place}.dead")

    def _told(self) -> None:
        try:
            if os.stat(f"{self._place}.dead").st_mtime > self._began:
                with open(f"{self._place}.dead") as file:
                    raise Dead(file.read())
        except FileNotFoundError:
            return


class Held:
    """One slot; without a file, where nothing is limited."""

    def __init__(self, file: int = -1) -> None:
        self._file = file

    def release(self) -> None:
        """Let the next one begin; also twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Dead(Exception):
    """Somebody else found the bastion dead while this one waited; the text is the cause."""
