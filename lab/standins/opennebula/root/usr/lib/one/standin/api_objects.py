"""The calls that all owned objects share (info, update, rename, chmod, chown, delete, lock, unlock and the pool), and how
templates, documents, images and networks are made.

Source: OpenNebula 7.4.0 src/rm/api/{SharedAPI,PoolSharedAPI,TemplateAPI,DocumentAPI}.cc.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from standin.bootstrap import Pools
from standin.ownership import (
    BITS,
    LOCK_LEVELS,
    Document,
    FilterError,
    Image,
    Network,
    Owned,
    OwnedPool,
    VmTemplate,
    page,
    visible,
)
from standin.pool import PoolError, check_name
from standin.request import Call, Code, Refused, method, missing
from standin.template import Template, TemplateError
from standin.update import REPLACE, update_template
from standin.users import ONEADMIN_GROUP

_DEFAULT_DATASTORE: Final = 1


@dataclass(frozen=True)
class Kind:
    """`call` is the middle of the method names, `word` what refusals say."""

    call: str
    word: str
    upper: str
    pool: Callable[[Pools], OwnedPool[Any]]
    pool_call: str


TEMPLATES: Final = Kind(
    "template", "virtual machine template", "TEMPLATE", lambda pools: pools.templates, "templatepool"
)
DOCUMENTS: Final = Kind("document", "document", "DOCUMENT", lambda pools: pools.documents, "documentpool")
IMAGES: Final = Kind("image", "image", "IMAGE", lambda pools: pools.images, "imagepool")
NETWORKS: Final = Kind("vn", "virtual network", "NET", lambda pools: pools.networks, "vnpool")
MACHINES: Final = Kind("vm", "virtual machine", "VM", lambda pools: pools.machines, "vmpool")
DATASTORES: Final = Kind("datastore", "datastore", "DATASTORE", lambda pools: pools.datastores, "datastorepool")


def existing(call: Call, kind: Kind, oid: int, operation: str) -> Any:
    """The object, if the caller may do `operation` with it.

    :raises Refused: NO_EXISTS, AUTHORIZATION or LOCKED.
    """
    found: Owned | None = kind.pool(call.pools).get(oid)
    if found is None:
        raise missing(kind.word, oid)
    if not found.allows(call.user, operation):
        call.authorize(operation, kind.upper, oid)
    if found.locked_for(operation) and not call.admin:
        raise Refused(Code.LOCKED, f"The resource {kind.word} is locked. [{oid}].", oid)
    return found


def parsed(text: str) -> Template:
    """:raises Refused: INTERNAL, with the parser's words."""
    try:
        return Template.parse(text)
    except TemplateError as error:
        raise Refused(Code.INTERNAL, str(error)) from None


def pool_dump(call: Call, kind: Kind, extent: tuple[int, int, int], also: str = "1 = 1", column: str = "body") -> str:
    """What the caller sees of a pool; `extent` is filter flag, first and last id (or a page, see `page`).

    :raises Refused: RPC_API for an unknown flag.
    """
    flag, start, end = extent
    try:
        condition = visible(call.user, flag)
    except FilterError as error:
        raise Refused(Code.RPC_API, str(error)) from None
    ids, limit = page(start, end)
    return kind.pool(call.pools).dump(
        f"{condition} AND {ids} AND {also}", descending=call.newest_first, limit=limit, column=column
    )


def _register(kind: Kind) -> None:
    name = f"one.{kind.call}"

    @method(f"{name}.update", int, str, int, optional=1)
    def update(call: Call, oid: int, text: str, how: int = REPLACE) -> int:
        existing(call, kind, oid, "MANAGE")
        return update_template(kind.pool(call.pools), kind.word, oid, text, how)

    @method(f"{name}.rename", int, str)
    def rename(call: Call, oid: int, new: str) -> int:
        item = existing(call, kind, oid, "MANAGE")
        if item.name == new:
            return oid
        taken = kind.pool(call.pools).find_of(new, item.uid)
        if taken != -1:
            raise Refused(
                Code.ACTION, f"{kind.word} cannot be renamed to {new} because it collides with {kind.word} {taken}"
            )
        with kind.pool(call.pools).locked(oid) as item:
            if item is None:
                raise missing(kind.word, oid)
            try:
                check_name(new)
            except PoolError as error:
                raise Refused(Code.ACTION, str(error)) from None
            item.name = new
            kind.pool(call.pools).update(item)
        return oid


