"""What is wrong beforehand is told before the first change: each alone, and all of it at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from components.bootstrap.script import render
from tests.bootstrap.examples import OTHER_KEY
from tests.engine.bootstrap.families.roots import Root, start
from tests.openpgp_key import ARMORED, FINGERPRINT

pytestmark = pytest.mark.engine

_SYSTEMS = ["almalinux:9", "sles:15", "debian:13"]


def _sent_at(now: int, script: str) -> str:
    """The sender's clock comes as environment (`remote_command`); these tests have no sender."""
    return f"PLAN_NOW={now}\n{script}"


def _nothing(_: Root) -> None:
    pass


def _user(root: Root) -> None:
    root.root("useradd --uid 9869 --gid 100 squatter")


def _group(root: Root) -> None:
    root.root("groupadd --gid 9869 squatters")


def _other_number(root: Root) -> None:
    root.root("groupadd --gid 4000 oneadmin; useradd --uid 4000 --gid 4000 oneadmin")


def _nameless(root: Root) -> None:
    (root.path / "etc/hosts").write_text("127.0.0.1 localhost\n")


def _other_release(root: Root) -> None:
    root.with_system(root.system.split(":")[0], "3.1")


def _second_source(root: Root) -> None:
    line = (
        "deb file:///srv/archive/opennebula stable opennebula" if root.apt else "baseurl=file:///srv/archive/opennebula"
    )
    folder = "apt/sources.list.d/x.list" if root.apt else "yum.repos.d/x.repo"
    if root.system.startswith("sles"):
        folder = "zypp/repos.d/x.repo"
    root.root(f"echo '{line}' >/etc/{folder}")


# what is done to the host, what the plan says, what is told
_WRONG: list[tuple[Callable[[Root], None], dict[str, Any], str]] = [
    (_user, {}, "uid 9869 belongs to the user squatter"),
    (_group, {}, "gid 9869 belongs to the group squatters"),
    (_other_number, {}, "the user oneadmin has uid 4000, not 9869 | the group oneadmin has gid 4000"),
    (_nameless, {}, "the host cannot resolve its own name host-1"),
    (_other_release, {}, "3.1, the config says "),
    (_other_release, {"os": None}, "3.1 is no system that OpenNebula 7.4 has kvm packages for"),
    (_second_source, {}, "names the package source too"),
    (_nothing, {"driver": "kvm"}, "there is no /dev/kvm"),
    (_nothing, {"minimum_free_mib": 100_000_000}, "MiB free in"),
    (_nothing, {"version": "7.4.9"}, "has no opennebula-node-kvm 7.4.9 (it has: 7.4.0-1)"),
]


@pytest.mark.parametrize("system", _SYSTEMS)
def test_each_alone(system: str) -> None:
    for spoil, changes, told in _WRONG:
        with start(system) as root:
            spoil(root)
            run = root.prepare(**changes)
            assert run.steps == ["preflight"], told
            assert told in run.complaint
            assert run.complaint.count("|") == 2 * told.count("|"), run.complaint  # nothing else is wrong
            assert not root.root("ls /etc/*/*/opennebula* /etc/*/*/*opennebula* 2>/dev/null || true")


def test_what_apt_does_not_read_is_no_second_source() -> None:
    """Such as what an upgrade of the system leaves."""
    with start("debian:13") as root:
        line = "deb file:///srv/archive/opennebula stable opennebula"
        for name in ("opennebula.list.distUpgrade", "x.list.save", "x.list.dpkg-old"):
            (root.path / "etc/apt/sources.list.d" / name).write_text(f"{line}\n")
        assert root.prepare().facts["changed"] is True
        (root.path / "etc/apt/sources.list.d/x.sources").write_text("URIs: file:///srv/archive/opennebula\n")
        assert "/etc/apt/sources.list.d/x.sources names the package source too" in root.prepare().complaint


@pytest.mark.parametrize("system", _SYSTEMS)
def test_all_at_once(system: str) -> None:
    with start(system) as root:
        for spoil in (_user, _group, _nameless, _second_source):
            spoil(root)
        script = _sent_at(
            int(time.time()) - 4000, render(root.plan(driver="kvm", minimum_free_mib=100_000_000, version="7.4.9"))
        )
        complaint = root.prepare(script).complaint
        for told in (
            "squatter",
            "squatters",
            "own name",
            "too, perhaps",
            "/dev/kvm",
            "MiB free",
            "7.4.9",
            "s off the control side's",
        ):
            assert told in complaint
        assert complaint.startswith("one-bootstrap: host-1: preflight: ")
        root.assert_untouched()


