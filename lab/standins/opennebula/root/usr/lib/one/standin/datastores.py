"""Datastores: what a template must say for a driver, and how it is stored. Nothing is copied into one, so their numbers
stay 0; of their images they know the ids.

Source: OpenNebula 7.4.0 src/datastore/{Datastore,DatastorePool}.cc.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self
from xml.etree import ElementTree

from standin.config import Config
from standin.elements import id_set, ids_xml, number, text
from standin.ownership import Owned, OwnedPool
from standin.pool import PoolError, check_name
from standin.template import Template, cdata

TYPES: Final = {"IMAGE_DS": 0, "SYSTEM_DS": 1, "FILE_DS": 2, "BACKUP_DS": 3}
_DISKS: Final = {
    "FILE": 0, "CDROM": 1, "BLOCK": 2, "RBD": 3, "RBD_CDROM": 4, "GLUSTER": 5, "GLUSTER_CDROM": 6, "SHEEPDOG": 7,
    "SHEEPDOG_CDROM": 8, "ISCSI": 9, "FILESYSTEM": 10,
}  # fmt: skip
_IMAGE_DISKS: Final = frozenset({"FILE", "BLOCK", "ISCSI", "RBD", "GLUSTER", "SHEEPDOG", "FILESYSTEM"})
_SYSTEM_DISKS: Final = frozenset({"FILE", "RBD", "BLOCK", "FILESYSTEM"})
_TARGETS: Final = ("NONE", "SELF", "SYSTEM")
_SYSTEM_ID: Final = 0


@dataclass(kw_only=True)
class Datastore(Owned):
    """One row of datastore_pool. `type` is 0 image, 1 system, 2 files, 3 backup; `state` 1 is disabled."""

    kind = "DATASTORE"
    base: str
    ds_mad: str = "-"
    tm_mad: str = "-"
    type: int = 0
    disk_type: int = 0
    state: int = 0
    clusters: set[int] = field(default_factory=lambda: {0})
    images: set[int] = field(default_factory=set)

    @classmethod
    def from_element(cls, element: ElementTree.Element) -> Self:
        return cls(
            **cls.fields(element),
            base=text(element, "BASE_PATH").rpartition("/")[0],
            ds_mad=text(element, "DS_MAD"),
            tm_mad=text(element, "TM_MAD"),
            type=number(element, "TYPE"),
            disk_type=number(element, "DISK_TYPE"),
            state=number(element, "STATE"),
            clusters=id_set(element, "CLUSTERS"),
            images=id_set(element, "IMAGES"),
        )

    @property
    def system(self) -> bool:
        return self.type == TYPES["SYSTEM_DS"]

    def xml(self) -> str:
        return (
            f"<DATASTORE>{self.head()}<DS_MAD>{cdata(self.ds_mad)}</DS_MAD><TM_MAD>{cdata(self.tm_mad)}</TM_MAD>"
            f"<BASE_PATH>{cdata(f'{self.base}/{self.oid}')}</BASE_PATH><TYPE>{self.type}</TYPE>"
            f"<DISK_TYPE>{self.disk_type}</DISK_TYPE><STATE>{self.state}</STATE>{ids_xml('CLUSTERS', self.clusters)}"
            "<TOTAL_MB>0</TOTAL_MB><FREE_MB>0</FREE_MB><USED_MB>0</USED_MB>"
            f"{ids_xml('IMAGES', self.images)}{self.template.xml()}</DATASTORE>"
        )

    def settle(self, config: Config) -> None:
        """Take type and drivers of a new datastore from its template.

        :raises PoolError: with oned's text for a template that no driver can work with.
        """
        self.type = TYPES.get(self.template.get("TYPE").upper(), TYPES["IMAGE_DS"])
        mad = self.template.get("DS_MAD")
        if self.system:
            if mad:
                raise PoolError("SYSTEM datastores cannot have DS_MAD defined.")
        elif not mad:
            raise PoolError("No DS_MAD in template.")
        self.ds_mad = mad or "-"
        self._require(config)
        self._use_transfer(config, self.template.get("TM_MAD"))
        self._use_disks(self.template.get("DISK_TYPE") or "FILE")
        if not self.template.get("SAFE_DIRS") and not self.template.get("RESTRICTED_DIRS"):
            self.template.replace("SAFE_DIRS", "/var/tmp")
            self.template.replace("RESTRICTED_DIRS", "/")

    def after_update(self, config: Config) -> None:
        """Follow a changed template: what it leaves out stays.

        :raises PoolError: as `settle`.
        """
        if self.oid != _SYSTEM_ID and self.type != TYPES["BACKUP_DS"]:
            self.type = TYPES.get(self.template.get("TYPE").upper(), self.type)
        self.template.replace("TYPE", next(name for name, value in TYPES.items() if value == self.type))
        disk = self.template.get("DISK_TYPE")
        if disk:
            self._use_disks(disk)
        transfer = self.template.get("TM_MAD")
        if transfer:
            self._use_transfer(config, transfer)
        else:
            self.template.replace("TM_MAD", self.tm_mad)
        if self.system:
            self.ds_mad = "-"
            self.template.erase("DS_MAD")
        else:
            self.ds_mad = self.template.get("DS_MAD") or self.ds_mad
            self.template.replace("DS_MAD", self.ds_mad)
        self._require(config)

    def _require(self, config: Config) -> None:
        if self.system:
            return
        conf = next((c for c in config.vectors("DS_MAD_CONF") if c.get("NAME") == self.ds_mad), None)
        if conf is None:
            raise PoolError(f'DS_MAD named "{self.ds_mad}" is not defined in oned.conf')
        for name in conf.get("REQUIRED_ATTRS", "").split(","):
            wanted = name.strip().upper()
            if wanted and not self.template.get(wanted):
                raise PoolError(f'Datastore template is missing the "{wanted}" attribute or it\'s empty.')

    def _use_transfer(self, config: Config, name: str) -> None:
        if self.type == TYPES["BACKUP_DS"]:
            return
        if not name:
            raise PoolError("No TM_MAD in template.")
        conf = next((c for c in config.vectors("TM_MAD_CONF") if c.get("NAME") == name), None)
        if conf is None:
            raise PoolError(f'TM_MAD named "{name}" is not defined in oned.conf')
        broken = PoolError(
            f"Attribute shared, ln_target or clone_target in TM_MAD_CONF for {name} is missing or has wrong value in oned.conf"
        )
        put = self.template.replace
        if self.system:
            if "SHARED" not in conf:
                raise broken
            for key, default in (
                ("SHARED", "NO"),
                ("DS_MIGRATE", "YES"),
                ("DS_LIVE_MIGRATE", "NO"),
                ("DS_MIGRATE_SNAP", "NO"),
            ):
                put(key, conf.get(key, default).upper())
            self.template.erase("LN_TARGET", "CLONE_TARGET")
        else:
            for key in ("LN_TARGET", "CLONE_TARGET"):
                if conf.get(key, "").upper() not in _TARGETS:
                    raise broken
                put(key, conf[key])
            for key, value in conf.items():
                if key in ("DRIVER", "DISK_TYPE", "TM_MAD_SYSTEM") or key.startswith(
                    ("LN_TARGET_", "CLONE_TARGET_", "DISK_TYPE_")
                ):
                    put(key, value)
            self.template.erase("SHARED")
        put("ALLOW_ORPHANS", conf.get("ALLOW_ORPHANS", "NO"))
        put("PERSISTENT_SNAPSHOTS", conf.get("PERSISTENT_SNAPSHOTS", "YES").upper())
        self.tm_mad = name

    def _use_disks(self, name: str) -> None:
        wanted = name.upper()
        allowed, label = (_SYSTEM_DISKS, "a System") if self.system else (_IMAGE_DISKS, "an Image")
        self.template.erase("DISK_TYPE")
        if self.type in (TYPES["FILE_DS"], TYPES["BACKUP_DS"]):
            self.disk_type = _DISKS["FILE"]
            return
        if wanted not in _DISKS:
            raise PoolError("Unknown DISK_TYPE in template.")
        if wanted not in allowed:
            raise PoolError(f"Invalid DISK_TYPE for {label} Datastore.")
        self.disk_type = _DISKS[wanted]
        self.template.replace("DISK_TYPE", wanted)


class DatastorePool(OwnedPool[Datastore]):
    """datastore_pool. Names are taken whoever has them."""

    table = "datastore_pool"
    root = "DATASTORE_POOL"
    item = Datastore

    def find_of(self, name: str, _uid: int, /) -> int:
        return self.find(name)

    def check(self, item: Datastore) -> None:
        """:raises PoolError: for a bad or taken name, which is looked at before anything else."""
        check_name(item.name)
        taken = self.find(item.name)
        if taken != -1:
            raise PoolError(f"NAME is already taken by DATASTORE {taken}.")


def first(name: str, attributes: tuple[tuple[str, str], ...], config: Config, owner: str) -> Datastore:
    """One of the datastores of the first boot."""
    bits = {"OWNER_U": 1, "OWNER_M": 1, "OWNER_A": 0, "GROUP_U": 1, "GROUP_M": 0, "GROUP_A": 0}
    made = Datastore(
        name=name,
        uid=0,
        gid=0,
        uname=owner,
        gname="oneadmin",
        bits={**bits, "OTHER_U": 0, "OTHER_M": 0, "OTHER_A": 0},
        template=Template(attributes),
        base=config.get("DATASTORE_LOCATION").rstrip("/"),
    )
    made.settle(config)
    return made
