"""A preparation taken back on every family: nothing of ours is left, what was not ours is as it was, and it can be made again."""

from __future__ import annotations

import pytest

from components.bootstrap.script import Firewall, Mount, render
from components.bootstrap.undo import render_undo
from tests.engine.bootstrap.families.roots import Root, start

pytestmark = pytest.mark.engine

_OPEN = Firewall(sources=("10.0.0.0/8",))
_MOUNT = Mount(source="127.0.0.1:/export/100", target="/var/lib/one/datastores/100")
# Everything of the system that bears a mark or a name of ours. The package's own files do not.
_OURS = (
    "grep -rls -e 'opennebula control plane' -e 'comment .opennebula' /etc /var/lib/one /var/spool 2>/dev/null || true;"
    "ls -d /var/tmp/one /var/tmp/one_db /tmp/one-monitord-3.error /var/lib/one/.ssh/known_hosts_control_plane"
    " /var/lib/one-bootstrap.* /etc/apt/sources.list.d/opennebula.list /etc/apt/keyrings/opennebula.gpg"
    " /etc/yum.repos.d/opennebula.repo /etc/zypp/repos.d/opennebula.repo /etc/pki/rpm-gpg/RPM-GPG-KEY-opennebula 2>/dev/null || true"
)
_PACKAGE = (
    "dpkg-query -W -f '${db:Status-Abbrev}' opennebula-node-kvm 2>/dev/null | grep -q ^ii || rpm -q opennebula-node-kvm"
)


def _installed(root: Root) -> bool:
    return root.root(f"if {_PACKAGE} >/dev/null 2>&1; then echo yes; fi") == "yes\n"


@pytest.mark.parametrize("system", ["debian:12", "almalinux:9", "sles:15"])
def test_taken_back_whole_and_prepared_again(system: str) -> None:
    with start(system) as root:
        root.root("echo '192.0.2.1:/x /srv/x nfs defaults 0 0' >>/etc/fstab")
        first = root.prepare()
        root.root("mkdir -p /var/lib/one/datastores/0/7; echo disk >/var/lib/one/datastores/0/7/disk.0")
        root.root("echo 'ssh-ed25519 AAAA operator' >>/var/lib/one/.ssh/authorized_keys")
        root.root("echo probe >/var/tmp/one/probe; ln -s /etc /var/tmp/one/link")
        root.root("touch /tmp/one-monitord-3.error; chown oneadmin /tmp/one-monitord-3.error")
        root.root("touch /tmp/one-monitord-4.error")  # of somebody else: a name in /tmp says nothing
        assert len(root.root(_OURS).splitlines()) >= 7

        assert root.undo().facts["changes"] == ["access", "probes", "directories", "source", "record"]
        assert root.root(_OURS) == "/var/lib/one-bootstrap.made\n"  # that the package is ours, for another time
        assert root.root("cat /var/lib/one-bootstrap.made") == "package opennebula-node-kvm\n"
        root.root("rm /tmp/one-monitord-4.error")
        assert _installed(root)
        assert "operator" in root.root("cat /var/lib/one/.ssh/authorized_keys")
        assert root.root("cat /var/lib/one/datastores/0/7/disk.0; tail -n 1 /etc/fstab") == (
            "disk\n192.0.2.1:/x /srv/x nfs defaults 0 0\n"
        )
        before = root.snapshot()
        assert root.undo().facts["changes"] == []
        assert root.snapshot() == before

        again = root.prepare()
        assert again.facts["version"] == first.facts["version"]
        assert "package" not in again.facts["changes"]
        root.assert_whole()

        packages = (
            "dpkg-query -W -f '${Package} ${db:Status-Abbrev}\\n' 2>/dev/null || true; rpm -qa 2>/dev/null || true"
        )
        had = set(root.root(packages).splitlines())
        assert "package" in root.undo(uninstall=True).facts["changes"]
        lost = {line.split()[0].split("-7")[0] for line in had - set(root.root(packages).splitlines())}
        assert {name for name in lost if not name.startswith("gpg-pubkey")} == {"opennebula-node-kvm"}
        assert root.root(_OURS) == ""
        assert root.root("cat /var/lib/one/datastores/0/7/disk.0") == "disk\n"
        if not root.apt:
            assert root.root("rpm -q gpg-pubkey | wc -l").strip() == "1"  # the distribution's
        assert "package" in root.prepare().facts["changes"]
        root.assert_whole()


def test_a_package_that_was_there_before_stays() -> None:
    with start("debian:12") as root:
        root.prepare()
        root.root("rm /var/lib/one-bootstrap.made")  # as if somebody else had installed it
        root.prepare()
        root.undo(uninstall=True)
        assert _installed(root)


