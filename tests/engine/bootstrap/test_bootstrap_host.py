"""The bootstrap on a real host: prepared once, unchanged the second time, whole again after a kill at any moment."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from components.bootstrap.script import render
from lab.repository import RepositoryInfo
from tests.bootstrap.examples import OTHER_KEY
from tests.engine.bootstrap.bench import STEPS, Bench, forget, killed_before, repository_of, start

pytestmark = pytest.mark.engine

# A systemd with a libvirtd that is enabled and at work, and nothing else.
_SYSTEMCTL = """mkdir -p /run/systemd/system; cat >/usr/local/sbin/systemctl <<'END'
#!/bin/sh
case $* in
    *is-active*libvirtd.service | *is-enabled*libvirtd.service) ;;
    *is-*) exit 3 ;;
    *) echo "$*" >>/restarts ;;
esac
END
chmod +x /usr/local/sbin/systemctl
"""


def test_first_run_prepares_and_the_second_changes_nothing(bench: Bench) -> None:
    first = bench.prepare()
    assert first.steps == STEPS
    assert first.facts == {
        "host": "kvm-1",
        "kind": "kvm",
        "os": "debian 12",
        "package": "opennebula-node-kvm",
        "version": "7.4.0-1",
        "confinement": "",
        "acceleration": True,
        "firewall": "",
        "changed": True,
        "changes": ["repository", "package", "account", "authorized-keys", "known-hosts", "directories"],
    }
    before = bench.root("find /etc /var/lib/one /var/tmp /usr -xdev -newermt @0 -printf '%p %T@ %U %m %s\\n' | sort")
    second = bench.prepare()
    assert second.facts["changed"] is False
    assert second.facts["changes"] == []
    after = bench.root("find /etc /var/lib/one /var/tmp /usr -xdev -newermt @0 -printf '%p %T@ %U %m %s\\n' | sort")
    assert before == after


def test_an_lxc_host_gets_its_id_range(packages: RepositoryInfo) -> None:
    bench = start("lxc-1", "lxc", packages)
    try:
        assert "lxc" in bench.prepare().facts["changes"]
        for file in ("/etc/subuid", "/etc/subgid"):
            assert "root:600100001:65537\n" in bench.root(f"cat {file}")
            assert "deploy:" in bench.root(f"cat {file}")
        assert bench.prepare().facts["changed"] is False
    finally:
        forget(bench)


def test_oneadmin_logs_in_and_may_run_its_commands_only(prepared: Bench) -> None:
    assert prepared.as_oneadmin("id -u").stdout == "9869\n"
    assert "eth0" in prepared.as_oneadmin("sudo -n ip link show eth0").stdout
    for forbidden in ("true", "cat /etc/shadow", "sh -c id", "ip address show"):
        refused = prepared.as_oneadmin(f"sudo -n {forbidden}")
        assert refused.returncode != 0
        assert "password is required" in refused.stderr


def test_the_pinned_control_plane_is_checked_strictly_and_others_as_before(prepared: Bench) -> None:
    pinned = prepared.as_oneadmin("ssh -G oned").stdout.splitlines()
    assert "port 30022" in pinned
    assert "stricthostkeychecking true" in pinned
    assert "userknownhostsfile /var/lib/one/.ssh/known_hosts_control_plane" in pinned
    other = prepared.as_oneadmin("ssh -G elsewhere").stdout.splitlines()
    assert "stricthostkeychecking accept-new" in other


def test_probes_find_what_they_write_to(prepared: Bench) -> None:
    assert (
        prepared.as_oneadmin("touch /var/tmp/one/x /var/tmp/one_db/x && rm /var/tmp/one/x /var/tmp/one_db/x").returncode
        == 0
    )
    assert prepared.as_oneadmin("ruby -e \"require 'load_opennebula_paths'; require 'sqlite3'\"").returncode == 0


@pytest.mark.parametrize("step", STEPS[1:])
def test_killed_before_any_step_the_next_run_completes(bench: Bench, step: str) -> None:
    killed = bench.prepare(killed_before(render(bench.plan()), step))
    assert killed.code != 0
    assert killed.steps == STEPS[: STEPS.index(step) + 1]
    bench.assert_whole()


@pytest.mark.parametrize(
    ("step", "delay"),
    [("preflight", 0.1), ("package", 0.0), ("package", 0.15), ("package", 0.3), ("package", 0.5), ("package", 0.8)],
)
def test_power_cut_in_the_middle_the_next_run_completes(bench: Bench, step: str, delay: float) -> None:
    running = bench.start_preparing(step)
    time.sleep(delay)  # no race is hidden: any moment will do, and the installation takes most of a second
    bench = bench.power_cut()
    running.communicate(timeout=30)
    bench.assert_whole()


def test_a_lost_connection_does_not_spoil_the_next_run(bench: Bench) -> None:
    running = bench.start_preparing("package")
    running.kill()
    running.communicate(timeout=30)
    bench.assert_whole()


def test_two_runs_at_once_take_turns(bench: Bench) -> None:
    running = bench.start_preparing("preflight")
    second = bench.prepare()
    running.communicate(timeout=60)
    assert running.returncode == 0
    assert second.facts["version"] == "7.4.0-1"


def test_rotation_replaces_our_key_and_keeps_the_operators(bench: Bench) -> None:
    bench.prepare()
    bench.root(f"echo '{OTHER_KEY} operator' >>/var/lib/one/.ssh/authorized_keys")
    new = bench.public_key("new")
    overlap = bench.prepare(oneadmin_public_key=new, also_accepted_keys=(bench.public_key(),))
    assert overlap.facts["changes"] == ["authorized-keys"]
    assert [bench.as_oneadmin("true", key).returncode for key in ("oneadmin", "new")] == [0, 0]
    bench.prepare(oneadmin_public_key=new)
    assert bench.as_oneadmin("true", "new").returncode == 0
    assert "Permission denied" in bench.as_oneadmin("true", "oneadmin").stderr
    assert f"{OTHER_KEY} operator\n" in bench.root("cat /var/lib/one/.ssh/authorized_keys")


def test_a_control_plane_that_is_pinned_no_more_leaves_no_trace(bench: Bench) -> None:
    bench.prepare()
    run = bench.prepare(frontend_known_hosts=(), frontend_address=None)
    assert run.facts["changes"] == ["known-hosts"]
    bench.root("test ! -e /var/lib/one/.ssh/known_hosts_control_plane")
    assert "control plane" not in bench.root("cat /var/lib/one/.ssh/config")


def test_another_release_is_installed_when_the_config_wants_it_and_never_an_older_one(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.prepare()
    newer = bench.with_packages(repository_of("7.4.1", tmp_path, monkeypatch))
    unchanged = newer.prepare()  # 7.4.0 is a 7.4 as well; only the key of the new repository is taken over
    assert (unchanged.facts["version"], unchanged.facts["changes"]) == ("7.4.0-1", ["repository"])
    upgraded = newer.prepare(version="7.4.1")
    assert (upgraded.facts["version"], upgraded.facts["changes"]) == ("7.4.1-1", ["package"])
    monkeypatch.undo()
    older = bench.with_packages(bench.packages).prepare(version="7.4.0")
    assert "opennebula-node-kvm 7.4.1-1 is installed, newer than 7.4.0-1" in older.complaint


def test_a_broken_source_of_somebody_else_does_not_stop_it(bench: Bench) -> None:
    broken = f"{bench.repository().url}".replace("http://", "http://me:secret@")
    bench.root(f"echo 'deb {broken}/ no-such-suite main' >/etc/apt/sources.list.d/broken.list")
    run = bench.prepare()
    assert "package" in run.facts["changes"]
    (line,) = [line for line in run.steps if line.startswith("apt-get update says: ")]
    assert "does not have a Release file" in line
    assert "secret" not in run.stdout + run.stderr


# Stands before dpkg-deb, and kills the dpkg that asks it to unpack half way through the files.
_CUTTER = """#!/bin/sh
case $* in
    *--fsys-tarfile*)
        /usr/bin/dpkg-deb "$@" | head -c 3000
        kill -KILL $PPID
        ;;
    *) exec /usr/bin/dpkg-deb "$@" ;;
