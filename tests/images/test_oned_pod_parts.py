"""prepare, hooks, probes and the way back of the oned pod, and Sunstone's entrypoints: run as they are but for paths."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from components.domain import Version
from components.drivers import KvmSettings, LxcSettings, kvmrc, lxcrc
from components.network_drivers import NetworkDriverSettings, text
from components.oned_conf import parse, render
from components.scheduler import SchedulerSettings, rank_entries, sched_entries
from lab.images import STANDIN

IMAGES = Path(__file__).resolve().parents[2] / "images"
# Longer paths first: each is replaced where it stands.
PATHS = {
    "/usr/local/libexec/one": "scripts",
    "/etc/one-way-back": "etc/one-way-back",
    "/etc/one-program": "program",
    "/etc/one-hem": "hem",
    "/etc/one-ssh": "one-ssh",
    "/mnt/home": "mnt/home",
    "/mnt/etc": "mnt/etc",
    "/etc/one": "image/etc",
    "/var/lib/one": "image/home",
    "/var/log/one": "log",
    "/var/lock/one": "lock",
    "/run/secrets/one": "secrets",
    "/run/one": "run",
    "/usr/bin/oned": "bin/oned",
    "/usr/sbin/sshd": "bin/sshd",
    "/usr/lib/one": "lib",
    "/usr/share/one": "share",
    "/dev/termination-log": "termination-log",
}


class Place:
    """A directory that stands for a container's file system."""

    def __init__(self, root: Path, image: str) -> None:
        self.root = root
        for name in PATHS.values():
            (root / name).mkdir(parents=True, exist_ok=True) if "." not in name and "bin/" not in name else None
        (root / "termination-log").rmdir()
        (root / "bin").mkdir(exist_ok=True)
        for script in (IMAGES / image).iterdir():
            text = script.read_text()
            for path in PATHS:
                text = text.replace(path, f"@{list(PATHS).index(path)}@")
            for index, name in enumerate(PATHS.values()):
                text = text.replace(f"@{index}@", str(root / name))
            target = root / "scripts" / script.name
            target.write_text(text)
            target.chmod(0o755)
        self.program("oned", 'echo "OpenNebula 7.4.0"')

    def program(self, name: str, body: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def read(self, name: str) -> str:
        return (self.root / name).read_text()

    def environment(self, **more: str) -> dict[str, str]:
        path = f"{self.root}/bin:{os.environ['PATH']}"
        return {"PATH": path, "ROOT": str(self.root), "RELEASE": "7.4", "AUTH_SERVICES": "sunstone oneflow", **more}

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(self.root / "scripts" / script), *arguments],
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def oned(tmp_path: Path) -> Place:
    place = Place(tmp_path, "oned")
    place.write("secrets/database/password", "geheim")
    place.write("secrets/oneadmin/one_auth", "oneadmin:first\n")
    place.write("image/etc/oned.conf", 'PORT = 2633\nDB = [ BACKEND = "sqlite" ]\nVM_MAD = [ NAME = "kvm" ]\n')
    place.write("image/etc/monitord.conf", "MANAGER_TIMER = 15\n")
    place.write("image/home/remotes/VERSION", "7.4.0")
    place.write("program/oned.conf", render({"DB": {"BACKEND": "mysql", "PASSWD": "@DATABASE_PASSWORD@"}}))
    place.write("program/monitord.conf", render({"MONITORING_INTERVAL_HOST": 180}))
    return place


def test_prepare_puts_ours_first_and_keeps_the_rest(oned: Place) -> None:
    done = oned.run("prepare")
    assert done.returncode == 0, done.stderr
    assert parse(oned.read("mnt/etc/oned.conf")) == [
        ("DB", {"BACKEND": "mysql", "PASSWD": "geheim"}),
        ("PORT", "2633"),
        ("VM_MAD", {"NAME": "kvm"}),
    ]
    assert parse(oned.read("mnt/etc/monitord.conf")) == [("MONITORING_INTERVAL_HOST", "180"), ("MANAGER_TIMER", "15")]
    assert stat.S_IMODE((oned.root / "mnt/etc/oned.conf").stat().st_mode) == 0o600
    for name in ("sched.conf", "schedulers/rank.conf", "vmm_exec/vmm_exec_kvm.conf", "onehem-server.conf"):
        assert not (oned.root / "mnt/etc" / name).exists(), "nothing that nobody asked for"


