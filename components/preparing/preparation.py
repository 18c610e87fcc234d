"""One host prepared: the script in hand, attempts until a login, what came of it. Every way it can end has one text."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import tempfile
import time

from components.preparing import client, session
from components.preparing.causes import Cause, Code, why
from components.preparing.slots import Dead, Held, Slots
from components.preparing.values import HOST, NOW, Target, Way, script_path

_FIRST_PAUSE = 1.0  # seconds between two attempts, doubling
_FACTS = ("os", "version")  # of all that a preparation reports; what is printed is kept in the state
_TAIL = 20  # lines of the host's own errors
_AGAIN = "run it again: every step can be repeated"


class Failed(Exception):
    """The end of a preparation, with its cause and what the host said before."""

    def __init__(self, cause: Cause, said: str = "") -> None:
        super().__init__(cause.text)
        self.cause, self.said = cause, said

    def lines(self, name: str) -> list[str]:
        """What an operator reads: the host's own last words, and as the last line what is wrong and the next command."""
        found = self.said.strip().splitlines()[-_TAIL:]
        if not (found and found[-1].startswith("one-bootstrap: ") and "; next: " in found[-1]):
            what = self.cause.code.name.lower().replace("_", " ")
            found.append(f"one-prepare: {name}: {what}: {self.cause.text}; next: {self.cause.then}")
        return found


class Preparation:
    """`folder` is the run's; the script lies there, if it is not given, and while this runs ssh's files. `facts` names what is
    wanted of those that the script reports."""

    def __init__(
        self, folder: str, target: Target, way: Way, script: str | None = None, facts: tuple[str, ...] = _FACTS
    ) -> None:
        self._folder, self._target, self._way, self._given, self._wanted = folder, target, way, script, facts
        self._place = os.path.join(folder, f"run.{os.getpid()}.{target.name}")

    def run(self) -> str:
        """What is wanted of the host's facts, one line of JSON. Raises Failed."""
        try:
            return self._run()
        except OSError as error:
            raise this_machine(error) from error

    def _run(self) -> str:
        environ = self._environment()
        script = self._script()
        try:
            os.makedirs(self._place)
            ended = self._attempts(script, environ)
        finally:
            os.close(script)
            shutil.rmtree(self._place, ignore_errors=True)
        if ended.code == 0:
            return _facts(ended.out, self._wanted)
        raise Failed(self._after_login(ended), ended.err)

    def _attempts(self, script: int, environ: dict[str, str]) -> session.Ended:
        """Until one comes to a login. What another attempt cannot change is tried once."""
        way, slots, pause = self._way, None, _FIRST_PAUSE
        if way.bastion is not None:
            slots = Slots(os.path.join(os.path.dirname(self._folder), "slots"), str(way.bastion), way.handshakes)
        words = client.write_files(self._place, self._target, way)
        for attempt in range(1, way.attempts + 1):
            slot = _slot(slots)
            try:
                # The clock of now: attempts, pauses and the wait for a slot take longer than clocks may differ.
                wanted = way.command.replace(HOST, self._target.name).replace(NOW, str(int(time.time())))
                argv = [*words, f"echo {session.MARK}; {wanted}"]
                ended = session.run(argv, script, environ, login=way.login, limit=way.limit, connected=slot.release)
                if ended.connected:
                    return ended
                cause = why(self._target, way, ended.err, _read(client.bastion_log(self._place)), late=ended.late)
                last = not cause.again or attempt == way.attempts
                if last and cause.bastion and slots:
                    slots.dead(cause.text)  # before the next one in the row gets this slot
            finally:
                slot.release()
            if last:
                break
            time.sleep(pause)
            pause *= 2
        raise Failed(cause._replace(text=cause.text + (f" ({attempt} attempts)" if attempt > 1 else "")))

    def _after_login(self, ended: session.Ended) -> Cause:
        step = next((line for line in reversed(ended.out.splitlines()) if line.startswith("one-bootstrap: ")), "")
        during = f" during {step.removeprefix('one-bootstrap: ')}" if step else ""
        if ended.late:
            then = "see with `ps` on the host what it waits for, then run it again"
            return Cause(Code.LOST, f"not done within {self._way.limit} s{during}", then)
        if ended.code in (255, -15):
            return Cause(Code.LOST, f"the connection to {self._target.endpoint} was lost{during}", _AGAIN)
        return Cause(Code.SCRIPT, f"the script ended with code {ended.code}{during}", _AGAIN)

    def _script(self) -> int:
        """The script's file, open, its text proved. The file goes: the program writes it anew when it is needed."""
        if self._given is not None:
            with tempfile.TemporaryFile() as given:
                given.write(self._given.encode())
                given.flush()
                return os.dup(given.fileno())
        path = script_path(self._folder, self._target.script)
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise _here("the script is not there", "run `pulumi up` in the project's directory") from None
        os.unlink(path)
        with os.fdopen(os.dup(file), "rb") as stream:
            if hashlib.sha256(stream.read()).hexdigest() != self._target.script:
                os.close(file)
                raise _here("the script was changed on its way", "run `pulumi up` again")
        return file

    def _environment(self) -> dict[str, str]:
        """For ssh, and proof that the agent answers: ssh itself would only say that the login is refused."""
        if shutil.which("ssh") is None:
            raise _here("there is no ssh on this machine", "install OpenSSH's client (openssh-client)")
        path = self._way.agent or os.environ.get("SSH_AUTH_SOCK", "")
        own = 'start one with `eval "$(ssh-agent)" && ssh-add`, or set opennebula:sshPrivateKey'
        if not path:
            raise _here("there is no SSH agent: SSH_AUTH_SOCK is not set", own)
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except OSError as error:
                then = "run it again" if self._way.agent else own
                raise _here(f"the SSH agent at {path} does not answer ({error.strerror})", then) from None
        return {**os.environ, "SSH_AUTH_SOCK": path, "LC_ALL": "C"}


def _facts(out: str, wanted: tuple[str, ...]) -> str:
    try:
        found = json.loads((out.strip().splitlines() or ["{}"])[-1])
    except ValueError:
        return "{}"
    return json.dumps({key: found[key] for key in wanted if key in found}, separators=(",", ":"))


def _slot(slots: Slots | None) -> Held:
    try:
        return slots.take() if slots else Held()
    except Dead as found:
        text = f"{found} (seen by another host's attempt just now)"
        raise Failed(Cause(Code.UNREACHABLE, text, "mend the way to it, or correct opennebula:ssh bastion")) from None


def _here(text: str, then: str) -> Failed:
    return Failed(Cause(Code.HERE, text, then))


def this_machine(error: OSError) -> Failed:
    """For what fails where pulumi runs, such as a disk that is full: the file, if one is known, and the system's words."""
    where = f"{error.filename}: " if error.filename else ""
    return _here(f"this machine fails: {where}{error.strerror or error}", "mend that where pulumi runs")


def _read(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
