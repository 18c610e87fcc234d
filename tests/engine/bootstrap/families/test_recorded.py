"""libvirt's two shapes, SELinux, AppArmor, firewalls and NFS, with stand-ins that keep state and fail as the real ones."""

from __future__ import annotations

import pytest

from components.bootstrap.script import Firewall, Mount, render
from tests.engine.bootstrap.families.roots import Root, start

pytestmark = pytest.mark.engine

_MODULAR = ("virtqemud", "virtqemud-ro", "virtnetworkd", "virtnodedevd", "virtsecretd", "virtstoraged")
_OPEN = Firewall(sources=("10.0.0.0/8", "192.0.2.0/24"))


def _units(root: Root, **states: str) -> None:
    root.with_recorded("systemctl", "virsh")
    for name, state in states.items():
        (root.path / "var/lib/recorded/units" / name.replace("__", ".").replace("_", "-")).write_text(f"{state}\n")


def _modular(root: Root) -> None:
    _units(
        root,
        virtqemud__service="disabled inactive",
        **{f"{name.replace('-', '_')}__socket": "disabled inactive" for name in _MODULAR},
    )


@pytest.mark.parametrize("system", ["almalinux:9", "sles:15"])
def test_modular_daemons_are_enabled_and_made_to_read_their_configuration_once(system: str) -> None:
    with start(system) as root:
        _modular(root)
        assert "kvm" in root.prepare().facts["changes"]
        enabled = [f"systemctl enable --now {name}.socket" for name in _MODULAR]
        assert root.recorded() == [*enabled, "systemctl restart virtqemud.service"]
        root.assert_whole()
        assert len(root.recorded()) == len(enabled) + 1


def test_a_libvirtd_that_was_started_before_its_configuration_came_is_restarted() -> None:
    """Debian's package starts it, and lets oneadmin in by its group, before OpenNebula's configuration is read."""
    with start("debian:13") as root:
        _units(root, libvirtd__service="enabled active")
        (root.path / "var/lib/recorded/started-libvirtd.service").touch()
        assert "kvm" in root.prepare().facts["changes"]
        assert root.recorded() == ["systemctl restart libvirtd.service"]
        root.assert_whole()
        assert len(root.recorded()) == 1


def test_a_host_that_has_chosen_the_one_libvirtd_keeps_it() -> None:
    with start("almalinux:9") as root:
        _units(root, libvirtd__service="enabled active")
        assert "kvm" in root.prepare().facts["changes"]
        assert root.recorded() == ["systemctl restart libvirtd.service"]
        root.assert_whole()


def test_both_libvirts_at_once_are_refused_before_any_change() -> None:
    with start("almalinux:9") as root:
        _units(root, libvirtd__service="enabled active", virtqemud__socket="enabled active")
        assert "libvirtd and virtqemud are both at work" in root.prepare().complaint
        root.assert_untouched()
        assert root.recorded() == []


def test_a_daemon_that_does_not_start_is_told_with_its_words() -> None:
    with start("sles:15") as root:
        _modular(root)
        (root.path / "var/lib/recorded/units/virtqemud.service").write_text("disabled broken\n")
        assert "virtqemud does not start: Job for virtqemud.service failed" in root.prepare().complaint
        (root.path / "var/lib/recorded/units/virtstoraged.socket").unlink()
        assert (
            "virtstoraged.socket cannot be enabled: Unit virtstoraged.socket could not be found"
            in root.prepare().complaint
        )


@pytest.mark.parametrize("mode", ["Enforcing", "Permissive"])
def test_selinux_stays_on_and_learns_the_datastores(mode: str) -> None:
    with start("almalinux:9") as root:
        root.with_recorded("getenforce", "restorecon", "getsebool", "setsebool")
        (root.path / "var/lib/recorded/selinux").write_text(f"{mode}\n")
        first = root.prepare()  # semanage is no part of the installation: its package is installed for it
        assert "semanage: not found" in first.complaint or "semanage cannot label" in first.complaint
        assert root.root("rpm -q policycoreutils-python-utils").startswith("policycoreutils-python-utils-1-1")
        root.with_recorded("semanage")  # our package of it is empty
        assert root.prepare().facts["changes"] == ["confinement"]
        assert root.recorded() == [
            "semanage fcontext -a -t virt_image_t /var/lib/one/datastores(/.*)?",
            "restorecon -R /var/lib/one/datastores",
        ]
        assert root.root("getenforce") == f"{mode}\n"
        root.assert_whole()