esac
"""
_CUTS = {
    "before the dependencies were unpacked": "dpkg --unpack /tmp/opennebula-node-kvm_*.deb",
    "in the middle of unpacking": "PATH=/tmp/cut:$PATH dpkg --unpack /tmp/opennebula-rubygems_*.deb || true",
}


@pytest.mark.parametrize("elsewhere", ["nothing", "newer packages"])
@pytest.mark.parametrize("cut", _CUTS)
def test_an_installation_that_was_cut_short_is_made_whole(
    bench: Bench, cut: str, elsewhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut leaves if it comes at that very moment; dpkg itself makes it here."""
    bench.prepare(killed_before(render(bench.plan()), "package"))
    bench.root("apt-get update; cd /tmp; apt-get download opennebula-node-kvm opennebula-rubygems; mkdir cut")
    (bench.files / "tmp/cut/dpkg-deb").write_text(_CUTTER)
    bench.root(f"chmod +x /tmp/cut/dpkg-deb; {_CUTS[cut]}")
    assert "opennebula-" in bench.root("dpkg --audit || true")
    if elsewhere == "newer packages":
        _offer_elsewhere(bench, repository_of("7.4.1", tmp_path, monkeypatch))
    bench.assert_whole()
    assert _versions(bench) == {"7.4.0-1"}