def test_prepare_puts_each_file_where_its_reader_looks(oned: Place) -> None:
    oned.write("program/sched.conf", render(sched_entries(SchedulerSettings(interval=20))))
    oned.write("program/rank.conf", render(rank_entries(SchedulerSettings(max_host=4))))
    oned.write("image/etc/schedulers/rank.conf", 'MAX_HOST = 1\nDIFFERENT_VNETS = YES\nLOG = [ SYSTEM = "file" ]\n')
    oned.write("program/vmm_exec_kvm.conf", render({"NIC": {"MODEL": "e1000"}}))
    oned.write("image/etc/vmm_exec/vmm_exec_kvm.conf", 'NIC = [\n MODEL = "virtio"\n]\nSPICE_OPTIONS = "\n <a/>"\n')
    oned.write("hem/onehem-server.conf", ":concurrency: 3\n")
    oned.write("program/one_drs.conf", "PREDICTIVE: 0.5\n")
    oned.write("image/etc/schedulers/one_drs.conf", "PREDICTIVE: 0\nDIFFERENT_VNETS: YES\n")
    for _ in range(2):  # and every pod start again
        assert oned.run("prepare").returncode == 0
    assert dict(parse(oned.read("mnt/etc/sched.conf")))["SCHED_INTERVAL"] == "20"
    rank = parse(oned.read("mnt/etc/schedulers/rank.conf"))
    assert [name for name, _ in rank] == ["MAX_HOST", "LOG", "DIFFERENT_VNETS"]
    assert dict(rank)["MAX_HOST"] == "4"
    assert parse(oned.read("mnt/etc/vmm_exec/vmm_exec_kvm.conf")) == [
        ("NIC", {"MODEL": "e1000"}),
        ("SPICE_OPTIONS", "\n <a/>"),
    ]
    assert oned.read("mnt/etc/onehem-server.conf") == ":concurrency: 3\n", "the file of the container that reads it"
    oned.write("hem/onehem-server.conf", ":concurrency: 4\n")
    assert oned.read("mnt/etc/onehem-server.conf") == ":concurrency: 4\n"
    assert oned.read("mnt/etc/schedulers/one_drs.conf") == "PREDICTIVE: 0.5\n"


