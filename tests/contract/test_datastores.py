"""one.datastore.*: what a template must say, and which clusters a datastore is in."""

from __future__ import annotations

import pytest

from tests.contract.endpoint import Endpoint, unique

NO_EXISTS = 0x400
INTERNAL = 0x2000
ACTION = 0x800
NOWHERE = 999999
LOCAL = 'TYPE = "SYSTEM_DS"\nTM_MAD = "ssh"'
CEPH = 'DS_MAD = "ceph"\nTM_MAD = "ceph"\nDISK_TYPE = "RBD"\nBRIDGE_LIST = "a b"\nPOOL_NAME = "one"'


def made(api: Endpoint, text: str, cluster: int = -1, name: str | None = None) -> int:
    oid = int(api.ok("datastore.allocate", f'NAME = "{name or unique()}"\n{text}', cluster))
    api.later(lambda: api.call("datastore.delete", oid))
    return oid


def test_the_three_of_the_first_boot(api: Endpoint) -> None:
    found = [api.xml("datastore.info", oid) for oid in (0, 1, 2)]
    assert [each.findtext("NAME") for each in found] == ["system", "default", "files"]
    assert [each.findtext("TYPE") for each in found] == ["1", "0", "2"]
    assert [each.findtext("DS_MAD") for each in found] == ["-", "fs", "fs"]
    assert [each.findtext("STATE") for each in found] == ["0", "0", "0"]


def test_a_system_datastore(api: Endpoint) -> None:
    oid = made(api, LOCAL)
    assert oid >= 100
    found = api.xml("datastore.info", oid)
    assert [found.findtext(tag) for tag in ("TYPE", "DISK_TYPE", "DS_MAD", "TM_MAD", "CLUSTERS/ID")] == [
        "1", "0", "-", "ssh", "0",
    ]  # fmt: skip
    assert [found.findtext(f"TEMPLATE/{tag}") for tag in ("SHARED", "RESTRICTED_DIRS", "SAFE_DIRS")] == [
        "NO", "/", "/var/tmp",
    ]  # fmt: skip
    assert (found.findtext("BASE_PATH") or "").endswith(f"/{oid}")


def test_a_ceph_datastore(api: Endpoint) -> None:
    found = api.xml("datastore.info", made(api, CEPH))
    assert [found.findtext(tag) for tag in ("TYPE", "DISK_TYPE", "DS_MAD", "TM_MAD")] == ["0", "3", "ceph", "ceph"]
    assert [found.findtext(f"TEMPLATE/{tag}") for tag in ("CLONE_TARGET", "LN_TARGET", "DISK_TYPE", "POOL_NAME")] == [
        "SELF", "NONE", "RBD", "one",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("TM_MAD = ssh", "No DS_MAD in template."),
        ("DS_MAD = fs", "No TM_MAD in template."),
        ("TYPE = SYSTEM_DS\nDS_MAD = fs\nTM_MAD = ssh", "SYSTEM datastores cannot have DS_MAD defined."),
        ("DS_MAD = nothing\nTM_MAD = ssh", 'DS_MAD named "nothing" is not defined in oned.conf'),
        ("DS_MAD = fs\nTM_MAD = nothing", 'TM_MAD named "nothing" is not defined in oned.conf'),
        (
            "DS_MAD = ceph\nTM_MAD = ceph\nDISK_TYPE = RBD",
            'Datastore template is missing the "BRIDGE_LIST" attribute or it\'s empty.',
        ),
        (
            'DS_MAD = ceph\nTM_MAD = ceph\nBRIDGE_LIST = "a"',
            'Datastore template is missing the "DISK_TYPE" attribute or it\'s empty.',
        ),
        ("DS_MAD = fs\nTM_MAD = ssh\nDISK_TYPE = PAPER", "Unknown DISK_TYPE in template."),
        ("TYPE = SYSTEM_DS\nTM_MAD = ssh\nDISK_TYPE = ISCSI", "Invalid DISK_TYPE for a System Datastore."),
    ],
)
def test_templates_that_are_refused(api: Endpoint, text: str, refusal: str) -> None:
    answer = api.call("datastore.allocate", f'NAME = "{unique()}"\n{text}', -1)
    assert answer == [False, f"[one.datastore.allocate] {refusal}", INTERNAL, -1, -1]