def test_newer_packages_from_elsewhere_are_not_mixed_with_the_wanted_ones(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _offer_elsewhere(bench, repository_of("7.4.1", tmp_path, monkeypatch))
    bench.assert_whole()
    assert _versions(bench) == {"7.4.0-1"}


# A package that the node package needs, from a source that the operator does not want it from.
_UNWANTED = """dpkg --remove --force-depends qemu-utils; mkdir -p /srv/own/build/DEBIAN; cd /srv/own
printf 'Package: qemu-utils\\nVersion: 99\\nArchitecture: all\\nMaintainer: me\\nDescription: mine\\n' >build/DEBIAN/control
dpkg-deb --build build own.deb
{ cat build/DEBIAN/control; echo "Filename: ./own.deb"; echo "Size: $(stat -c %s own.deb)"
echo "SHA256: $(sha256sum own.deb | cut -d' ' -f1)"; } >Packages
echo 'deb [trusted=yes] file:/srv/own ./' >/etc/apt/sources.list.d/own.list
"""


def test_what_the_operator_told_apt_to_prefer_holds(bench: Bench) -> None:
    bench.root(_UNWANTED)
    preferences = bench.files / "etc/apt/preferences"
    preferences.write_text("Package: qemu-utils\nPin: version 99\nPin-Priority: -1\n")
    assert "Depends: qemu-utils but it is not installable" in bench.prepare().complaint
    preferences.unlink()
    bench.assert_whole()


def _offer_elsewhere(bench: Bench, packages: RepositoryInfo) -> None:
    shutil.copytree(packages.directory, bench.files / "srv/newer")
    bench.root("echo 'deb [trusted=yes] file:/srv/newer stable opennebula' >/etc/apt/sources.list.d/newer.list")


def _versions(bench: Bench) -> set[str]:
    return set(bench.root("dpkg-query -W -f '${Version}\\n' 'opennebula-*'").split())


def test_an_installation_that_dpkg_calls_interrupted_is_finished(bench: Bench) -> None:
    # what a kill between two of dpkg's writes leaves: apt refuses to do anything until it is worked off
    bench.root("dpkg -s tini >/var/lib/dpkg/updates/0000")
    assert "was interrupted" in bench.root("apt-get check 2>&1 || true")
    bench.prepare()
    bench.assert_whole()


def test_libvirtd_is_restarted_once_when_oneadmin_cannot_reach_it_yet(bench: Bench) -> None:
    bench.prepare()
    bench.root(
        # A systemd as far as the script looks: libvirtd answers oneadmin only after a restart.
        f"{_SYSTEMCTL}"
        "printf '#!/bin/sh\\n[ \"$(id -un)\" = oneadmin ] && [ -e /restarts ]\\n' >/usr/local/sbin/virsh;"
        "chmod +x /usr/local/sbin/virsh"
    )
    assert bench.prepare().facts["changes"] == ["kvm"]
    assert bench.prepare().facts["changes"] == []
    assert bench.root("cat /restarts") == "restart libvirtd\n"


def test_libvirtd_that_does_not_answer_after_a_restart_is_told(bench: Bench) -> None:
    bench.prepare()
    bench.root(
        f"{_SYSTEMCTL}"
        "printf '#!/bin/sh\\necho error: no route to libvirt >&2\\nexit 1\\n' >/usr/local/sbin/virsh;"
        "chmod +x /usr/local/sbin/virsh"
    )
    complaint = bench.prepare().complaint
    assert "kvm: libvirtd does not answer oneadmin: " in complaint
    assert "error: no route to libvirt" in complaint