def test_a_host_that_was_installed_anew_has_nothing_and_says_so() -> None:
    with start("debian:12") as root:
        before = root.snapshot()
        done = root.undo()
        assert done.facts == {"host": "host-1", "record": False, "changes": []}
        assert "nothing of a preparation was found" in done.stdout
        assert root.snapshot() == before
        root.prepare()
        done = root.undo()
        assert done.facts["record"] and done.facts["changes"]
        assert "nothing of a preparation was found" not in done.stdout
        done = root.undo()  # the package, which stays, is on record
        assert done.facts == {"host": "host-1", "record": True, "changes": []}
        assert root.undo(uninstall=True).facts["changes"] == ["package", "record"]
        assert root.undo(uninstall=True).facts == {"host": "host-1", "record": False, "changes": []}


def test_a_killed_run_is_finished_by_the_next() -> None:
    with start("debian:12") as root:
        root.prepare()
        text = render_undo("host-1", uninstall=False)
        assert text.count("undo_directories() {\n") == 1
        text = text.replace("undo_directories() {\n", "undo_directories() {\nkill -KILL $$\n")  # a power cut
        assert root.prepare(text).code != 0
        assert "directories" in root.undo().facts["changes"]
        assert root.root(_OURS) == "/var/lib/one-bootstrap.made\n"


def test_mounts_and_what_the_firewall_lets_in() -> None:
    with start("almalinux:9") as root:
        root.with_recorded("mount", "firewall-cmd")
        (root.path / "var/lib/recorded/firewalld").touch()
        root.prepare(firewall=_OPEN)
        root.root(
            'firewall-cmd --add-rich-rule=\'rule family="ipv4" source address="10.1.0.0/16" port port="80-80" '
            'protocol="tcp" accept\''
        )
        # the mount lasts as long as the namespaces of one run: both scripts in one
        both = render(root.plan(mounts=(_MOUNT,), firewall=_OPEN)) + "\n" + "grep -q export/100 /proc/mounts\n"
        root.prepare(both.replace("main </dev/null\n", "(main) </dev/null\n"))
        assert "127.0.0.1:/export/100" in root.root("cat /etc/fstab")
        done = root.undo().facts["changes"]
        assert {"mounts", "firewall"} <= set(done)
        assert root.root("cat /etc/fstab 2>/dev/null | grep -c nfs || true") == "0\n"
        for rules in ("permanent", "running"):
            left = (root.path / f"var/lib/recorded/firewalld-{rules}").read_text()
            assert "5900-32767" not in left
        assert "10.1.0.0/16" in (root.path / "var/lib/recorded/firewalld-running").read_text()
        root.root("test ! -e /var/lib/one/datastores/100")  # made by us, and empty


# A mount lasts as long as the namespaces of one run, so whatever needs one is a single script. It stands for the server's.
_MOUNTED = 'set -e; /usr/bin/mount -t tmpfs "127.0.0.1:/export/100" /var/lib/one/datastores/100\n'
_UNDO = render_undo("host-1", uninstall=False)


def _with_a_mount(root: Root) -> None:
    """Prepared, with the mount in fstab."""
    root.with_recorded("mount")
    root.prepare(mounts=(_MOUNT,))
    assert "127.0.0.1:/export/100" in root.root("cat /etc/fstab")


def test_our_mount_is_unmounted_and_its_data_stays_with_the_server() -> None:
    with start("almalinux:9") as root:
        _with_a_mount(root)
        gone = "grep -q /datastores/100 /proc/mounts && exit 9\n"
        kept = "mkdir /srv/export; /usr/bin/mount --bind /var/lib/one/datastores/100 /srv/export; echo disk >/srv/export/disk\n"
        done = root.prepare(f"{_MOUNTED}{kept}({_UNDO}) >/tmp/said\n{gone}cat /srv/export/disk; tail -n 1 /tmp/said\n")
        assert done.code == 0, done.stderr
        assert done.stdout.startswith("disk\n")
        assert "mounts" in done.facts["changes"]
        root.root("test ! -e /var/lib/one/datastores/100")  # made by us, and empty


def test_a_mount_in_use_stops_it_before_the_record_goes() -> None:
    with start("almalinux:9") as root:
        _with_a_mount(root)
        used = "(cd /var/lib/one/datastores/100 && exec sleep 60) &\n"
        used += 'until [ "$(readlink /proc/$!/cwd)" = /var/lib/one/datastores/100 ]; do sleep 0.05; done\n'
        done = root.prepare(_MOUNTED + used + _UNDO)
        assert done.code == 1
        assert "mounts: /var/lib/one/datastores/100 cannot be unmounted: " in done.complaint
        assert "next: fuser -vm /var/lib/one/datastores/100 on the host" in done.complaint
        assert "directory /var/lib/one/datastores/100" in root.root("cat /var/lib/one-bootstrap.made")
        assert "127.0.0.1:/export/100" in root.root("cat /etc/fstab")


