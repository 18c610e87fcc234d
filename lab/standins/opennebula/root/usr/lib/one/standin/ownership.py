"""What every object that belongs to somebody has: owner, group, nine permission bits, a lock, a template, and a pool that
shows each caller what it may see.

Source: OpenNebula 7.4.0 src/pool/PoolObjectSQL.cc, src/rm/api/PoolSharedAPI.cc.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self, TypeVar
from xml.etree import ElementTree

from standin.elements import number, text
from standin.pool import Pool, PoolError, check_name, owned
from standin.template import Template
from standin.users import ONEADMIN, ONEADMIN_GROUP, User

BITS: Final = tuple(f"{who}_{what}" for who in ("OWNER", "GROUP", "OTHER") for what in "UMA")
OPERATIONS: Final = {"USE": "U", "MANAGE": "M", "ADMIN": "A"}
LOCK_LEVELS: Final = {1: 1, 2: 2, 3: 3, 4: 1}
_UNLOCKED: Final = 0


def permissions(umask: int) -> dict[str, int]:
    """The bits that an octal mask such as 0o177 leaves."""
    return {name: (~umask >> (8 - index)) & 1 for index, name in enumerate(BITS)}


@dataclass(frozen=True)
class Lock:
    """`level` 1 keeps everybody from using the object, 2 from managing it, 3 from administering it."""

    level: int
    owner: int
    since: int
    request: int = -1

    def xml(self) -> str:
        return (
            f"<LOCK><LOCKED>{self.level}</LOCKED><OWNER>{self.owner}</OWNER><TIME>{self.since}</TIME>"
            f"<REQ_ID>{self.request}</REQ_ID></LOCK>"
        )


@dataclass(kw_only=True)
class Owned:
    """Base of templates, documents, images, networks, datastores and machines."""

    kind: ClassVar[str]  # XML root and word of refusals

    name: str
    uid: int
    gid: int
    uname: str
    gname: str
    bits: dict[str, int]
    template: Template
    oid: int = -1
    lock: Lock | None = None

    @staticmethod
    def of(user: User, umask: int, template: Template, name: str) -> dict[str, Any]:
        """The common fields of a new object of `user`."""
        return {
            "name": name,
            "uid": user.oid,
            "gid": user.gid,
            "uname": user.name,
            "gname": user.gname,
            "bits": permissions(umask),
            "template": template,
        }

    @staticmethod
    def fields(element: ElementTree.Element) -> dict[str, Any]:
        """The common fields of a stored object."""
        template, bits, lock = element.find("TEMPLATE"), element.find("PERMISSIONS"), element.find("LOCK")
        return {
            "name": text(element, "NAME"),
            "uid": number(element, "UID"),
            "gid": number(element, "GID"),
            "uname": text(element, "UNAME"),
            "gname": text(element, "GNAME"),
            "bits": {name: 0 if bits is None else number(bits, name) for name in BITS},
            "template": Template() if template is None else Template.from_element(template),
            "oid": number(element, "ID"),
            "lock": None
            if lock is None
            else Lock(number(lock, "LOCKED"), number(lock, "OWNER"), number(lock, "TIME"), number(lock, "REQ_ID")),
        }

    def head(self) -> str:
        """ID to PERMISSIONS, as all bodies begin."""
        bits = "".join(f"<{name}>{self.bits[name]}</{name}>" for name in BITS)
        return (
            f"<ID>{self.oid}</ID><UID>{self.uid}</UID><GID>{self.gid}</GID><UNAME>{self.uname}</UNAME>"
            f"<GNAME>{self.gname}</GNAME><NAME>{self.name}</NAME><PERMISSIONS>{bits}</PERMISSIONS>"
        )

    def lock_xml(self) -> str:
        return "" if self.lock is None else self.lock.xml()

    def xml(self) -> str:
        return f"<{self.kind}>{self.head()}{self.lock_xml()}{self.template.xml()}</{self.kind}>"

    def columns(self) -> dict[str, Any]:
        return owned(
            uid=self.uid,
            gid=self.gid,
            owner_u=self.bits["OWNER_U"],
            group_u=self.bits["GROUP_U"],
            other_u=self.bits["OTHER_U"],
        )

    def allows(self, user: User, operation: str) -> bool:
        """Whether the bits alone let `user` do this; group oneadmin always may."""
        if user.oid == ONEADMIN or ONEADMIN_GROUP in user.groups:
            return True
        letter = OPERATIONS[operation]
        return bool(
            (self.uid == user.oid and self.bits[f"OWNER_{letter}"])
            or (self.gid in user.groups and self.bits[f"GROUP_{letter}"])
            or self.bits[f"OTHER_{letter}"]
        )

    def locked_for(self, operation: str) -> bool:
        level = _UNLOCKED if self.lock is None else self.lock.level
        return level != _UNLOCKED and level <= ("USE", "MANAGE", "ADMIN").index(operation) + 1

    def take_lock(self, user: User, level: int) -> bool:
        """False when somebody else has it."""
        if self.lock is not None and self.lock.owner != user.oid and ONEADMIN_GROUP not in user.groups:
            return False
        self.lock = Lock(LOCK_LEVELS[level], user.oid, int(time.time()))
        return True

    @classmethod
    def from_element(cls, element: ElementTree.Element) -> Self:
        return cls(**cls.fields(element))


@dataclass(kw_only=True)
class VmTemplate(Owned):
    """One row of template_pool."""

    kind = "VMTEMPLATE"
    regtime: int = field(default_factory=lambda: int(time.time()))

    @classmethod
    def from_element(cls, element: ElementTree.Element) -> Self:
        return cls(**cls.fields(element), regtime=number(element, "REGTIME"))

    def xml(self) -> str:
        return (
            f"<VMTEMPLATE>{self.head()}{self.lock_xml()}<REGTIME>{self.regtime}</REGTIME>"
            f"{self.template.xml()}</VMTEMPLATE>"
        )


@dataclass(kw_only=True)
class Document(Owned):
    """One row of document_pool: 100 and 101 are OneFlow's services and their templates."""

    kind = "DOCUMENT"
    type: int

    @classmethod
    def from_element(cls, element: ElementTree.Element) -> Self:
        return cls(**cls.fields(element), type=number(element, "TYPE"))

    def head(self) -> str:
        before, tag, after = super().head().partition("<PERMISSIONS>")
        return f"{before}<TYPE>{self.type}</TYPE>{tag}{after}"

    def columns(self) -> dict[str, Any]:
        return {**super().columns(), "type": self.type}


