"""The real script on every system of the table: prepared once, unchanged the second time, whole after a cut anywhere."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from components.bootstrap.script import Mount, render, steps
from components.bootstrap.systems import BY_KEY
from lab import debs, repository
from lab.repository import RepositoryInfo
from tests.bootstrap.evidence import GROUND
from tests.engine.bootstrap.bench import in_step, killed_before
from tests.engine.bootstrap.families.roots import Root, start

pytestmark = pytest.mark.engine

_RHEL = "sed -i s/enabled=0/enabled=1/ /etc/yum.repos.d/codeready*.repo; rpm -i --nodeps /srv/archive/baseos/epel-release-1-1.noarch.rpm"
_RUNS = [(key, release) for key in GROUND for release in BY_KEY[key].kvm]


def _subscribed(root: Root) -> None:
    """On RHEL the operator enables CRB and EPEL: a subscription is needed for it."""
    if root.system.startswith("rhel"):
        root.root(_RHEL)


@pytest.mark.parametrize(("system", "release"), _RUNS)
def test_prepared_once_and_the_second_run_changes_nothing(system: str, release: str) -> None:
    with start(system, release) as root:
        _subscribed(root)
        first = root.prepare(os=None)  # found out, not declared
        assert first.steps == list(steps(root.plan()))
        assert first.facts["os"].split()[0] == system.split(":", maxsplit=1)[0]
        assert first.facts["changes"][:2] == ["repository", "package"]
        root.assert_whole()


@pytest.mark.parametrize("system", ["almalinux:9", "debian:13"])
def test_lxc_hosts(system: str) -> None:
    with start(system) as root:
        assert "lxc" in root.prepare(kind="lxc").facts["changes"]
        root.assert_whole(kind="lxc")
        assert "root:600100001:65537\n" in root.root("cat /etc/subuid")


@pytest.mark.parametrize("step", steps(Root.example())[1:])
@pytest.mark.parametrize("system", ["almalinux:9", "sles:15", "debian:13"])
def test_killed_before_any_step_the_next_run_completes(system: str, step: str) -> None:
    with start(system) as root:
        killed = root.prepare(killed_before(render(root.plan()), step))
        assert killed.code != 0
        assert killed.steps[-1] == step
        root.assert_whole()


@pytest.mark.parametrize("delay", [0.2, 0.6, 1.0, 1.4])
@pytest.mark.parametrize("system", ["almalinux:9", "sles:15"])
def test_power_cut_in_the_installation_the_next_run_completes(system: str, delay: float) -> None:
    with start(system) as root:
        running = root.start_preparing("package")
        time.sleep(delay)  # no race is hidden: any moment will do, and the installation takes a second or two
        root.power_cut(running)
        root.assert_whole()


@pytest.mark.parametrize("system", ["almalinux:9", "sles:15"])
def test_half_an_installation_that_looks_whole_to_rpm_is_done_again(system: str) -> None:
    with start(system) as root:
        root.prepare()
        root.root(
            ": >/var/lib/one-bootstrap.unfinished; rm /etc/sudoers.d/opennebula-node-kvm; gpasswd -d oneadmin kvm || true"
        )
        root.root("sed -i /oneadmin/d /etc/libvirt/qemu.conf")
        assert "package" in root.prepare().facts["changes"]
        root.assert_whole()


@pytest.mark.parametrize("system", ["almalinux:9", "sles:15"])
def test_what_such_an_installation_brought_along_comes_once_more_too(system: str) -> None:
    with start(system) as root:
        root.root("touch -d '1 hour ago' /srv/began")
        root.prepare()
        root.root("rm /usr/bin/virsh; touch -r /srv/began /var/lib/one-bootstrap.unfinished")
        assert "package" in root.prepare().facts["changes"]
        root.root("test -x /usr/bin/virsh")
        root.assert_whole()


@pytest.mark.parametrize("system", ["almalinux:9", "sles:15"])
def test_half_an_installation_that_cannot_be_done_again_is_told_each_time(system: str) -> None:
    with start(system) as root:
        root.prepare()
        root.root("touch -d '1 minute ago' /var/lib/one-bootstrap.unfinished")
        began = root.root("stat -c %Y /var/lib/one-bootstrap.unfinished")
        newer = root.repository(url="file:///srv/archive/newer")  # without what is installed
        for _ in range(2):
            complaint = root.prepare(repository=newer).complaint
            assert "package: what an interrupted run has left cannot be installed once more: " in complaint
            assert "opennebula-node-kvm-7.4.0-1" in complaint
        assert root.root("stat -c %Y /var/lib/one-bootstrap.unfinished") == began
        assert root.prepare(repository=newer, version="7.4.1").facts["version"] == "7.4.1-1"
        root.root("! ls /var/lib/one-bootstrap.unfinished")


@pytest.mark.parametrize("system", ["almalinux:9", "sles:15"])
def test_another_release_is_installed_when_wanted_and_never_an_older_one(system: str) -> None:
    with start(system) as root:
        root.prepare()
        newer = root.repository(url="file:///srv/archive/newer")
        assert root.prepare(repository=newer).facts["version"] == "7.4.0-1"  # 7.4.0 is a 7.4 as well
        upgraded = root.prepare(repository=newer, version="7.4.1")
        assert (upgraded.facts["version"], upgraded.facts["changes"]) == ("7.4.1-1", ["package"])
        older = root.prepare(version="7.4.0")
        assert "opennebula-node-kvm 7.4.1-1 is installed, newer than 7.4.0-1" in older.complaint


def test_the_whole_run_can_be_cut_while_a_package_manager_waits() -> None:
    with start("almalinux:9") as root:
        slow = root.prepare(
            in_step(render(root.plan(install_limit=1)), "package", "redhat_install() { with_lock 1 sleep 30; }")
        )
        assert slow.code != 0
        root.assert_whole()


@pytest.mark.parametrize("system", ["almalinux:9", "sles:15"])
def test_a_scriptlet_that_fails_is_told_and_the_packages_come_once_more(system: str) -> None:
    with start(system) as root:
        root.root("mv /usr/bin/ssh-keygen /usr/bin/away")  # dnf calls the installation a success
        for _ in range(2):
            complaint = root.prepare().complaint
            assert "a scriptlet of the packages failed: " in complaint
            assert "ssh-keygen: No such file or directory" in complaint
        root.root("mv /usr/bin/away /usr/bin/ssh-keygen")
        assert "package" in root.prepare().facts["changes"]
        root.root("test -f /var/lib/one/.ssh/id_rsa")
        root.assert_whole()


@pytest.mark.parametrize("system", ["almalinux:9", "sles:15"])
def test_so_do_packages_of_the_distribution_that_a_prepared_host_needs_besides(system: str) -> None:
    mounts = (Mount(source="127.0.0.1:/export/0", target="/var/lib/one/datastores/0"),)
    with start(system) as root:
        root.with_recorded("mount")
        root.prepare()
        root.root("touch /srv/broken")
        for _ in range(2):
            assert "a scriptlet of the packages failed: " in root.prepare(mounts=mounts).complaint
        root.root("rm /srv/broken")
        assert "package" in root.prepare(mounts=mounts).facts["changes"]
        root.root("test -e /srv/nfs; ! ls /var/lib/one-bootstrap.unfinished")


def test_zypper_takes_the_version_that_is_there_and_no_newer_one() -> None:
    with start("sles:15") as root:
        root.prepare()
        root.root("printf '[o]\\nname=o\\nbaseurl=file:///srv/archive/newer\\ngpgcheck=0\\n' >/etc/zypp/repos.d/o.repo")
        root.root("touch -d '1 minute ago' /var/lib/one-bootstrap.unfinished")
        assert "package" in root.prepare().facts["changes"]
        assert root.root("rpm -qa --qf '%{VERSION}\\n' 'opennebula-*' | sort -u") == "7.4.0\n"


def test_zypper_is_done_also_where_it_left_out_another_source() -> None:
    with start("sles:15") as root:
        root.root("printf '[o]\\nname=o\\nbaseurl=http://127.0.0.1:9/\\nautorefresh=1\\n' >/etc/zypp/repos.d/o.repo")
        assert "package" in root.prepare().facts["changes"]
        root.root("rm /etc/zypp/repos.d/o.repo")
        root.assert_whole()


def _built_for(system: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> RepositoryInfo:
    """The stand-ins once more, with the same version and another content."""
    sources = place / "node"
    if not sources.exists():
        shutil.copytree(debs.SOURCES, sources, symlinks=True)
    for name in ("opennebula-node-kvm", "opennebula-common"):
        (sources / name / "root/usr/lib").mkdir(parents=True, exist_ok=True)
        (sources / name / "root/usr/lib" / f"{name}.built").write_text(f"{system}\n")
    monkeypatch.setattr(debs, "SOURCES", sources)
    return repository.ensure_repository(None, root=place / "cache")


@pytest.mark.parametrize("cut", [False, True])
def test_a_host_of_a_newer_system_gets_what_was_built_for_it(
    cut: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both builds bear the same version."""
    with start("debian:12") as root:
        for release in ("12", "13"):
            packages = _built_for(release, tmp_path, monkeypatch)
            shutil.copytree(packages.directory, root.path / "srv/archive/Debian" / release)
        source = root.repository(
            url="file:///srv/archive/{os}", key_armored=packages.key_armored, key_fingerprint=packages.fingerprint
        )
        root.prepare(repository=source)
        built = "cat /usr/lib/opennebula-node-kvm.built /usr/lib/opennebula-common.built"
        assert root.root(built) == "12\n12\n"
        root.with_system("debian", "13")
        if cut:
            assert (
                root.prepare(killed_before(render(root.plan(os="debian:13", repository=source)), "package")).code != 0
            )
        assert "package" in root.prepare(os="debian:13", repository=source).facts["changes"]
        assert root.root(built) == "13\n13\n"
        root.assert_whole(os="debian:13", repository=source)


def test_another_mirror_is_no_newer_system() -> None:
    with start("debian:12") as root:
        for place in ("one/Debian/12", "two/Debian/12"):
            shutil.copytree(root.path / "srv/archive/opennebula", root.path / "srv/archive" / place)
        root.prepare(repository=root.repository(url="file:///srv/archive/one/{os}"))
        assert root.prepare(repository=root.repository(url="file:///srv/archive/two/{os}")).facts["changes"] == [
            "repository"
        ]
