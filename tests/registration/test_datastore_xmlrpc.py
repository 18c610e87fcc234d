"""The datastores' XML to values, their calls, and oned's refusals to types."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, strategies

from components.registration.datastore_xmlrpc import (
    XmlRpcDatastores,
    parse_datastore,
    parse_datastores,
    parse_places,
)
from components.registration.errors import ActionRefused, DatastoreInUse, DatastoreTaken, NotFound, OnedError
from components.registration.refusals import ACTION, ALLOCATE, INTERNAL, NO_EXISTS, refusal
from components.registration.transport import AnswerBroken

DATASTORE = """<DATASTORE><ID>{id}</ID><UID>0</UID><NAME>fast</NAME><PERMISSIONS><OWNER_U>1</OWNER_U></PERMISSIONS>
<DS_MAD><![CDATA[{ds_mad}]]></DS_MAD><TM_MAD><![CDATA[local]]></TM_MAD><BASE_PATH>/var/lib/one//datastores/1</BASE_PATH>
<TYPE>{type}</TYPE><DISK_TYPE>0</DISK_TYPE><STATE>{state}</STATE><CLUSTERS><ID>100</ID><ID>0</ID></CLUSTERS>
<TOTAL_MB>7</TOTAL_MB><FREE_MB>5</FREE_MB><USED_MB>2</USED_MB><IMAGES><ID>9</ID><ID>4</ID></IMAGES>
<TEMPLATE><DISK_TYPE><![CDATA[FILE]]></DISK_TYPE><LIMIT_MB><![CDATA[]]></LIMIT_MB>{more}</TEMPLATE></DATASTORE>"""


def datastore(**changes: object) -> str:
    return DATASTORE.format(**{"id": 1, "ds_mad": "fs", "type": 0, "state": 0, "more": ""} | changes)


def test_a_datastore_of_the_real_layout() -> None:
    record = parse_datastore(datastore())
    assert (record.id, record.name, record.type, record.ds_mad, record.tm_mad) == (1, "fast", "image", "fs", "local")
    assert (record.clusters, record.images, record.enabled) == ((0, 100), (4, 9), True)
    assert record.template == {"DISK_TYPE": "FILE", "LIMIT_MB": ""}
    assert record.plain


@pytest.mark.parametrize(("number", "type_"), [(1, "system"), (2, "file"), (3, "3"), (-1, "-1")])
def test_types(number: int, type_: str) -> None:
    assert parse_datastore(datastore(type=number)).type == type_


def test_a_system_datastores_dash_and_its_state() -> None:
    record = parse_datastore(datastore(type=1, ds_mad="-", state=1))
    assert (record.ds_mad, record.enabled) == ("", False)


@pytest.mark.parametrize("more", ["<A>1</A><A>2</A>", "<V><X>1</X></V>"])
def test_a_template_that_cannot_be_written_back_is_not_plain(more: str) -> None:
    assert not parse_datastore(datastore(more=more)).plain


def test_pools_and_places() -> None:
    pool = f"<DATASTORE_POOL>{datastore(id=7)}{datastore(id=2)}</DATASTORE_POOL>"
    assert [record.id for record in parse_datastores(pool)] == [7, 2]
    assert parse_datastores("<DATASTORE_POOL/>") == ()
    vms = (
        "<VM_POOL><VM><ID>3</ID><HISTORY_RECORDS><HISTORY><OID>3</OID><DS_ID>104</DS_ID></HISTORY></HISTORY_RECORDS></VM>"
        "<VM><ID>4</ID><HISTORY_RECORDS/></VM></VM_POOL>"
    )
    assert parse_places(vms) == ((3, 104), (4, -1))


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "<HOST/>",
        datastore(id="x"),
        datastore().replace("<ID>9</ID>", "<ID>nine</ID>"),
        datastore().replace("<TM_MAD>", "<NO>").replace("</TM_MAD>", "</NO>"),
        "<DATASTORE>",
    ],
)
def test_what_is_no_datastore(xml: str) -> None:
    with pytest.raises(AnswerBroken):
        parse_datastore(xml)


@given(text=strategies.text())
def test_no_text_raises_anything_else(text: str) -> None:
    with contextlib.suppress(AnswerBroken):
        parse_datastores(text.encode(errors="replace").decode())


class Recorder:
    """In place of the client that sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []

    def read(self, _what: str, parse: Any, method: str, *args: object) -> Any:
        self.sent.append((method, *args))
        return parse("<VM_POOL/>" if method == "vmpool.info" else "<DATASTORE_POOL/>")

    def write(self, _what: str, method: str, *args: object) -> None:
        self.sent.append((method, *args))

    def call(self, _what: str, method: str, *args: object, **_more: object) -> int:
        self.sent.append((method, *args))
        return 104


def test_every_call_as_oned_takes_it() -> None:
    """Argument orders are those of the request handlers: cluster first for cluster.*, -2 -1 -1 -1 for all VMs not done."""
    recorder: Any = Recorder()
    client = XmlRpcDatastores(recorder)
    assert client.allocate({"NAME": 'a"b', "TM_MAD": "local"}, 0, within=1) == 104
    client.datastores()
    assert client.vms_on(1) == ()
    client.update(104, {"A": "1"})
    client.update(104, {"A": "1"}, whole=True)
    client.rename(104, "c")
    client.enable(104, enabled=False)
    client.join(104, 5)
    client.leave(104, 5)
    client.delete(104)
    assert recorder.sent == [
        ("datastore.allocate", 'NAME="a\\"b"\nTM_MAD="local"\n', 0),
        ("datastorepool.info",),
        ("vmpool.info", -2, -1, -1, -1),
        ("datastore.update", 104, 'A="1"\n', 1),
        ("datastore.update", 104, 'A="1"\n', 0),
        ("datastore.rename", 104, "c"),
        ("datastore.enable", 104, False),
        ("cluster.adddatastore", 5, 104),
        ("cluster.deldatastore", 5, 104),
        ("datastore.delete", 104),
    ]


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (INTERNAL, "[one.datastore.allocate] NAME is already taken by DATASTORE 7.", DatastoreTaken),
        (ALLOCATE, "[one.datastore.allocate] Error allocating… NAME is already taken by DATASTORE 7.", DatastoreTaken),
        (INTERNAL, '[one.datastore.allocate] DS_MAD named "x" is not defined in oned.conf', ActionRefused),
        (INTERNAL, '[one.datastore.update] Cannot update template. TM_MAD named "x" is not defined in oned.conf', ActionRefused),
        (INTERNAL, '[one.datastore.allocate] Datastore template is missing the "X" attribute or it\'s empty.', ActionRefused),
        (ACTION, "[one.datastore.delete] Cannot delete datastore. Datastore 104 is not empty.", DatastoreInUse),
        (ACTION, "[one.datastore.rename] datastore cannot be renamed to x because…", ActionRefused),
        (NO_EXISTS, "[one.datastore.info] Error getting datastore [4].", NotFound),
        (INTERNAL, "[one.datastore.update] something else", OnedError),
    ],
)  # fmt: skip
def test_refusals(code: int, text: str, kind: type[OnedError]) -> None:
    found = refusal("what", code, text)
    assert type(found) is kind
    if isinstance(found, DatastoreTaken):
        assert found.datastore_id == 7