@dataclass(kw_only=True)
class Image(Owned):
    """One row of image_pool. Ready at once: nothing is copied anywhere."""

    kind = "IMAGE"
    datastore_id: int
    datastore: str
    regtime: int = field(default_factory=lambda: int(time.time()))

    @classmethod
    def from_element(cls, element: ElementTree.Element) -> Self:
        return cls(
            **cls.fields(element),
            datastore_id=number(element, "DATASTORE_ID"),
            datastore=text(element, "DATASTORE"),
            regtime=number(element, "REGTIME"),
        )

    def xml(self) -> str:
        types = {"OS": 0, "CDROM": 1, "DATABLOCK": 2, "KERNEL": 3, "RAMDISK": 4, "CONTEXT": 5, "BACKUP": 6}
        kind = types.get(self.template.get("TYPE", "OS").upper(), 0)
        persistent = int(self.template.get("PERSISTENT").upper() == "YES")
        return (
            f"<IMAGE>{self.head()}{self.lock_xml()}<TYPE>{kind}</TYPE><DISK_TYPE>0</DISK_TYPE>"
            f"<PERSISTENT>{persistent}</PERSISTENT><REGTIME>{self.regtime}</REGTIME><MODTIME>0</MODTIME><SOURCE/>"
            f"<PATH/><FORMAT/><FS/><SIZE>{self.template.get('SIZE') or 0}</SIZE><STATE>1</STATE><PREV_STATE>1</PREV_STATE>"
            "<RUNNING_VMS>0</RUNNING_VMS><CLONING_OPS>0</CLONING_OPS><CLONING_ID>-1</CLONING_ID>"
            f"<TARGET_SNAPSHOT>-1</TARGET_SNAPSHOT><DATASTORE_ID>{self.datastore_id}</DATASTORE_ID>"
            f"<DATASTORE>{self.datastore}</DATASTORE><VMS/><CLONES/><APP_CLONES/>{self.template.xml()}<SNAPSHOTS/></IMAGE>"
        )


