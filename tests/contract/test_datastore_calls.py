"""one.datastore.*, one.datastorepool.info, and datastores in clusters: what oned does with what lies in it."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tests.contract.endpoint import Endpoint, unique

NO_EXISTS = 0x400
ACTION = 0x800
RPC_API = 0x1000
INTERNAL = 0x2000
NOWHERE = 999999
REFUSED = "[one.datastore.allocate] "  # 7.4 answers INTERNAL without a further word, unlike for hosts and clusters
IMAGE = "TYPE = IMAGE_DS\nDS_MAD = fs\nTM_MAD = {driver}\n"
SYSTEM = "TYPE = SYSTEM_DS\nTM_MAD = {driver}\n"
CEPH = (
    'TYPE = IMAGE_DS\nDS_MAD = ceph\nTM_MAD = ceph\nDISK_TYPE = RBD\nBRIDGE_LIST = "a b"\nPOOL_NAME = one\n'
    "CEPH_HOST = m\nCEPH_USER = libvirt\nCEPH_SECRET = s\n"
)


@pytest.fixture
def driver(api: Endpoint) -> str:
    """The transfer driver of the first boot: `local`, on 6.10 `ssh`."""
    return api.xml("datastore.info", 1).findtext("TM_MAD") or ""


def make(api: Endpoint, template: str, name: str | None = None, cluster: int = -1) -> int:
    """A new datastore, gone after the test."""
    oid = int(api.ok("datastore.allocate", f'NAME = "{name or unique()}"\n{template}', cluster))
    api.later(lambda: api.call("datastore.delete", oid))
    return oid


def template_of(api: Endpoint, oid: int) -> dict[str, str | None]:
    return {child.tag: child.text for child in api.xml("datastore.info", oid).find("TEMPLATE") or ()}


def clusters_of(datastore: ElementTree.Element) -> list[str | None]:
    return [item.text for item in datastore.iterfind("CLUSTERS/ID")]


def members(api: Endpoint, cluster: int) -> set[int]:
    return {int(item.text or -1) for item in api.xml("cluster.info", cluster).iterfind("DATASTORES/ID")}


def test_three_are_there_from_the_first_boot(api: Endpoint, driver: str) -> None:
    found = {
        int(item.findtext("ID") or -1): [item.findtext(tag) for tag in ("NAME", "TYPE", "DS_MAD", "TM_MAD")]
        for item in api.xml("datastorepool.info").iterfind("DATASTORE")
    }
    assert {oid: found[oid] for oid in (0, 1, 2)} == {
        0: ["system", "1", "-", driver],
        1: ["default", "0", "fs", driver],
        2: ["files", "2", "fs", driver],
    }


def test_an_image_datastore_gets_what_its_drivers_configuration_says(api: Endpoint, driver: str) -> None:
    name = unique()
    oid = make(api, IMAGE.format(driver=driver), name)
    datastore = api.xml("datastore.info", oid)
    assert oid >= 100
    assert [datastore.findtext(tag) for tag in ("NAME", "TYPE", "DS_MAD", "TM_MAD", "STATE", "DISK_TYPE")] == [
        name, "0", "fs", driver, "0", "0",
    ]  # fmt: skip
    assert (datastore.findtext("BASE_PATH") or "").endswith(f"/{oid}")
    assert clusters_of(datastore) == ["0"]
    template = template_of(api, oid)
    assert "NAME" not in template
    assert template["DISK_TYPE"] == "FILE"
    assert (template["LN_TARGET"], template["CLONE_TARGET"]) == ("SYSTEM", "SYSTEM")
    assert (template["SAFE_DIRS"], template["RESTRICTED_DIRS"]) == ("/var/tmp", "/")


def test_a_system_datastore_has_no_datastore_driver(api: Endpoint, driver: str) -> None:
    oid = make(api, SYSTEM.format(driver=driver))
    datastore = api.xml("datastore.info", oid)
    assert [datastore.findtext(tag) for tag in ("TYPE", "DS_MAD")] == ["1", "-"]
    assert (template_of(api, oid)["SHARED"], template_of(api, oid)["DS_MIGRATE"]) == ("NO", "YES")
    answer = api.call("datastore.allocate", f"NAME = {unique()}\nDS_MAD = fs\n{SYSTEM.format(driver=driver)}", -1)
    assert answer == [False, f"{REFUSED}SYSTEM datastores cannot have DS_MAD defined.", INTERNAL, -1, -1]


def test_own_directories_keep_the_other_default_away(api: Endpoint, driver: str) -> None:
    template = template_of(api, make(api, IMAGE.format(driver=driver) + "SAFE_DIRS = /data"))
    assert template["SAFE_DIRS"] == "/data"
    assert "RESTRICTED_DIRS" not in template


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("TYPE = IMAGE_DS\nTM_MAD = ssh", "No DS_MAD in template."),
        ("TYPE = IMAGE_DS\nDS_MAD = fs", "No TM_MAD in template."),
        ("TYPE = IMAGE_DS\nDS_MAD = nosuch\nTM_MAD = ssh", 'DS_MAD named "nosuch" is not defined in oned.conf'),
        ("TYPE = IMAGE_DS\nDS_MAD = fs\nTM_MAD = nosuch", 'TM_MAD named "nosuch" is not defined in oned.conf'),
        (
            "TYPE = IMAGE_DS\nDS_MAD = ceph\nTM_MAD = ceph\nDISK_TYPE = RBD",
            'Datastore template is missing the "BRIDGE_LIST" attribute or it\'s empty.',
        ),
        (CEPH.replace("RBD", "NOSUCH"), "Unknown DISK_TYPE in template."),
    ],
)
def test_templates_that_are_refused(api: Endpoint, template: str, text: str) -> None:
    answer = api.call("datastore.allocate", f"NAME = {unique()}\n{template}", -1)
    assert answer == [False, REFUSED + text, INTERNAL, -1, -1]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "Invalid NAME, it cannot be empty"),
        ("a:b", "Invalid NAME, char ':' is not allowed"),
        ("a/b", "Invalid NAME, char '/' is not allowed"),
        ("x" * 129, "Invalid NAME, max length is 128 chars"),
    ],
)
def test_names_that_are_refused(api: Endpoint, driver: str, name: str, text: str) -> None:
    answer = api.call("datastore.allocate", f'NAME = "{name}"\n{IMAGE.format(driver=driver)}', -1)
    assert answer == [False, REFUSED + text, INTERNAL, -1, -1]


def test_a_name_that_is_taken_compared_without_case(api: Endpoint, driver: str) -> None:
    name = unique()
    oid = make(api, IMAGE.format(driver=driver), name)
    for again in (name, name.upper()):
        answer = api.call("datastore.allocate", f"NAME = {again}\n{IMAGE.format(driver=driver)}", -1)
        assert answer == [False, f"{REFUSED}NAME is already taken by DATASTORE {oid}.", INTERNAL, -1, -1]


def test_an_unknown_cluster(api: Endpoint, driver: str) -> None:
    answer = api.call("datastore.allocate", f"NAME = {unique()}\n{IMAGE.format(driver=driver)}", NOWHERE)
    assert answer == [False, f"[one.datastore.allocate] Error getting cluster [{NOWHERE}].", NO_EXISTS, NOWHERE, -1]


@pytest.mark.parametrize(
    ("method", "more"),
    [("info", ()), ("delete", ()), ("update", ("A=b", 1)), ("rename", ("x1",)), ("enable", (True,))],
)
def test_a_datastore_that_is_not_there(api: Endpoint, method: str, more: tuple[object, ...]) -> None:
    answer = api.call(f"datastore.{method}", NOWHERE, *more)
    assert answer == [False, f"[one.datastore.{method}] Error getting datastore [{NOWHERE}].", NO_EXISTS, NOWHERE, -1]


def test_a_merge_keeps_what_others_wrote_and_can_only_empty(api: Endpoint, driver: str) -> None:
    oid = make(api, IMAGE.format(driver=driver) + "LIMIT_MB = 100")
    before = template_of(api, oid)
    assert api.ok("datastore.update", oid, 'LIMIT_MB = ""\nBRIDGE_LIST = "a b"', 1) == oid
    assert template_of(api, oid) == {**before, "LIMIT_MB": None, "BRIDGE_LIST": "a b"}


def test_a_whole_template_drops_and_oned_adds_its_own_again(api: Endpoint, driver: str) -> None:
    oid = make(api, IMAGE.format(driver=driver) + "LIMIT_MB = 100\nBRIDGE_LIST = a")
    before = template_of(api, oid)
    kept = {name: value for name, value in before.items() if name != "LIMIT_MB"}
    api.ok("datastore.update", oid, "".join(f'{name} = "{value}"\n' for name, value in kept.items()), 0)
    assert template_of(api, oid) == kept
    api.ok("datastore.update", oid, "ONLY = this", 0)
    found = template_of(api, oid)
    assert found.keys() >= {"ONLY", "TYPE", "DS_MAD", "TM_MAD"}
    assert not found.keys() & {"BRIDGE_LIST", "SAFE_DIRS", "RESTRICTED_DIRS", "CLONE_TARGET"}, (
        "only TM_MAD brings its own back"
    )


def test_an_update_changes_drivers_and_is_refused_as_a_whole(api: Endpoint, driver: str) -> None:
    oid = make(api, IMAGE.format(driver=driver))
    api.ok("datastore.update", oid, "TM_MAD = shared", 1)
    datastore = api.xml("datastore.info", oid)
    assert (datastore.findtext("TM_MAD"), template_of(api, oid)["LN_TARGET"]) == ("shared", "NONE")
    answer = api.call("datastore.update", oid, "TM_MAD = nosuch\nLABEL = x", 1)
    text = '[one.datastore.update] Cannot update template. TM_MAD named "nosuch" is not defined in oned.conf'
    assert answer == [False, text, INTERNAL, -1, -1]
    assert "LABEL" not in template_of(api, oid)
    assert api.call("datastore.update", oid, "A=b", 2)[1:3] == ["[one.datastore.update] Wrong update type", RPC_API]


def test_rename(api: Endpoint, driver: str) -> None:
    name, other = unique(), unique()
    oid, taken = make(api, IMAGE.format(driver=driver), name), make(api, IMAGE.format(driver=driver), other)
    answer = api.call("datastore.rename", oid, other)
    text = f"[one.datastore.rename] datastore cannot be renamed to {other} because it collides with datastore {taken}"
    assert answer == [False, text, ACTION, -1, -1]
    assert api.ok("datastore.rename", oid, f"{name} 2") == oid
    assert api.xml("datastore.info", oid).findtext("NAME") == f"{name} 2"


def test_only_a_system_datastore_can_be_disabled(api: Endpoint, driver: str) -> None:
    oid = make(api, SYSTEM.format(driver=driver))
    for enabled, state in ((False, "1"), (True, "0")):
        assert api.ok("datastore.enable", oid, enabled) == oid
        assert api.xml("datastore.info", oid).findtext("STATE") == state
    answer = api.call("datastore.enable", make(api, IMAGE.format(driver=driver)), False)
    assert answer[1:3] == ["[one.datastore.enable] Only SYSTEM_DS can be disabled or enabled", INTERNAL]


def test_a_datastore_is_in_many_clusters_or_in_none(api: Endpoint, driver: str) -> None:
    first, second = api.cluster(), api.cluster()
    oid = make(api, IMAGE.format(driver=driver), cluster=first)
    assert clusters_of(api.xml("datastore.info", oid)) == [str(first)]
    assert api.ok("cluster.adddatastore", second, oid) == second
    assert api.ok("cluster.adddatastore", second, oid) == second
    assert set(clusters_of(api.xml("datastore.info", oid))) == {str(first), str(second)}
    assert oid in members(api, first) & members(api, second)
    for cluster in (first, second, second):
        assert api.ok("cluster.deldatastore", cluster, oid) == cluster
    assert clusters_of(api.xml("datastore.info", oid)) == []
    answer = api.call("cluster.adddatastore", NOWHERE, oid)
    assert answer == [False, f"[one.cluster.adddatastore] Error getting cluster [{NOWHERE}].", NO_EXISTS, NOWHERE, -1]
    answer = api.call("cluster.adddatastore", first, NOWHERE)
    text = f"[one.cluster.adddatastore] Error getting datastore [{NOWHERE}]."
    assert answer == [False, text, NO_EXISTS, NOWHERE, -1]


def test_a_deleted_datastore_leaves_its_clusters(api: Endpoint, driver: str) -> None:
    cluster = api.cluster()
    oid = make(api, IMAGE.format(driver=driver), cluster=cluster)
    assert api.ok("datastore.delete", oid) == oid
    assert api.call("datastore.info", oid)[2] == NO_EXISTS
    assert members(api, cluster) == set()


def test_permissions(api: Endpoint, driver: str) -> None:
    oid = make(api, IMAGE.format(driver=driver))
    assert api.ok("datastore.chmod", oid, -1, -1, -1, 1, 0, 0, 1, -1, -1) == oid
    permissions = {child.tag: child.text for child in api.xml("datastore.info", oid).find("PERMISSIONS") or ()}
    assert [permissions[tag] for tag in ("GROUP_U", "GROUP_M", "OTHER_U")] == ["1", "0", "1"]
