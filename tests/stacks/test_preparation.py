"""What the configuration may say of preparing hosts: refused in a preview, with the path, before any host is reached."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.bootstrap.plan import Firewall, HostPlan, Mount
from components.generated.keys import new_key_pair
from components.preparation_settings import with_preparation
from stacks.settings import ConfigError, parse
from tests.bootstrap.examples import plan
from tests.examples import config, host


def _problems(**changes: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse(
            config() | {key: value if isinstance(value, str) else json.dumps(value) for key, value in changes.items()}
        )
    return {problem.path: problem.text for problem in caught.value.problems}


def _host(**changes: Any) -> list[dict[str, Any]]:
    return [host("kvm-1", address="10.0.0.11", **changes)]


@pytest.mark.parametrize(
    ("changes", "path", "told"),
    [
        ({"hosts": _host(os="debian:10")}, "hosts[0].os", "is no known system; known are debian:11, "),
        (
            {"hosts": _host(os="debian:11")},
            "hosts[0].os",
            "OpenNebula 7.4 has no kvm packages for Debian 11 (but 6.10 has)",
        ),
        ({"hosts": _host(os="sles:15", kind="lxc")}, "hosts[0].os", "has no lxc packages"),
        ({"version": "6.10", "hosts": _host(os="debian:13")}, "hosts[0].os", "(but 7.4 has)"),
        ({"hosts": _host(mounts=[{"source": "/x", "target": "/y"}])}, "hosts[0].mounts[0]", "is no server:/path"),
        (
            {"hosts": _host(mounts=[{"source": "a:/x", "target": "/y z"}])},
            "hosts[0].mounts[0]",
            "no plain absolute path",
        ),
        (
            {"hosts": _host(mounts=[{"source": "a:/x", "target": "/../etc"}])},
            "hosts[0].mounts[0]",
            "no plain absolute path",
        ),
        (
            {"hosts": _host(mounts=[{"source": "a:/x", "target": "/y", "options": "a b"}])},
            "hosts[0].mounts[0]",
            "options",
        ),
        ({"preparation": {"firewall": {"sources": ["everywhere"]}}}, "preparation.firewall.sources[0]", ""),
        ({"preparation": {"firewall": {"firstConsole": 6000, "lastConsole": 5900}}}, "preparation.firewall", "above"),
        ({"preparation": {"clockTolerance": 0}}, "preparation.clockTolerance", ""),
        ({"preparation": {"acceptedKeys": ["next.pub"]}}, "preparation.acceptedKeys[0]", "ssh-ed25519"),
    ],
)
def test_what_no_host_could_be_is_told_with_its_path(changes: dict[str, Any], path: str, told: str) -> None:
    found = _problems(**changes)
    assert told in found[path]


def test_the_plan_says_what_the_settings_say() -> None:
    mount = {"source": "nfs.example:/export/100", "target": "/var/lib/one/datastores/100"}
    key = new_key_pair().public_key
    preparation = {"firewall": {"sources": ["10.0.0.0/8"]}, "lockWait": 7, "minimumFree": 1, "acceptedKeys": [key]}
    settings = parse(
        config()
        | {
            "hosts": json.dumps(_host(os="almalinux:9", driver="qemu", ceph=True, mounts=[mount])),
            "preparation": json.dumps(preparation),
        }
    )
    made: HostPlan = with_preparation(plan(), settings.hosts[0], settings.preparation)
    assert (made.os, made.driver, made.ceph, made.lock_wait, made.minimum_free_mib) == (
        "almalinux:9",
        "qemu",
        True,
        7,
        1,
    )
    assert made.mounts == (Mount(source=mount["source"], target=mount["target"]),)
    assert made.firewall == Firewall(sources=("10.0.0.0/8",))
    assert made.also_accepted_keys == (key,)


def test_the_port_that_a_host_is_reached_at_is_the_one_to_be_opened() -> None:
    settings = parse(config() | {"hosts": json.dumps(_host(port=2222))})
    made = with_preparation(plan(), settings.hosts[0], settings.preparation)
    assert made.firewall == Firewall(ssh_port=2222)


def test_a_firewall_that_is_not_ours_is_no_part_of_the_plan() -> None:
    settings = parse(config() | {"preparation": json.dumps({"firewall": {"manage": False}})})
    assert with_preparation(plan(), settings.hosts[0], settings.preparation).firewall is None


@pytest.mark.parametrize(
    "changes",
    [
        {"driver": "lxc"},
        {"mounts": (Mount(source="a:/x", target="/y"), Mount(source="b:/x", target="/y"))},
        {"clock_tolerance": -1},
    ],
)
def test_plans_that_contradict_themselves_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"driver|two mounts|negative"):
        plan(**changes)


@pytest.mark.parametrize(
    "target",
    [
        *(
            "/",
            "/etc",
            "/etc/ssh",
            "/usr",
            "/usr/share",
            "/var",
            "/var/lib",
            "/var/lib/one",
            "/var/lib/dpkg",
            "/var/tmp/one",
        ),
        *(
            "/boot",
            "/boot/efi",
            "/proc",
            "/sys",
            "/dev/shm",
            "/run/one",
            "/root",
            "/home",
            "/bin",
            "/tmp",
            "/./etc",
            "//etc",
        ),
        *("/etc/", "/var/lib/one/datastores/../.ssh"),
    ],
)
def test_a_mount_does_not_hide_the_system(target: str) -> None:
    mount = {"source": "a:/x", "target": target}
    ((path, text),) = _problems(hosts=_host(mounts=[mount])).items()
    assert path == "hosts[0].mounts[0]"
    assert "such as /var/lib/one/datastores/100" in text


@pytest.mark.parametrize(
    "target",
    ["/var/lib/one/datastores", "/var/lib/one/datastores/100", "/srv", "/mnt/a", "/home/a", "/data", "/var/nfs"],
)
def test_a_mount_for_data_is_accepted(target: str) -> None:
    parse(config() | {"hosts": json.dumps(_host(mounts=[{"source": "a:/x", "target": target}]))})


def test_two_mounts_on_one_path_are_told_with_the_place() -> None:
    mounts = [{"source": f"{name}:/x", "target": target} for name, target in (("a", "/y"), ("b", "/z"), ("c", "/y"))]
    ((path, text),) = _problems(hosts=_host(mounts=mounts)).items()
    assert path == "hosts[0].mounts[2].target"
    assert "mounts[0].target" in text