def _register_rights(kind: Kind) -> None:
    name = f"one.{kind.call}"

    @method(f"{name}.chmod", int, *([int] * 9))
    def chmod(call: Call, oid: int, *bits: int) -> int:
        existing(call, kind, oid, "MANAGE")
        with kind.pool(call.pools).locked(oid) as item:
            if item is None:
                raise missing(kind.word, oid)
            item.bits.update({name: bit for name, bit in zip(BITS, bits, strict=False) if bit in (0, 1)})
            kind.pool(call.pools).update(item)
        return oid

    @method(f"{name}.chown", int, int, int)
    def chown(call: Call, oid: int, uid: int, gid: int) -> int:
        existing(call, kind, oid, "MANAGE")
        user = call.pools.users.get(uid) if uid != -1 else None
        group = call.pools.groups.get(gid) if gid != -1 else None
        if uid != -1 and user is None:
            raise missing("user", uid)
        if gid != -1 and group is None:
            raise missing("group", gid)
        with kind.pool(call.pools).locked(oid) as item:
            if item is None:
                raise missing(kind.word, oid)
            if user is not None:
                item.uid, item.uname = user.oid, user.name
            if group is not None:
                item.gid, item.gname = group.oid, group.name
            kind.pool(call.pools).update(item)
        return oid


def _register_locks(kind: Kind) -> None:
    name = f"one.{kind.call}"

    @method(f"{name}.lock", int, int, bool, optional=1)
    def lock(call: Call, oid: int, level: int, test: bool = False) -> int:
        if kind.pool(call.pools).get(oid) is None:
            raise missing(kind.word, oid)
        with kind.pool(call.pools).locked(oid) as item:
            if item is None:
                raise missing(kind.word, oid)
            if not item.allows(call.user, "MANAGE"):
                call.authorize("MANAGE", kind.upper, oid)
            if level not in LOCK_LEVELS:
                raise Refused(Code.ACTION, "Wrong lock level specified")
            if test and item.lock is not None:
                raise Refused(Code.ACTION, "Object is already locked")
            if not item.take_lock(call.user, level):
                raise Refused(Code.ACTION, "Error trying to lock the resource.")
            kind.pool(call.pools).update(item)
        return oid

    @method(f"{name}.unlock", int)
    def unlock(call: Call, oid: int) -> int:
        with kind.pool(call.pools).locked(oid) as item:
            if item is None:
                raise missing(kind.word, oid)
            if not item.allows(call.user, "MANAGE"):
                call.authorize("MANAGE", kind.upper, oid)
            if item.lock is not None and item.lock.owner != call.user.oid and not call.admin:
                raise Refused(Code.ACTION, "Cannot unlock: Lock is owned by another user")
            item.lock = None
            kind.pool(call.pools).update(item)
        return oid


def _register_simple(kind: Kind) -> None:
    name = f"one.{kind.call}"

    @method(f"{name}.info", int, bool, bool, optional=2)
    def info(call: Call, oid: int, _extended: bool = False, _decrypt: bool = False) -> str:
        found: str = existing(call, kind, oid, "USE").xml()
        return found

    @method(f"{name}.delete", int, bool, optional=1)
    def delete(call: Call, oid: int, _recursive: bool = False) -> int:
        existing(call, kind, oid, "MANAGE")
        with kind.pool(call.pools).locked(oid) as item:
            if item is None:
                raise missing(kind.word, oid)
            kind.pool(call.pools).drop(item)
        if kind is IMAGES:
            keep_images(call, item.datastore_id, lambda images: images.discard(oid))
        return oid


def _register_pool(kind: Kind) -> None:
    @method(f"one.{kind.pool_call}.info", int, int, int)
    def pool_info(call: Call, flag: int, start: int, end: int) -> str:
        return pool_dump(call, kind, (flag, start, end))


for _kind in (TEMPLATES, DOCUMENTS, IMAGES, NETWORKS, MACHINES, DATASTORES):
    _register(_kind)
    _register_rights(_kind)
    _register_locks(_kind)