@dataclass(kw_only=True)
class Network(Owned):
    """One row of network_pool, without leases."""

    kind = "VNET"
    cluster_id: int = 0

    @classmethod
    def from_element(cls, element: ElementTree.Element) -> Self:
        return cls(**cls.fields(element), cluster_id=number(element, "CLUSTERS/ID"))

    def xml(self) -> str:
        get = self.template.get
        return (
            f"<VNET>{self.head()}{self.lock_xml()}<CLUSTERS><ID>{self.cluster_id}</ID></CLUSTERS>"
            f"<BRIDGE>{get('BRIDGE')}</BRIDGE><BRIDGE_TYPE>linux</BRIDGE_TYPE><STATE>1</STATE><PREV_STATE>1</PREV_STATE>"
            f"<PARENT_NETWORK_ID/><VN_MAD>{get('VN_MAD')}</VN_MAD><PHYDEV>{get('PHYDEV')}</PHYDEV>"
            f"<VLAN_ID>{get('VLAN_ID')}</VLAN_ID><OUTER_VLAN_ID/><VLAN_ID_AUTOMATIC>0</VLAN_ID_AUTOMATIC>"
            "<OUTER_VLAN_ID_AUTOMATIC>0</OUTER_VLAN_ID_AUTOMATIC><USED_LEASES>0</USED_LEASES><VROUTERS/>"
            f"<UPDATED_VMS/><OUTDATED_VMS/><UPDATING_VMS/><ERROR_VMS/>{self.template.xml()}<AR_POOL/></VNET>"
        )

    def columns(self) -> dict[str, Any]:
        return {**super().columns(), "pid": -1}


Item = TypeVar("Item", bound=Owned)


class OwnedPool(Pool[Item]):
    """Pool of objects with owners: names may repeat between owners."""

    item: type[Item]

    def load(self, element: ElementTree.Element) -> Item:
        return self.item.from_element(element)

    def find_of(self, name: str, uid: int, /) -> int:
        rows = self.database.query(
            f"SELECT oid FROM {self.table} WHERE name = %s AND uid = %s ORDER BY oid LIMIT 1", (name, uid)
        )
        return int(rows[0][0]) if rows else -1

    def allocate(self, item: Item) -> int:
        """:raises PoolError: for a bad name or one that the same owner has already."""
        check_name(item.name)
        taken = self.find_of(item.name, item.uid)
        if taken != -1:
            raise PoolError(f"NAME is already taken by {item.kind} {taken}.")
        return self.insert(item)


class TemplatePool(OwnedPool[VmTemplate]):
    """template_pool."""

    table, root, item = "template_pool", "VMTEMPLATE_POOL", VmTemplate


class DocumentPool(OwnedPool[Document]):
    """document_pool."""

    table, root, item = "document_pool", "DOCUMENT_POOL", Document


class ImagePool(OwnedPool[Image]):
    """image_pool."""

    table, root, item = "image_pool", "IMAGE_POOL", Image


class NetworkPool(OwnedPool[Network]):
    """network_pool."""

    table, root, item = "network_pool", "VNET_POOL", Network


_ALL, _GROUPS_TOO, _MINE, _PRIMARY_GROUP = -2, -1, -3, -4


class FilterError(ValueError):
    """A filter flag that oned does not know."""


def visible(user: User, flag: int) -> str:
    """The SQL condition for what `user` sees under a filter flag.

    :raises FilterError: "Incorrect filter_flag".
    """
    groups = ", ".join(str(gid) for gid in sorted(user.groups)) or "-1"
    shared = f"uid = {user.oid} OR (gid IN ({groups}) AND group_u = 1) OR other_u = 1"
    if flag == _MINE:
        return f"uid = {user.oid}"
    if flag == _PRIMARY_GROUP:
        return f"gid = {user.gid}"
    if flag == _ALL:
        return "1 = 1" if ONEADMIN_GROUP in user.groups else f"({shared})"
    if flag == _GROUPS_TOO:
        return f"(uid = {user.oid} OR gid IN ({groups}))"
    if flag >= 0:
        return f"uid = {flag}" + ("" if ONEADMIN_GROUP in user.groups else f" AND ({shared})")
    raise FilterError("Incorrect filter_flag")


def page(start: int, end: int) -> tuple[str, str]:
    """Condition and LIMIT for a range of ids, or with `end` below -1 for a page of -`end` rows from row `start`."""
    if end < -1:
        return "1 = 1", f"LIMIT {max(start, 0)}, {-end}"
    low = f"oid >= {start}" if start >= 0 else "1 = 1"
    return f"{low} AND oid <= {end}" if end >= 0 else low, ""