def test_what_somebody_else_mounted_there_stays() -> None:
    with start("almalinux:9") as root:
        _with_a_mount(root)
        theirs = _MOUNTED.replace("127.0.0.1:/export/100", "192.0.2.7:/own")
        done = root.prepare(f"{theirs}({_UNDO})\ngrep -q '^192.0.2.7:/own ' /proc/mounts\n")
        assert done.code == 0, done.stderr
        assert root.root("cat /etc/fstab 2>/dev/null | grep -c export || true") == "0\n"


def test_rules_of_a_firewalld_that_rests() -> None:
    """Those for the next boot; the others ended with the daemon."""
    with start("debian:12") as root:
        root.with_recorded("firewall-cmd", "firewall-offline-cmd")
        (root.path / "var/lib/recorded/firewalld").touch()
        root.prepare(firewall=_OPEN)
        own = 'rule family="ipv4" source address="10.1.0.0/16" port port="80-80" protocol="tcp" accept'
        root.root(f"firewall-cmd --permanent --add-rich-rule='{own}'")
        (root.path / "var/lib/recorded/firewalld").unlink()
        assert "firewall" in root.undo().facts["changes"]
        assert (root.path / "var/lib/recorded/firewalld-permanent").read_text() == f"{own}\n"
        assert len([line for line in root.recorded() if line.startswith("firewall-offline-cmd --remove")]) == 3


def test_rules_of_ufw() -> None:
    with start("ubuntu:24.04") as root:
        root.with_recorded("ufw")
        root.prepare(firewall=_OPEN)
        assert len((root.path / "var/lib/recorded/ufw").read_text().splitlines()) == 3
        assert "firewall" in root.undo().facts["changes"]
        assert (root.path / "var/lib/recorded/ufw").read_text() == ""
        assert "firewall" not in root.undo().facts["changes"]


def test_rules_of_nftables_for_real() -> None:
    rules = (
        "table inet filter { chain input { type filter hook input priority 0; policy drop; tcp dport 22 accept; }; }"
    )
    with start("almalinux:9", network=True) as root:
        root.with_recorded("systemctl", "virsh")
        for name in ("nftables", "libvirtd"):
            (root.path / f"var/lib/recorded/units/{name}.service").write_text("enabled active\n")
        root.root(f"echo '{rules}' >/etc/nftables.conf; nft -f /etc/nftables.conf")
        before = root.root("nft list ruleset; cat /etc/nftables.conf")
        root.prepare(firewall=_OPEN)
        assert "opennebula" in root.root("nft list ruleset")
        assert "firewall" in root.undo().facts["changes"]
        assert root.root("nft list ruleset; cat /etc/nftables.conf") == before


def test_apparmors_file_of_our_own_goes() -> None:
    with start("debian:13") as root:
        root.with_recorded("systemctl", "virsh")
        for name in ("libvirtd", "apparmor"):
            (root.path / f"var/lib/recorded/units/{name}.service").write_text("enabled active\n")
        (root.path / "srv/enabled").write_text("Y\n")
        root.prepare(render(root.plan()).replace("APPARMOR_SWITCH=/sys/", "APPARMOR_SWITCH=/srv/enabled #"))
        packaged = root.root("sha256sum /etc/apparmor.d/abstractions/libvirt-qemu")
        assert "confinement" in root.undo().facts["changes"]
        root.root("test ! -e /etc/apparmor.d/abstractions/libvirt-qemu.d/opennebula")
        assert root.root("sha256sum /etc/apparmor.d/abstractions/libvirt-qemu") == packaged
        assert root.recorded()[-1] == "systemctl reload apparmor.service"


def test_guests_that_run_stop_it_before_anything_is_taken() -> None:
    with start("debian:12") as root:
        root.prepare()
        guest = "setpriv --reuid 9869 --regid 9869 --clear-groups /tmp/qemu-system-x86_64 60"
        started = f"cp /bin/sleep /tmp/qemu-system-x86_64\n({guest} >/dev/null 2>&1 &)\n"
        seen = "until grep -qs qemu /proc/[0-9]*/comm; do sleep 0.05; done\n"
        done = root.prepare(started + seen + render_undo("host-1", uninstall=False))
        assert "guests of OpenNebula run on it" in done.complaint
        root.root("test -d /var/tmp/one")