def test_a_label_of_another_kind_is_mended_and_nfs_is_allowed_for_guests() -> None:
    with start("almalinux:10") as root:
        root.with_recorded("getenforce", "restorecon", "getsebool", "setsebool", "semanage", "mount")
        (root.path / "var/lib/recorded/selinux").write_text("Enforcing\n")
        (root.path / "var/lib/recorded/fcontext").write_text("/var/lib/one/datastores(/.*)? var_lib_t\n")
        mounts = (Mount(source="127.0.0.1:/export/100", target="/var/lib/one/datastores/100"),)
        script_changes = root.prepare(mounts=mounts).facts["changes"]
        assert {"storage", "confinement"} <= set(script_changes)
        assert root.recorded() == [
            "mount /var/lib/one/datastores/100",
            "semanage fcontext -a -t virt_image_t /var/lib/one/datastores(/.*)?",
            "semanage fcontext -m -t virt_image_t /var/lib/one/datastores(/.*)?",
            "restorecon -R /var/lib/one/datastores",
            "setsebool -P virt_use_nfs on",
        ]


def test_selinux_that_is_off_stays_off_and_is_told() -> None:
    with start("sles:16") as root:
        root.with_recorded("getenforce", "semanage")
        assert root.prepare().facts["confinement"] == ""
        assert root.recorded() == []


def test_nfs_mounts_stand_in_fstab_and_their_packages_are_there() -> None:
    mounts = (Mount(source="127.0.0.1:/export/0", target="/var/lib/one/datastores/0"),)
    with start("sles:15") as root:
        root.with_recorded("mount")
        assert "storage" in root.prepare(mounts=mounts).facts["changes"]
        assert "127.0.0.1:/export/0 /var/lib/one/datastores/0 nfs _netdev,nofail,hard 0 0\n" in root.root(
            "cat /etc/fstab"
        )
        assert root.root("rpm -q nfs-client") == "nfs-client-1-1.noarch\n"
        assert root.recorded() == ["mount /var/lib/one/datastores/0"]
        assert root.prepare().facts["changes"] == ["storage"]
        assert root.root("cat /etc/fstab 2>/dev/null | grep -c export || true") == "0\n"


def test_a_mount_that_left_the_configuration_is_unmounted_unless_it_is_in_use() -> None:
    target = "/var/lib/one/datastores/0"
    # mounts end with each run here
    mounted = f"set -e; /usr/bin/mount -t tmpfs 127.0.0.1:/export/0 {target}\n"
    used = f'(cd {target} && exec sleep 60) &\nuntil [ "$(readlink /proc/$!/cwd)" = {target} ]; do sleep 0.05; done\n'
    with start("almalinux:9") as root:
        root.with_recorded("mount")
        root.prepare(mounts=(Mount(source="127.0.0.1:/export/0", target=target),))
        kept = root.root("cat /etc/fstab /var/lib/one-bootstrap.made")
        busy = root.prepare(mounted + used + render(root.plan()))
        assert f"storage: {target} cannot be unmounted: umount: {target}: target is busy" in busy.complaint
        assert root.root("cat /etc/fstab /var/lib/one-bootstrap.made") == kept
        gone = root.prepare(
            f"{mounted}(\n{render(root.plan())}) >/tmp/said\n! grep -q {target} /proc/mounts\ntail -n 1 /tmp/said\n"
        )
        assert gone.facts["changes"] == ["storage"]
        root.root(f"! grep export /etc/fstab; test ! -e {target}")


def test_a_mount_of_somebody_else_is_told_before_any_change() -> None:
    mounts = (Mount(source="nfs.invalid:/export/0", target="/srv/0"),)
    with start("sles:15") as root:
        root.root("echo 'other:/x /srv/0 nfs defaults 0 0' >>/etc/fstab")
        complaint = root.prepare(mounts=mounts).complaint
        assert "the host cannot resolve nfs.invalid, which /srv/0 is to be mounted from" in complaint
        assert "/etc/fstab has a line for /srv/0 already" in complaint
        root.assert_untouched()