@pytest.mark.parametrize("system", _SYSTEMS)
def test_a_wrong_signature_is_refused_by_the_package_manager_itself(system: str) -> None:
    with start(system) as root:
        # a key that rpm knows already, as the distribution's own, is no key of this source either
        run = root.prepare(repository=root.repository(key_armored=ARMORED, key_fingerprint=FINGERPRINT))
        assert run.steps == ["preflight"]
        assert "cannot be used: " in run.complaint
        root.assert_untouched()


@pytest.mark.parametrize("system", _SYSTEMS)
def test_a_package_source_that_is_not_there_or_not_known(system: str) -> None:
    with start(system) as root:
        gone = root.prepare(repository=root.repository(url="http://127.0.0.1:9/none"))
        assert "package source http://127.0.0.1:9/none cannot be used" in gone.complaint
        unknown = root.prepare(repository=root.repository(url="http://packages.invalid/none"))
        assert "the host cannot resolve packages.invalid, where the packages are" in unknown.complaint
        root.assert_untouched()


@pytest.mark.parametrize("system", ["almalinux:9", "sles:15"])
def test_a_key_that_the_host_brings_must_have_the_fingerprint(system: str) -> None:
    with start(system) as root:
        missing = root.prepare(repository=root.repository(key_armored=None))
        assert "the host has no /etc/pki/rpm-gpg/RPM-GPG-KEY-opennebula" in missing.complaint
        target = root.path / "etc/pki/rpm-gpg/RPM-GPG-KEY-opennebula"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(ARMORED)
        wrong = root.prepare(repository=root.repository(key_armored=None))
        assert f"has fingerprint {FINGERPRINT}, the config says {root.repository().key_fingerprint}" in wrong.complaint
        target.write_text(root.repository().key + "\n")
        assert root.prepare(repository=root.repository(key_armored=None)).facts["changed"] is True


def test_rhel_without_crb_and_epel_is_told_how_to_get_them() -> None:
    with start("rhel:9") as root:
        complaint = root.prepare().complaint
        assert "the repository codeready-builder-for-rhel-9-x86_64-rpms is not enabled" in complaint
        assert "subscription-manager repos --enable codeready-builder-for-rhel-9-x86_64-rpms on the host" in complaint
        assert "the repository epel is not enabled" in complaint
        root.assert_untouched()


def _source(root: Root, name: str, place: str) -> None:
    text = f"[{name}]\nname={name}\nbaseurl=file:///srv/archive/{place}\nenabled=1\ngpgcheck=0\n"
    (root.path / f"etc/yum.repos.d/{name}.repo").write_text(text)


@pytest.mark.parametrize(
    "name",
    [
        "codeready-builder-for-rhel-9-rhui-rpms",  # Amazon
        "rhui-codeready-builder-for-rhel-9-x86_64-rhui-rpms",  # Google
        "ours-9-builder",  # a mirror, or Satellite
    ],
)
def test_rhel_may_call_crb_and_epel_otherwise(name: str) -> None:
    with start("rhel:9") as root:
        _source(root, name, "crb")
        told = root.prepare().complaint
        assert "the repository epel is not enabled" in told
        assert ("the repository codeready-builder-for-rhel-9-" in told) == name.startswith("ours")
        _source(root, "ours-epel", "epel")
        assert root.prepare().facts["version"] == "7.4.0-1"
        root.assert_whole()


def test_packages_for_debugging_are_no_crb() -> None:
    with start("rhel:9") as root:
        for kind in ("debug", "source"):
            _source(root, f"codeready-builder-for-rhel-9-x86_64-{kind}-rpms", "lts")
        assert "the repository codeready-builder-for-rhel-9-x86_64-rpms is not enabled" in root.prepare().complaint


def test_mirrors_of_other_names_do_for_alma_too() -> None:
    with start("almalinux:9") as root:
        for name in ("crb", "epel"):
            _source(root, f"ours-{name}", name)
        assert root.prepare(repository=root.repository(enable_dependencies=False)).facts["changed"]
        root.assert_whole()
        assert "enabled=0" in root.root("cat /etc/yum.repos.d/crb.repo")  # what is not missing is not enabled


def test_what_is_missing_is_no_matter_where_nothing_is_to_be_installed() -> None:
    with start("rhel:9") as root:
        for name in ("crb", "epel"):
            _source(root, f"ours-{name}", name)
        root.prepare()
        root.root("rm /etc/yum.repos.d/ours-*")
        assert root.prepare().facts["changed"] is False
        complaint = root.prepare(ceph=True).complaint
        assert "the repository epel is not enabled" in complaint