for _kind in (TEMPLATES, DOCUMENTS, IMAGES, NETWORKS):
    _register_simple(_kind)
for _kind in (TEMPLATES, IMAGES, NETWORKS):
    _register_pool(_kind)


def creation(call: Call, kind: Kind) -> None:
    """Members of group users may make their own templates, machines, documents, images: oned's first ACL rule.

    :raises Refused: AUTHORIZATION.
    """
    if not call.user.groups:
        call.authorize("CREATE", kind.upper)


def name_of(template: Template) -> str:
    """The NAME of a template, which is not kept in it."""
    name = template.get("NAME")
    template.erase("NAME")
    return name


@method("one.template.allocate", str)
def template_allocate(call: Call, text: str) -> int:
    template = parsed(text)
    creation(call, TEMPLATES)
    name = name_of(template)
    item = VmTemplate(**Owned.of(call.user, call.umask, template, name))
    try:
        return call.pools.templates.allocate(item)
    except PoolError as error:
        raise Refused(Code.INTERNAL, str(error)) from None


@method("one.template.clone", int, str, bool, optional=1)
def template_clone(call: Call, oid: int, name: str, _recursive: bool = False) -> int:
    source = existing(call, TEMPLATES, oid, "USE")
    try:
        return call.pools.templates.allocate(VmTemplate(**Owned.of(call.user, call.umask, source.template, name)))
    except PoolError as error:
        raise Refused(Code.INTERNAL, str(error)) from None


@method("one.document.allocate", str, int)
def document_allocate(call: Call, text: str, kind: int) -> int:
    template = parsed(text)
    creation(call, DOCUMENTS)
    item = Document(**Owned.of(call.user, call.umask, template, name_of(template)), type=kind)
    if not item.name:
        item.name = f"document-{call.pools.documents.last_oid() + 1}"
    try:
        check_name(item.name)
        return call.pools.documents.insert(item)
    except PoolError as error:
        raise Refused(Code.INTERNAL, str(error)) from None


@method("one.document.clone", int, str)
def document_clone(call: Call, oid: int, name: str) -> int:
    source = existing(call, DOCUMENTS, oid, "USE")
    item = Document(**Owned.of(call.user, call.umask, source.template, name), type=source.type)
    try:
        check_name(item.name)
        return call.pools.documents.insert(item)
    except PoolError as error:
        raise Refused(Code.INTERNAL, str(error)) from None


@method("one.documentpool.info", int, int, int, int)
def document_pool_info(call: Call, flag: int, start: int, end: int, kind: int) -> str:
    return pool_dump(call, DOCUMENTS, (flag, start, end), f"type = {kind}")


@method("one.image.allocate", str, int, bool, optional=1)
def image_allocate(call: Call, text: str, datastore_id: int, _check: bool = True) -> int:
    template = parsed(text)
    datastore = call.pools.datastores.get(datastore_id)
    if datastore is None:
        raise missing("datastore", datastore_id)
    creation(call, IMAGES)
    item = Image(
        **Owned.of(call.user, call.umask, template, name_of(template)),
        datastore_id=datastore_id,
        datastore=datastore.name,
    )
    try:
        oid = call.pools.images.allocate(item)
    except PoolError as error:
        raise Refused(Code.INTERNAL, str(error)) from None
    keep_images(call, datastore_id, lambda images: images.add(oid))
    return oid


def keep_images(call: Call, datastore_id: int, change: Callable[[set[int]], None]) -> None:
    """Change which images a datastore knows to be its own."""
    with call.pools.datastores.locked(datastore_id) as datastore:
        if datastore is not None:
            change(datastore.images)
            call.pools.datastores.update(datastore)


@method("one.vn.allocate", str, int)
def network_allocate(call: Call, text: str, cluster_id: int) -> int:
    template = parsed(text)
    if ONEADMIN_GROUP not in call.user.groups:
        call.authorize("CREATE", "NET")
    item = Network(
        **Owned.of(call.user, call.umask, template, name_of(template)), cluster_id=0 if cluster_id == -1 else cluster_id
    )
    if not template.get("VN_MAD"):
        raise Refused(Code.INTERNAL, "No VN_MAD in template.")
    try:
        return call.pools.networks.allocate(item)
    except PoolError as error:
        raise Refused(Code.INTERNAL, str(error)) from None