@pytest.mark.parametrize(
    ("kind", "packages"), [("kvm", "ceph-common qemu-kvm-block-rbd"), ("lxc", "ceph-common rbd-nbd")]
)
def test_cephs_client_programs(kind: str, packages: str) -> None:
    with start("almalinux:9") as root:
        root.prepare(kind=kind, ceph=True)
        root.root(f"rpm -q {packages}")
        assert root.prepare(kind=kind, ceph=True).facts["changed"] is False


def test_firewalld_lets_in_consoles_and_migrations_now_and_after_a_boot() -> None:
    with start("almalinux:9") as root:
        root.with_recorded("firewall-cmd")
        (root.path / "var/lib/recorded/firewalld").touch()
        refused = root.prepare().complaint
        assert "firewalld is at work, and the config names no network" in refused
        root.assert_untouched()
        assert "firewall" in root.prepare(firewall=_OPEN).facts["changes"]
        running = (root.path / "var/lib/recorded/firewalld-running").read_text()
        assert running == (root.path / "var/lib/recorded/firewalld-permanent").read_text()
        assert [line.split('"')[3:6:2] for line in running.splitlines()] == [
            [network, ports] for ports in ("22", "5900-32767", "49152-49215") for network in _OPEN.sources
        ]
        asked = len(root.recorded())
        assert root.prepare(firewall=_OPEN).facts["changed"] is False
        assert len(root.recorded()) == asked
        (root.path / "var/lib/recorded/firewalld-running").unlink()  # what a reload of an older set leaves
        assert root.prepare(firewall=_OPEN).facts["changes"] == ["firewall"]


def test_a_firewall_that_is_left_alone_is_left_alone() -> None:
    with start("almalinux:9") as root:
        root.with_recorded("firewall-cmd")
        (root.path / "var/lib/recorded/firewalld").touch()
        root.prepare(firewall=None)
        assert root.recorded() == []


def test_ufw_on_ubuntu() -> None:
    with start("ubuntu:24.04") as root:
        root.with_recorded("ufw")
        assert "ufw is at work" in root.prepare().complaint
        assert "firewall" in root.prepare(firewall=_OPEN).facts["changes"]
        assert root.recorded()[2] == "ufw allow proto tcp from 10.0.0.0/8 to any port 5900:32767 comment opennebula"
        assert len(root.recorded()) == 6
        assert root.prepare(firewall=_OPEN).facts["changed"] is False


def test_containers_have_no_migration_to_let_in() -> None:
    with start("ubuntu:24.04") as root:
        root.with_recorded("ufw")
        root.prepare(kind="lxc", firewall=_OPEN)
        assert len(root.recorded()) == 4
        assert not [line for line in root.recorded() if "49152" in line]


@pytest.mark.parametrize(
    ("system", "own"),
    [
        ("debian:13", "abstractions/libvirt-qemu.d/opennebula"),
        ("ubuntu:24.04", "local/abstractions/libvirt-qemu"),
    ],
)
def test_apparmor_stays_on_and_learns_the_datastores_in_a_file_of_our_own(system: str, own: str) -> None:
    with start(system) as root:
        _units(root, libvirtd__service="enabled active", apparmor__service="enabled active")
        (root.path / "srv/enabled").write_text("Y\n")  # no kernel of a test has AppArmor: only the switch is moved
        script = render(root.plan()).replace("APPARMOR_SWITCH=/sys/", "APPARMOR_SWITCH=/srv/enabled #")
        packaged = root.root("sha256sum /etc/apparmor.d/abstractions/libvirt-qemu")
        first = root.prepare(script)
        assert first.facts["confinement"] == "apparmor"
        assert "confinement" in first.facts["changes"]
        assert "  /var/lib/one/datastores/** rwk,\n" in root.root(f"cat /etc/apparmor.d/{own}")
        assert root.root("sha256sum /etc/apparmor.d/abstractions/libvirt-qemu") == packaged
        assert root.recorded()[-1] == "systemctl reload apparmor.service"
        asked = root.recorded()
        assert root.prepare(script).facts["changed"] is False
        assert root.recorded() == asked