def test_an_epel_that_is_there_and_switched_off_is_switched_on() -> None:
    with start("almalinux:9") as root:
        root.root(
            "rpm -i --nodeps /srv/archive/baseos/epel-release-1-1.noarch.rpm; sed -i s/enabled=1/enabled=0/ /etc/yum.repos.d/epel.repo"
        )
        assert root.prepare().facts["changed"]
        root.assert_whole()


def test_alma_that_may_not_be_changed_is_told_too() -> None:
    with start("almalinux:9") as root:
        complaint = root.prepare(repository=root.repository(enable_dependencies=False)).complaint
        assert "the repository crb is not enabled | the repository epel is not enabled" in complaint


def test_dnf_says_beforehand_what_an_installation_would_lack() -> None:
    with start("almalinux:9") as root:
        root.root("sed -i s/enabled=0/enabled=1/ /etc/yum.repos.d/crb.repo")
        root.root(
            "rpm -i --nodeps /srv/archive/baseos/epel-release-1-1.noarch.rpm"
            "; sed -i s,archive/epel,archive/lts, /etc/yum.repos.d/epel.repo"
        )
        complaint = root.prepare().complaint
        assert "opennebula-node-kvm-7.4.0-1 cannot be installed: " in complaint
        assert "rubygem-sqlite3" in complaint
        root.assert_untouched()


@pytest.mark.parametrize("system", ["almalinux:9", "sles:15"])
def test_a_package_manager_at_work_is_waited_for_and_no_longer_than_told(system: str) -> None:
    file = "/run/zypp.pid" if system.startswith("sles") else "/var/lib/dnf/rpmdb_lock.pid"
    with start(system) as root:
        # zypper counts only a zypp program, dnf anybody
        root.root("cp /usr/bin/sleep /usr/bin/zypper-held")
        held = f"zypper-held 60 & mkdir -p {file.rsplit('/', 1)[0]}; printf '%s\\n' $! >{file}\n"
        refused = root.prepare(held + render(root.plan(lock_wait=2)))
        assert "another package manager held its lock for 2 s: " in refused.complaint
        assert "(zypper-held)" in refused.complaint
        root.assert_untouched()
        brief = f"zypper-held 1 & mkdir -p {file.rsplit('/', 1)[0]}; printf '%s\\n' $! >{file}\n"
        assert root.prepare(brief + render(root.plan(lock_wait=30))).facts["changed"] is True


def test_the_other_kind_of_host_is_not_turned_over() -> None:
    with start("almalinux:9") as root:
        root.prepare()
        complaint = root.prepare(kind="lxc").complaint
        assert "opennebula-node-kvm is installed, which excludes opennebula-node-lxc" in complaint


def test_the_clock_is_compared_with_the_senders() -> None:
    with start("sles:15") as root:
        now = int(time.time())
        ahead = root.prepare(_sent_at(now - 500, render(root.plan()))).complaint
        assert "s off the control side's (more than 120 s)" in ahead
        assert root.prepare(_sent_at(now, render(root.plan()))).facts["changed"] is True


def test_another_system_of_the_table_than_the_declared_one_is_refused_too() -> None:
    with start("almalinux:9") as root:
        root.with_system("almalinux", "10.0")
        assert "the host is almalinux 10.0, the config says almalinux:9" in root.prepare().complaint
        root.assert_untouched()


@pytest.mark.parametrize("system", _SYSTEMS)
def test_another_stacks_host_is_not_touched(system: str) -> None:
    with start(system) as root:
        root.prepare(owners=("one/prod",))
        before = root.snapshot() + root.root("cat /var/lib/one-bootstrap.made")
        other = root.prepare(owners=("one/dev",), oneadmin_public_key=OTHER_KEY)
        assert other.steps == ["preflight"]
        assert "the host belongs to one/prod, and this stack is one/dev" in other.complaint
        assert root.snapshot() + root.root("cat /var/lib/one-bootstrap.made") == before
        assert root.prepare(owners=("one/prod",)).facts["changed"] is False
        taken = root.prepare(owners=("one/dev",), take_over=True, oneadmin_public_key=OTHER_KEY)
        assert taken.facts["changes"] == ["authorized-keys"]
        assert "the host belongs to one/dev" in root.prepare(owners=("one/prod",)).complaint
        root.undo()
        assert root.prepare(owners=("one/prod",)).facts["changed"] is True