def test_names_and_clusters_that_are_refused(api: Endpoint) -> None:
    name = unique()
    oid = made(api, LOCAL, name=name)
    assert api.call("datastore.allocate", f'NAME = "{name}"\n{LOCAL}', -1) == [
        False, f"[one.datastore.allocate] NAME is already taken by DATASTORE {oid}.", INTERNAL, -1, -1,
    ]  # fmt: skip
    assert api.call("datastore.allocate", f'NAME = "{unique()}"\n{LOCAL}', NOWHERE)[2] == NO_EXISTS


def test_update_rename_chmod_and_enable(api: Endpoint) -> None:
    oid = made(api, LOCAL)
    name = unique()
    assert api.ok("datastore.update", oid, "LIMIT_MB = 10", 1) == oid
    assert api.xml("datastore.info", oid).findtext("TEMPLATE/LIMIT_MB") == "10"
    assert api.ok("datastore.update", oid, 'RESTRICTED_DIRS = "/etc"', 0) == oid
    found = api.xml("datastore.info", oid)
    assert [found.findtext(f"TEMPLATE/{tag}") for tag in ("LIMIT_MB", "TM_MAD", "TYPE")] == [None, "ssh", "SYSTEM_DS"]
    assert api.call("datastore.update", oid, "TM_MAD = nothing", 1) == [
        False,
        '[one.datastore.update] Cannot update template. TM_MAD named "nothing" is not defined in oned.conf',
        INTERNAL, -1, -1,
    ]  # fmt: skip
    assert api.ok("datastore.rename", oid, name) == oid
    assert api.xml("datastore.info", oid).findtext("NAME") == name
    assert api.ok("datastore.chmod", oid, -1, -1, -1, 1, -1, -1, 0, -1, -1) == oid
    assert api.xml("datastore.info", oid).findtext("PERMISSIONS/GROUP_U") == "1"
    assert api.ok("datastore.enable", oid, False) == oid
    assert api.xml("datastore.info", oid).findtext("STATE") == "1"
    assert api.call("datastore.enable", 1, False) == [
        False, "[one.datastore.enable] Only SYSTEM_DS can be disabled or enabled", INTERNAL, -1, -1,
    ]  # fmt: skip


def test_clusters(api: Endpoint) -> None:
    cluster = api.cluster()
    oid = made(api, LOCAL, cluster)
    api.later(lambda: api.call("cluster.deldatastore", cluster, oid))
    assert [each.text for each in api.xml("cluster.info", cluster).iterfind("DATASTORES/ID")] == [str(oid)]
    assert api.ok("cluster.adddatastore", 0, oid) == 0
    assert {each.text for each in api.xml("datastore.info", oid).iterfind("CLUSTERS/ID")} == {"0", str(cluster)}
    assert api.ok("cluster.deldatastore", cluster, oid) == cluster
    assert [each.text for each in api.xml("datastore.info", oid).iterfind("CLUSTERS/ID")] == ["0"]
    assert list(api.xml("cluster.info", cluster).iterfind("DATASTORES/ID")) == []


def test_a_deleted_datastore_is_gone(api: Endpoint) -> None:
    oid = made(api, LOCAL)
    assert api.ok("datastore.delete", oid) == oid
    assert api.call("datastore.info", oid) == [
        False, f"[one.datastore.info] Error getting datastore [{oid}].", NO_EXISTS, oid, -1,
    ]  # fmt: skip
    assert oid not in [int(each.text or -1) for each in api.xml("datastorepool.info").iterfind("DATASTORE/ID")]
