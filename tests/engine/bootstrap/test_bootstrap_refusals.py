"""What the bootstrap says when it cannot do its work: one line, with cause and remedy, before the first change."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from components.bootstrap.script import render
from lab import debs, repository
from tests.engine.bootstrap.bench import Bench, in_step, repository_of
from tests.openpgp_key import ARMORED, FINGERPRINT

pytestmark = pytest.mark.engine


def test_a_repository_signed_by_another_key_is_refused_before_any_change(bench: Bench) -> None:
    run = bench.prepare(repository=bench.repository(key_armored=ARMORED, key_fingerprint=FINGERPRINT))
    assert run.steps == ["preflight"]
    assert "cannot be used" in run.complaint
    assert "is not signed" in run.complaint or "NO_PUBKEY" in run.complaint
    bench.assert_untouched()


def test_a_key_that_the_host_brings_must_have_the_fingerprint(bench: Bench) -> None:
    missing = bench.prepare(repository=bench.repository(key_armored=None))
    assert "the host has no /etc/apt/keyrings/opennebula.gpg" in missing.complaint
    key = "\n".join(bench.repository().key.splitlines()[2:-2])
    bench.root(f"base64 -d >/etc/apt/keyrings/opennebula.gpg <<'EOF'\n{key}\nEOF")
    wrong = bench.prepare(repository=bench.repository(key_armored=None, key_fingerprint=FINGERPRINT))
    assert f"has fingerprint {bench.packages.fingerprint}, the config says {FINGERPRINT}" in wrong.complaint
    bench.assert_untouched()
    assert bench.prepare(repository=bench.repository(key_armored=None)).facts["changed"] is True


def test_an_absent_package_source_is_told_before_any_change(bench: Bench) -> None:
    run = bench.prepare(repository=bench.repository(url="http://127.0.0.1:9/none"))
    assert "package source http://127.0.0.1:9/none cannot be used" in run.complaint
    assert "onnection" in run.complaint
    bench.assert_untouched()


def test_a_version_that_the_source_lacks_is_told_before_any_change(bench: Bench) -> None:
    run = bench.prepare(version="7.4.9")
    assert "has no opennebula-node-kvm 7.4.9 (it has: 7.4.0-1)" in run.complaint
    bench.assert_untouched()


def test_everything_that_is_wrong_is_told_at_once(bench: Bench) -> None:
    bench.root(
        "sed -i 's/^VERSION_ID=.*/VERSION_ID=\"10\"/' /etc/os-release;"
        "sed -i '/kvm-1/d' /etc/hosts;"
        "useradd --uid 9869 squatter"
    )
    run = bench.prepare(minimum_free_mib=10_000_000)
    for cause in (
        "debian 10 is no system",
        "resolve its own name",
        "uid 9869 belongs to the user squatter",
        "MiB free in",
    ):
        assert cause in run.complaint
    bench.assert_untouched()


def test_another_family_is_refused(bench: Bench) -> None:
    bench.root("sed -i 's/^ID=.*/ID=slackware/' /etc/os-release")
    complaint = bench.prepare().complaint
    assert "slackware 12 is no system that OpenNebula 7.4 has kvm packages for (debian:12 debian:13 " in complaint


@pytest.mark.parametrize("lock", ["/var/lib/dpkg/lock-frontend", "/var/lib/apt/lists/lock"])
def test_a_held_package_lock_is_waited_for_and_no_longer_than_told(bench: Bench, lock: str) -> None:
    with bench.holding_lock(lock):
        began = time.monotonic()
        run = bench.prepare(lock_wait=2)
        took = time.monotonic() - began
    assert "another package manager held its lock for 2 s" in run.complaint
    assert "held by process" in run.complaint
    assert 2 <= took < 15
    assert bench.prepare(lock_wait=2).facts["changed"] is True


def test_a_run_that_never_ends_is_told_to_the_next_one(bench: Bench) -> None:
    with_lock = bench.root("flock -o /run/one-bootstrap.lock sleep 30 >/dev/null 2>&1 & echo $!").strip()
    run = bench.prepare(lock_wait=1)
    bench.root(f"kill {with_lock}")
    assert "another run has been at work for more than 1 s" in run.complaint


def test_the_whole_run_is_bounded(bench: Bench) -> None:
    run = bench.prepare(in_step(render(bench.plan()), "package", "sleep 30"), limit=2)
    assert run.complaint.startswith("one-bootstrap: kvm-1: limit: not done within 2 s; next: ")
    bench.assert_whole()


def test_sudo_that_asks_for_a_password_is_told_with_the_remedy(bench: Bench) -> None:
    bench.root("sed -i 's/NOPASSWD: //' /etc/sudoers.d/deploy")
    run = bench.prepare()
    assert run.complaint == (
        "one-bootstrap: kvm-1: sudo: deploy cannot become root without a password: sudo: a password is required; "
        "next: put 'deploy ALL=(ALL) NOPASSWD: ALL' into /etc/sudoers.d/deploy on the host"
    )
    assert run.stdout == ""


def test_what_the_package_failed_to_do_is_told_at_the_end(bench: Bench) -> None:
    bench.prepare()
    bench.root(
        "rm /usr/lib/one/ruby/load_opennebula_paths.rb /etc/sudoers.d/opennebula-node-kvm;"
        "mv /usr/bin/virsh /usr/bin/virsh.away; chmod g+w /var/lib/one"
    )
    run = bench.prepare()
    assert run.steps[-1] == "checks"
    for cause in (
        "the package's /etc/sudoers.d/opennebula-node-kvm is missing",
        "oneadmin may run nothing by sudo",
        "ruby does not find load_opennebula_paths",
        "virsh is missing",
        "is writable by others",
    ):
        assert cause in run.complaint
    assert run.stderr.count("\n") == 1


def test_somebody_elses_directory_where_sudo_looks_for_scripts_is_refused(bench: Bench) -> None:
    bench.root("install -d -o deploy /var/tmp/one")
    assert "/var/tmp/one belongs to deploy" in bench.prepare().complaint
    bench.root("rm -r /var/tmp/one; ln -s /home/deploy /var/tmp/one")
    assert "/var/tmp/one is no directory" in bench.prepare().complaint
    bench.root("rm /var/tmp/one; mkdir -m 0777 /var/tmp/one; touch /var/tmp/one/old")
    assert "directories" in bench.prepare().facts["changes"]
    assert bench.root("stat -c '%U %a' /var/tmp/one; stat -c %U /var/tmp/one/old") == "oneadmin 755\noneadmin\n"


def test_a_second_source_for_the_same_packages_is_told(bench: Bench) -> None:
    bench.root(
        f"echo 'deb [trusted=yes] {bench.repository().url}/ stable opennebula' >/etc/apt/sources.list.d/old.list"
    )
    assert "/etc/apt/sources.list.d/old.list names the package source too" in bench.prepare().complaint
    bench.assert_untouched()


def test_a_package_that_cannot_be_installed_names_what_it_lacks(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository_of("7.4.0", tmp_path, monkeypatch)
    control = debs.SOURCES / "opennebula-node-kvm" / "DEBIAN" / "control"
    control.write_text(control.read_text().replace("rsync", "rsync, qemu-of-tomorrow"))
    packages = repository.ensure_repository(None, root=tmp_path / "cache")
    run = bench.with_packages(packages).prepare()
    assert run.steps[-1] == "package"
    assert "opennebula-node-kvm 7.4.0-1 cannot be installed: " in run.complaint
    assert "qemu-of-tomorrow" in run.complaint
    bench.root("! getent passwd oneadmin")