def test_prepare_writes_what_hosts_get_with_the_remotes(oned: Place) -> None:
    oned.write("image/home/remotes/etc/vmm/kvm/kvmrc", "export VIRSH_RETRIES=3\nexport SHUTDOWN_TIMEOUT=180")
    oned.write("program/kvmrc", kvmrc(KvmSettings(shutdown_timeout=60, migrate_options="--unsafe --x y")))
    oned.write("program/lxcrc", lxcrc(LxcSettings()))
    oned.write("image/home/remotes/etc/vnm/OpenNebulaNetwork.conf", ":vxlan_ttl: 16\n:shipped: 1\n")
    oned.write("program/OpenNebulaNetwork.conf", text(NetworkDriverSettings(vxlan_ttl=9)))
    for _ in range(2):
        assert oned.run("prepare").returncode == 0
    kvm = oned.root / "mnt/home/remotes/etc/vmm/kvm/kvmrc"
    shown = subprocess.run(
        ["sh", "-euc", f'. {kvm}; echo "$VIRSH_RETRIES $SHUTDOWN_TIMEOUT $MIGRATE_OPTIONS"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "3 60 --unsafe --x y\n"
    assert kvm.read_text().count("SHUTDOWN_TIMEOUT") == 2, "a second start begins with the image's file again"
    assert oned.read("mnt/home/remotes/etc/vmm/lxc/lxcrc").startswith(":vnc:\n")
    assert oned.read("mnt/home/remotes/etc/vnm/OpenNebulaNetwork.conf") == text(NetworkDriverSettings(vxlan_ttl=9))


def test_prepare_brings_authentication_files_with_their_modes(oned: Place) -> None:
    oned.write("program/auth.x509_auth.conf", "plain\n")
    # A mounted Secret: names are links into a hidden directory.
    oned.write("secrets/auth/..data/ldap_auth.conf", ":password: geheim\n")
    (oned.root / "secrets/auth/ldap_auth.conf").symlink_to("..data/ldap_auth.conf")
    oned.write("image/etc/auth/ldap_auth.conf", "shipped\n")
    oned.write("image/etc/auth/server_x509_auth.conf", "stays\n")
    done = oned.run("prepare")
    assert done.returncode == 0, done.stderr
    assert oned.read("mnt/etc/auth/x509_auth.conf") == "plain\n"
    assert oned.read("mnt/etc/auth/ldap_auth.conf") == ":password: geheim\n"
    assert oned.read("mnt/etc/auth/server_x509_auth.conf") == "stays\n"
    assert stat.S_IMODE((oned.root / "mnt/etc/auth/ldap_auth.conf").stat().st_mode) == 0o600
    assert "geheim" not in done.stdout + done.stderr


def test_prepare_says_when_the_image_is_none_of_opennebula(oned: Place) -> None:
    (oned.root / "image/etc/monitord.conf").unlink()
    assert oned.run("prepare").returncode != 0
    assert "no /" in oned.read("termination-log") and "monitord.conf" in oned.read("termination-log")


REAL = (
    "echo 'Copyright 2002-2026, OpenNebula Project, OpenNebula Systems'; echo\n"
    "echo 'OpenNebula {} (9128a58e) is distributed and licensed for use under the terms of the'\n"
    "echo 'Apache License, Version 2.0 (http://www.apache.org/licenses/LICENSE-2.0).'"
)
REHEARSAL = "echo 'Not OpenNebula: a rehearsal'; echo; echo 'OpenNebula {} rehearsal stand-in'"


def touched(place: Place) -> list[Path]:
    return [path for name in ("mnt/home", "mnt/etc") for path in (place.root / name).rglob("*")]


@pytest.mark.parametrize("form", [REAL, REHEARSAL], ids=["real", "stand-in"])
@pytest.mark.parametrize(
    ("release", "version", "fits"),
    [
        *(("7.4", version, True) for version in ("7.4.0", "7.4.2", "7.4.0.1", "7.4")),
        *(("6.10", version, True) for version in ("6.10.5", "6.10.5.1")),
        *(("7.4", version, False) for version in ("6.10.5", "6.10.5.1", "7.40.0", "7.3.90", "17.4.0")),
        *(("6.10", version, False) for version in ("7.4.0", "6.1.0", "6.100.0")),
    ],
)
def test_prepare_takes_an_image_of_its_release_only(
    oned: Place, form: str, release: str, version: str, fits: bool
) -> None:
    oned.program("oned", form.format(version))
    done = oned.run("prepare", RELEASE=release)
    assert (done.returncode == 0) is fits, done.stderr
    if fits:
        assert f"remotes of OpenNebula {version} to the home volume" in done.stdout
    else:
        assert oned.read("termination-log").startswith(
            f"the image has OpenNebula {version}, but opennebula:version is {release}. Next: set opennebula:images.oned "
        )
        assert touched(oned) == [], "neither home nor database of the other release has seen it"


@pytest.mark.parametrize("version", list(Version))
def test_prepare_takes_the_labs_own_images(oned: Place, version: Version) -> None:
    shown = f"import sys; sys.path.insert(0, '{STANDIN / 'usr/lib/one'}'); from standin import BANNER; print(BANNER)"
    oned.program("oned", f'ONE_STANDIN_VERSION={version} PYTHONDONTWRITEBYTECODE=1 exec {sys.executable} -c "{shown}"')
    done = oned.run("prepare", RELEASE=version.value)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("body", ["echo 'oned: error while loading shared libraries' >&2; exit 127", "exit 0"])
def test_prepare_takes_no_image_whose_oned_does_not_tell_its_version(oned: Place, body: str) -> None:
    oned.program("oned", body)
    assert oned.run("prepare").returncode == 1
    said = oned.read("termination-log")
    assert "does not tell its version" in said and ("shared libraries" in said) is ("shared" in body)
    assert touched(oned) == []


def test_prepare_needs_to_know_the_release(oned: Place) -> None:
    done = oned.run("prepare", RELEASE="")
    assert done.returncode != 0 and "RELEASE" in done.stderr
    assert touched(oned) == []


def test_the_pods_ssh_knows_the_way_back_first(oned: Place) -> None:
    assert oned.run("prepare").returncode == 0
    lines = oned.read("mnt/home/.ssh/config").splitlines()
    assert [line.rsplit("/", 1)[1] for line in lines if line.startswith("Include")] == ["ssh_config", "hosts.conf"]


LISTENS = "  0: 00000000:0835 00000000:0000 0A 00000000:00000000 00:00000000 00000000  9869 0 1 1 0 100 0 0 10 0\n"
CLIENT = "  1: 0100007F:D431 0100007F:0835 01 00000000:00000000 00:00000000 00000000  9869 0 2 1 0 20 4 30 10 -1\n"
# Another pod's client, seen from the server's end: that is nobody of this pod.
FOREIGN = "  2: 0A00000A:0835 0B00000A:D432 01 00000000:00000000 00:00000000 00000000  9869 0 3 1 0 20 4 30 10 -1\n"
TIME_WAIT = CLIENT.replace(" 01 ", " 06 ")


@pytest.mark.parametrize(
    ("table", "listens", "connected", "if_served"),
    [
        ("", False, False, True),
        (LISTENS, True, False, False),
        (LISTENS + FOREIGN, True, False, False),
        (LISTENS + TIME_WAIT, True, False, False),
        (LISTENS + FOREIGN + CLIENT, True, True, True),
        (FOREIGN, False, False, True),
    ],
    ids=["nobody", "server alone", "other pods", "closing", "connected", "server gone"],
)
def test_probes_read_the_sockets(oned: Place, table: str, listens: bool, connected: bool, if_served: bool) -> None:
    oned.write("net/tcp", "  sl  local_address rem_address   st\n" + table)
    for question, expected in (("listens", listens), ("connected", connected), ("connected-if-served", if_served)):
        done = oned.run("socket", question, "2101", PROC_NET=str(oned.root / "net"))
        assert (done.returncode == 0) is expected, (question, done.stderr)
    assert oned.run("socket", "listens", "2102", PROC_NET=str(oned.root / "net")).returncode == 1
    assert oned.run("socket", "what", "2101", PROC_NET=str(oned.root / "net")).returncode == 2


def _until(true: Callable[[], bool]) -> bool:
    """Waits for a background process's visible step; generous, because only its absence is a failure."""
    end = time.monotonic() + 30
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def background() -> Iterator[Callable[..., Path]]:
    """Starts a script that does not end; gives the file with what it says. Everything is gone after the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start(place: Place, script: str) -> Path:
        output = place.root / "output"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                ["sh", str(place.root / "scripts" / script)],
                env=place.environment(),
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        running.append(process)
        return output

    yield start
    for process in running:
        # The group also holds what the script started beside its daemon.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_keeper_streams_what_the_scheduler_of_7_logs(oned: Place, background: Callable[..., Path]) -> None:
    """By the stand-in's own placement, whose log has the real one's name."""
    oned.program("curl", "exit 7")
    output = background(oned, "keeper")
    installed = oned.root / "installed"
    installed.mkdir()
    for name, target in (
        *(("etc", STANDIN / "etc/one"), ("lib", STANDIN / "usr/lib/one")),
        ("var", oned.root / "log"),
    ):
        (installed / name).symlink_to(target)
    pools = "<X><VM_POOL><VM><ID>7</ID></VM></VM_POOL><HOST_POOL/><DATASTORE_POOL/></X>"
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, STANDIN / "var/lib/one/remotes/scheduler/rank/place"],
            input=b64encode(pools.encode()),
            env={"ONE_LOCATION": str(installed), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.stdout == b"<PLAN><ID>-1</ID></PLAN>\n", done.stderr
        assert oned.read("log/rank_sched.log").count("VM 7: ") == 1, "each call begins the file anew"
    assert _until(lambda: "[SCHED][I]: VM 7: " in output.read_text()), output.read_text()


MANAGER = """
trap 'echo $$ >>"$ROOT/ended"; exit 143' TERM
echo "$@" >"$ROOT/started"
cp "$ROOT/hem/onehem-server.conf" "$ROOT/reading.$$"
mv "$ROOT/reading.$$" "$ROOT/read.$$"
echo "Loading Hooks..." >>"$ROOT/log/onehem.log"
while [ ! -e "$ROOT/dies" ]; do sleep 0.05; done
exit 7
"""


@pytest.fixture
def hooks(oned: Place) -> Place:
    """oned answers, a manager runs until it is told to end, and a file says when it is connected."""
    oned.program("ruby", MANAGER)
    for name, condition in (("ready", "true"), ("socket", '[ "$*" = "connected 2101" ] && [ -e "$ROOT/connected" ]')):
        oned.write(f"scripts/{name}", f"#!/bin/sh\n{condition}\n").chmod(0o755)
    oned.write("hem/onehem-server.conf", ":concurrency: 3\n")
    oned.write("connected", "")
    return oned


def read_by_managers(place: Place) -> list[str]:
    """What each manager that was ever started has read."""
    return [path.read_text() for path in sorted(place.root.glob("read.*"), key=lambda path: path.stat().st_mtime_ns)]


def test_the_hook_manager_takes_a_changed_file_and_notes_which_one_it_has_read(
    hooks: Place, background: Callable[..., Path]
) -> None:
    (hooks.root / "connected").unlink()
    output = background(hooks, "hem-start")
    taken = hooks.root / "run/hem-taken"
    assert _until((hooks.root / "started").exists)
    assert not taken.exists(), "not before it is connected to oned's events"
    hooks.write("connected", "")
    assert _until(taken.exists) and taken.read_text() == ":concurrency: 3\n"
    assert _until(lambda: read_by_managers(hooks) == [":concurrency: 3\n"])
    hooks.write("new", ":concurrency: 4\n").rename(hooks.root / "hem/onehem-server.conf")
    assert _until(lambda: taken.exists() and taken.read_text() == ":concurrency: 4\n")
    assert _until(lambda: read_by_managers(hooks) == [":concurrency: 3\n", ":concurrency: 4\n"])
    assert len(hooks.read("ended").splitlines()) == 1, "the one before was asked to end, and did before the next began"
    assert "the manager starts anew" in output.read_text()


@pytest.fixture
def hem_start(hooks: Place) -> Iterator[subprocess.Popen[bytes]]:
    """Its main process."""
    with started(hooks) as process:
        yield process


@contextmanager
def started(hooks: Place) -> Iterator[subprocess.Popen[bytes]]:
    command = ["sh", str(hooks.root / "scripts/hem-start")]
    with (hooks.root / "out").open("wb") as out:
        process = subprocess.Popen(command, env=hooks.environment(), stdout=out, stderr=out, start_new_session=True)
    try:
        yield process
    finally:  # also when the test fails: some of what runs in there waits for ever
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def test_a_hook_manager_that_dies_ends_the_container(hooks: Place, hem_start: subprocess.Popen[bytes]) -> None:
    hooks.write("dies", "")
    assert hem_start.wait(30) == 1
    assert "ended with code 7" in hooks.read("termination-log")


def test_a_hook_manager_is_told_that_the_pod_ends(hooks: Place, hem_start: subprocess.Popen[bytes]) -> None:
    assert _until(lambda: read_by_managers(hooks) != [])
    hem_start.terminate()
    assert hem_start.wait(30) == 0
    assert len(hooks.read("ended").splitlines()) == 1


def test_a_pod_that_ends_before_oned_answers_ends_the_wait_for_it(hooks: Place) -> None:
    hooks.write("scripts/ready", '#!/bin/sh\n: >"$ROOT/asked"\nwhile [ ! -e "$ROOT/answers" ]; do sleep 0.05; done\n')
    with started(hooks) as process:
        assert _until((hooks.root / "asked").exists)
        process.terminate()
        assert process.wait(30) == 0
    assert not (hooks.root / "started").exists()


def test_hooks_start_no_earlier_than_oned_answers(oned: Place, background: Callable[..., Path]) -> None:
    oned.write("hem/onehem-server.conf", "")
    oned.program("ruby", 'echo "$@" >"$ROOT/started"; echo "Loading Hooks..." >>"$ROOT/log/onehem.log"; exec sleep 60')
    ready = oned.write("scripts/ready", '#!/bin/sh\necho asked >>"$ROOT/asked"\n[ -e "$ROOT/answers" ]\n')
    ready.chmod(0o755)
    output = background(oned, "hem-start")
    assert _until(lambda: (oned.root / "asked").exists() and len(oned.read("asked").splitlines()) >= 2)
    assert not (oned.root / "started").exists()
    oned.write("answers", "")
    assert _until((oned.root / "started").exists)
    assert oned.read("started").strip().endswith("/onehem/onehem-server.rb")
    assert "waiting for oned" in output.read_text()
    assert _until(lambda: "Loading Hooks..." in output.read_text()), "the daemon's log file is the container's log"


def test_the_way_back_says_why_it_cannot_start(oned: Place) -> None:
    (oned.root / "bin/sshd").unlink(missing_ok=True)
    assert oned.run("way-back-start").returncode != 0
    assert "openssh-server" in oned.read("termination-log")
    oned.program("sshd", 'case "$*" in *-t*) echo "key: invalid format" >&2; exit 255 ;; esac')
    assert oned.run("way-back-start").returncode != 0
    assert "invalid format" in oned.read("termination-log") and "Next:" in oned.read("termination-log")


@pytest.fixture
def sunstone(tmp_path: Path) -> Place:
    place = Place(tmp_path, "sunstone")
    place.write("image/home/.one/sunstone_auth", "serveradmin:x\n")
    place.write("lib/sunstone/sunstone-server.rb", "")
    place.write("share/websockify/run", "")
    return place


def test_sunstone_streams_its_log(sunstone: Place, background: Callable[..., Path]) -> None:
    sunstone.program("ruby", 'echo "started $1" >>"$ROOT/log/sunstone.log"; exec sleep 60')
    output = background(sunstone, "start")
    assert _until(lambda: output.read_text().strip().endswith("sunstone-server.rb"))
    assert (sunstone.root / "image/home/sunstone").is_dir(), "its main.js is assembled there at start"


@pytest.mark.parametrize(
    ("missing", "said"), [("image/home/.one/sunstone_auth", "Secret"), ("lib/sunstone/sunstone-server.rb", "6.10")]
)
def test_sunstone_says_what_it_lacks(sunstone: Place, missing: str, said: str) -> None:
    (sunstone.root / missing).unlink()
    assert sunstone.run("start").returncode != 0
    assert said in sunstone.read("termination-log")


def test_novnc_marks_that_it_runs_and_forgets_old_tokens(sunstone: Place) -> None:
    sunstone.write("image/home/sunstone_vnc_tokens/one-7", "token: kvm-1:5907")
    sunstone.program("python3", 'echo "$@"')
    done = sunstone.run("novnc-start", NOVNC_PORT="29876")
    assert done.returncode == 0, done.stderr
    run, config, port = done.stdout.split()
    assert run.endswith("/websockify/run") and config.endswith("/sunstone_vnc_tokens") and port == "29876"
    assert config.startswith("--target-config=")
    assert (sunstone.root / "lock/.novnc.lock").read_text().isdigit()
    assert not (sunstone.root / "image/home/sunstone_vnc_tokens/one-7").exists()
