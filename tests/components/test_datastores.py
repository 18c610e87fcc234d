"""The datastores: settings, cross-field rules, and the recorded graph."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest
from pydantic import TypeAdapter, ValidationError

from components.datastore_rules import problems
from components.datastore_settings import REFUSED_KINDS, DatastoreSettings
from components.datastores import Datastores, DatastoresArgs, attributes, transfer_driver
from components.domain import Version
from components.registration.datastore_inputs import datastore_problems, normal_datastore
from tests.graph import Graph, deploy

V6, V7 = Version.V6_10, Version.V7_4
ADAPTER: TypeAdapter[tuple[DatastoreSettings, ...]] = TypeAdapter(tuple[DatastoreSettings, ...])
HOSTS = ("kvm-1", "kvm-2")

CEPH = {
    "name": "rbd",
    "kind": "ceph",
    "type": "image",
    "bridgeList": ["kvm-1", "kvm-2"],
    "cephHost": ["10.0.0.1", "10.0.0.2"],
    "cephSecret": "b6d3f1de-8a0c-4c6f-9d1c-0a1b2c3d4e5f",
}


def local(name: str = "fast", type_: str = "image", **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "local", "type": type_, **more}


def nfs(name: str = "shared", type_: str = "image", **more: Any) -> dict[str, Any]:
    return {**local(name, type_, **more), "kind": "nfs"}


def load(*items: dict[str, Any]) -> tuple[DatastoreSettings, ...]:
    return ADAPTER.validate_json(json.dumps(items))


def found(*items: dict[str, Any], version: Version = V7) -> dict[str, str]:
    return dict(problems(load(*items), version, HOSTS, way_back=True))


def test_local_ones_need_the_way_back() -> None:
    problem = "local copies to and from the control plane by ssh: set wayBack.enabled: true and its address, or use nfs or ceph"
    declared = load(nfs(), local("a", "system"), local("b"), local("c", "file"), CEPH)
    without = dict(problems(declared, V7, HOSTS, way_back=False))
    assert without == {f"datastores[{index}].kind": problem for index in (1, 2, 3)}
    assert dict(problems(declared, V7, HOSTS, way_back=True)) == {}


def refused(**item: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        load(item)
    return str(caught.value)


ALL = (
    local("system", "system"),
    local("default", "image", safeDirs=["/var/tmp", "/srv"], limitMb=500),
    local("files", "file"),
    nfs("nfs-system", "system", transfer="qcow2", clusters=["default", "prod"]),
    nfs("nfs-images", "image", bridgeList=["kvm-1"], compatibleSystem=["nfs-system", "system"], noDecompress=True),
    CEPH,
    {**CEPH, "name": "rbd-system", "type": "system", "ecPoolName": "ec", "cephTrash": True, "rbdFormat": 2},
)


def test_a_whole_set_has_no_problem() -> None:
    assert found(*ALL) == {}
    assert found(*ALL[:3], version=V6) == {}


@pytest.mark.parametrize("version", list(Version))
def test_every_datastore_passes_the_providers_check(version: Version) -> None:
    """What the settings let through, oned takes: nothing is refused first in the middle of a deployment."""
    for item in load(*ALL):
        props = {
            "name": item.name,
            "type": item.type.value,
            "tm_mad": transfer_driver(item, version),
            "ds_mad": "" if item.type.value == "system" else item.ds_mad,
            "clusters": list(item.clusters),
            "attributes": attributes(item),
            "enabled": item.enabled,
            "adopt": item.adopt,
        }
        assert datastore_problems(props, normal_datastore(props)) == []


def test_drivers() -> None:
    chosen = {item.name: transfer_driver(item, V7) for item in load(*ALL, nfs("plain"), local("old", transfer="ssh"))}
    assert chosen == {
        "system": "local",
        "default": "local",
        "files": "local",
        "nfs-system": "qcow2",
        "nfs-images": "shared",
        "rbd": "ceph",
        "rbd-system": "ceph",
        "plain": "shared",
        "old": "ssh",
    }
    assert transfer_driver(load(local())[0], V6) == "ssh"


def test_what_protects_the_front_end_is_always_written_for_images_and_files() -> None:
    for kind in ("image", "file"):
        written = attributes(load(local(type_=kind, safeDirs=["/srv"]))[0])
        assert written == {"SAFE_DIRS": "/srv", "RESTRICTED_DIRS": "/"}
    assert attributes(load(local(type_="system"))[0]) == {}


def test_attributes() -> None:
    item = nfs(
        bridgeList=["kvm-1", "kvm-2"],
        stagingDir="/scratch",
        limitMb=500,
        limitTransferBw="50M",
        noDecompress=True,
        driver="qcow2",
        attributes={"RACK": "r1"},
    )
    assert attributes(load(item)[0]) == {
        "RACK": "r1",
        "BRIDGE_LIST": "kvm-1 kvm-2",
        "STAGING_DIR": "/scratch",
        "LIMIT_MB": "500",
        "LIMIT_TRANSFER_BW": "50M",
        "NO_DECOMPRESS": "YES",
        "DRIVER": "qcow2",
        "SAFE_DIRS": "/var/tmp",
        "RESTRICTED_DIRS": "/",
    }


def test_ceph_attributes() -> None:
    written = attributes(load({**CEPH, "type": "system", "cephUser": "one", "cephConf": "/etc/ceph/x.conf"})[0])
    assert written == {
        "BRIDGE_LIST": "kvm-1 kvm-2",
        "DISK_TYPE": "RBD",
        "POOL_NAME": "one",
        "CEPH_HOST": "10.0.0.1 10.0.0.2",
        "CEPH_USER": "one",
        "CEPH_SECRET": "b6d3f1de-8a0c-4c6f-9d1c-0a1b2c3d4e5f",
        "CEPH_CONF": "/etc/ceph/x.conf",
    }


@pytest.mark.parametrize("kind", sorted(REFUSED_KINDS))
def test_a_driver_that_cannot_work_in_a_pod_is_refused_with_the_reason(kind: str) -> None:
    text = refused(name="x", kind=kind, type="image")
    assert REFUSED_KINDS[kind] in text
    assert "Use local, nfs or ceph" in text


@pytest.mark.parametrize(
    ("item", "path"),
    [
        (local(name="a:b"), "name"),
        (local(name=""), "name"),
        (local(name="x" * 129), "name"),
        (local(type_="backup"), "type"),
        (local(clusters=[]), "clusters"),
        (local(limitMb=0), "limitMb"),
        (local(limitMb="5"), "limitMb"),
        (local(limitTransferBw="fast"), "limitTransferBw"),
        (local(safeDirs=["relative"]), "safeDirs"),
        (local(safeDirs=["/a b"]), "safeDirs"),
        (local(restrictedDirs=[]), "restrictedDirs"),
        (local(bridgeList=["a b"]), "bridgeList"),
        (local(transfer="shared"), "transfer"),
        (nfs(transfer="local"), "transfer"),
        (nfs(server="10.0.0.1"), "server"),
        (local(poolName="one"), "poolName"),
        ({**CEPH, "bridgeList": []}, "bridgeList"),
        ({key: value for key, value in CEPH.items() if key != "bridgeList"}, "bridgeList"),
        ({**CEPH, "cephSecret": "the key itself"}, "cephSecret"),
        ({**CEPH, "cephHost": []}, "cephHost"),
        (local(adopt="true"), "adopt"),
        (local(attributes={"lower": "x"}), "attributes"),
        ({"name": "x", "kind": "zfs", "type": "image"}, "zfs"),
    ],
)
def test_single_values_that_are_refused(item: dict[str, Any], path: str) -> None:
    assert path in refused(**item)


@pytest.mark.parametrize(
    ("items", "version", "expected"),
    [
        ([local("a"), local("A")], V7, {"datastores[1].name": "already the name of datastores[0]"}),
        ([local(transfer="local")], V6, {"datastores[0].transfer": "6.10 has no transfer driver 'local'"}),
        ([local("system", "image")], V7, {"datastores[0].type": "must be system"}),
        ([{**CEPH, "type": "file"}], V7, {"datastores[0].type": "Ceph holds images and disks, no files"}),
        ([local(enabled=False)], V7, {"datastores[0].enabled": "only a system datastore"}),
        ([nfs(transfer="qcow2", driver="raw")], V7, {"datastores[0].driver": "oned sets DRIVER to qcow2"}),
        (
            [nfs("default")],
            V7,
            {"datastores[0].adopt": "must be always: oned's first boot makes 'default' with driver local"},
        ),
        ([local("default", transfer="local", adopt="always")], V6, {"datastores[0].transfer": "6.10"}),
        ([local(bridgeList=["kvm-9"])], V7, {"datastores[0].bridgeList[0]": "no pinned key"}),
        (
            [local(compatibleSystem=["system"])],
            V7,
            {"datastores[0].compatibleSystem[0]": "no datastore of type system"},
        ),
        (
            [local("system", "system", compatibleSystem=["system"])],
            V7,
            {"datastores[0].compatibleSystem": "belongs to image datastores"},
        ),
        (
            [local(type_="system", limitTransferBw="5M", safeDirs=["/x"])],
            V7,
            {
                "datastores[0].limitTransferBw": "nothing is downloaded into a system datastore",
                "datastores[0].safeDirs": "nothing is downloaded into a system datastore",
            },
        ),
        (
            [local(attributes={"NFS_AUTO_ENABLE": "YES", "TM_MAD": "x", "LIMIT_MB": "5", "LVM_THIN_ENABLE": "YES"})],
            V7,
            {
                "datastores[0].attributes.NFS_AUTO_ENABLE": "sudo",
                "datastores[0].attributes.TM_MAD": "written by oned",
                "datastores[0].attributes.LIMIT_MB": "has a setting of its own",
                "datastores[0].attributes.LVM_THIN_ENABLE": "sudo",
            },
        ),
    ],
)
def test_problems(items: list[dict[str, Any]], version: Version, expected: dict[str, str]) -> None:
    seen = found(*items, version=version)
    assert seen.keys() == expected.keys()
    assert all(text in seen[path] for path, text in expected.items())


def test_a_first_boots_datastore_on_other_drivers_needs_the_word() -> None:
    assert found(nfs("default", adopt="always")) == {}
    assert found(local("default"), version=V6) == {}


class _Oned(pulumi.CustomResource):
    def __init__(self) -> None:
        super().__init__("test:index:Oned", "oned")


def graph(*items: dict[str, Any], version: Version = V7, seen: list[Any] | None = None) -> Graph:
    def program() -> None:
        made = Datastores("datastores", DatastoresArgs(datastores=load(*items), version=version, oned=(_Oned(),)))
        made.datastores.apply((seen if seen is not None else []).append)

    return deploy(program)


def test_one_resource_each_below_the_component_after_oned() -> None:
    recorded = graph(*ALL)
    made = [record for record in recorded.records if record.type == "pulumi-python:dynamic/opennebula:Datastore"]
    assert {record.name for record in made} == {f"datastores-{item['name']}" for item in ALL}
    assert all("oned" in record.depends_on for record in made)


def test_what_the_provider_is_told() -> None:
    record = graph(nfs("default", adopt="always", clusters=["default", "prod"])).one("Datastore", "datastores-default")
    told = {key: value for key, value in record.inputs.items() if key != "__provider"}
    assert told == {
        "name": "default",
        "type": "image",
        "tm_mad": "shared",
        "ds_mad": "fs",
        "clusters": ["default", "prod"],
        "attributes": {"SAFE_DIRS": "/var/tmp", "RESTRICTED_DIRS": "/"},
        "enabled": True,
        "adopt": "always",
    }
    system = graph(local("system", "system"), version=V6).one("Datastore", "datastores-system")
    assert (system.inputs["tm_mad"], system.inputs["ds_mad"]) == ("ssh", "")


def test_compatible_system_datastores_are_a_data_edge() -> None:
    recorded = graph(local("images", compatibleSystem=["b", "a"]), local("a", "system"), local("b", "system"))
    images = recorded.one("Datastore", "datastores-images")
    assert {"datastores-a", "datastores-b"} <= set(images.depends_on)
    assert images.inputs["attributes"]["COMPATIBLE_SYS_DS"] == "datastores-b-id,datastores-a-id"
    assert not {"datastores-a", "datastores-b"} & set(recorded.one("Datastore", "datastores-a").depends_on)


def test_the_output_is_id_by_name_in_the_order_of_the_configuration() -> None:
    seen: list[Any] = []
    graph(local("b"), local("a", "system"), seen=seen)
    assert [list(outputs.items()) for outputs in seen] == [[("b", 104), ("a", 104)]]


def test_nothing_of_it_is_a_secret_and_an_empty_set_makes_nothing() -> None:
    assert [record.type for record in graph().records if "Datastore" in record.type] == ["opennebula:index:Datastores"]
