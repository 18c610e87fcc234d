"""one.vm.*, one.vmpool.* and one.template.instantiate.

Source: OpenNebula 7.4.0 src/rm/api/{VirtualMachineAPI,VirtualMachinePoolAPI,TemplateAPI}.cc.
"""

from __future__ import annotations

from typing import Final

from standin import consoles, context, migration
from standin.api_objects import MACHINES, TEMPLATES, creation, existing, name_of, parsed, pool_dump
from standin.lifecycle import Unfit
from standin.machines import Machine
from standin.ownership import Owned
from standin.pool import PoolError, check_name
from standin.request import Call, Code, Refused, method, missing
from standin.states import VmState
from standin.template import Template
from standin.update import REPLACE, check_kind, updated

_ALL, _NOT_DONE, _LAST_STATE = -2, -1, 11
_DEPLOYABLE: Final = (VmState.PENDING, VmState.HOLD, VmState.STOPPED, VmState.UNDEPLOYED)


def submit(call: Call, template: Template, *, hold: bool) -> int:
    """A new machine of this template.

    :raises PoolError: with the text for the caller, who knows the code.
    """
    config = call.service.config
    name = name_of(template)
    if name:
        check_name(name)
    on_hold = hold or config.flag("VM_SUBMIT_ON_HOLD") or template.get("SUBMIT_ON_HOLD").upper() == "YES"
    machine = Machine.requested(Owned.of(call.user, call.umask, template, name), hold=on_hold)
    consoles.prepare(machine)
    context.prepare(machine, call.user, call.pools.machines.last_oid() + 1, config.get("ONEGATE_ENDPOINT"))
    oid = call.pools.machines.allocate(machine)
    if not on_hold:
        call.service.lifecycle.wanted()
    return oid


@method("one.vm.allocate", str, bool, optional=1)
def allocate(call: Call, text: str, hold: bool = False) -> int:
    template = parsed(text)
    creation(call, MACHINES)
    try:
        return submit(call, template, hold=hold)
    except PoolError as error:
        raise Refused(Code.INTERNAL, str(error)) from None


@method("one.template.instantiate", int, str, bool, str, bool, optional=4)
def instantiate(
    call: Call, oid: int, name: str = "", hold: bool = False, extra: str = "", _persistent: bool = False
) -> int:
    source = existing(call, TEMPLATES, oid, "USE")
    template = Template(source.template)
    template.merge(parsed(extra) if extra.strip() else Template())
    template.erase("NAME", "TEMPLATE_NAME", "TEMPLATE_ID")
    template.replace("TEMPLATE_ID", str(oid))
    template.replace("NAME", name or f"{source.name}-{call.pools.machines.last_oid() + 1}")
    try:
        return submit(call, template, hold=hold)
    except PoolError as error:
        raise Refused(Code.ALLOCATE, f"Error allocating a new virtual machine template. {error}") from None


@method("one.vm.info", int, bool, optional=1)
def info(call: Call, oid: int, _decrypt: bool = False) -> str:
    found: str = existing(call, MACHINES, oid, "USE").xml()
    return found


@method("one.vm.update", int, str, int, optional=1)
def update(call: Call, oid: int, text: str, how: int = REPLACE) -> int:
    """Changes the user template; the machine's own stays."""
    existing(call, MACHINES, oid, "MANAGE")
    check_kind(how)
    with call.pools.machines.locked(oid) as machine:
        if machine is None:
            raise missing("virtual machine", oid)
        machine.user_template = updated(machine.user_template, text, how)
        call.pools.machines.update(machine)
    return oid


@method("one.vm.action", str, int)
def action(call: Call, name: str, oid: int) -> int:
    existing(call, MACHINES, oid, "ADMIN" if name in ("resched", "unresched") else "MANAGE")
    with call.pools.machines.locked(oid) as machine:
        if machine is None:
            raise missing("virtual machine", oid)
        try:
            call.service.lifecycle.act(machine, name)
        except Unfit as error:
            text = f'Error performing action "{name}": {error}' if str(error) else f'Action "{name}" is not supported'
            raise Refused(Code.ACTION, text) from None
    return oid


@method("one.vm.recover", int, int)
def recover(call: Call, oid: int, operation: int) -> int:
    existing(call, MACHINES, oid, "ADMIN")
    with call.pools.machines.locked(oid) as machine:
        if machine is None:
            raise missing("virtual machine", oid)
        if operation not in range(4):
            raise Refused(Code.ACTION, "Wrong recovery operation code")
        try:
            call.service.lifecycle.recover(machine, operation)
        except Unfit as error:
            raise Refused(Code.ACTION, str(error)) from None
    return oid


@method("one.vm.deploy", int, int, bool, int, str, optional=3)
def deploy(call: Call, oid: int, host_id: int, enforce: bool = False, store_id: int = -1, _extra: str = "") -> int:
    host = call.pools.hosts.get(host_id)
    if host is None:
        raise missing("host", host_id)
    if call.pools.machines.get(oid) is None:
        raise missing("virtual machine", oid)
    cluster = call.pools.clusters.get(host.cluster_id)
    if store_id == -1:
        store_id = next((each for each in sorted(cluster.datastores if cluster else ()) if _is_system(call, each)), -1)
        if store_id == -1:
            raise Refused(Code.ACTION, "No system datastores found in cluster")
    datastore = call.pools.datastores.get(store_id)
    if datastore is None:
        raise missing("datastore", store_id)
    if not datastore.system:
        raise Refused(Code.INTERNAL, f"Trying to use a non-system datastore [{store_id}] to deploy the VM.")
    if host.cluster_id not in datastore.clusters:
        raise Refused(
            Code.ACTION,
            f"datastore [{store_id}] and host [{host_id}] are not in the same cluster [{host.cluster_id}].",
        )
    call.authorize("ADMIN", "VM", oid)
    with call.pools.machines.locked(oid) as machine:
        if machine is None:
            raise missing("virtual machine", oid)
        if machine.state not in _DEPLOYABLE:
            raise Refused(Code.ACTION, f"Deploy action is not available for state {machine.state_name}")
        lacking = host.lacks(*machine.capacity) if enforce else ""
        if lacking:
            raise Refused(Code.ACTION, f"virtual machine [{oid}] does not fit in host [{host_id}]. {lacking}")
        try:
            call.service.lifecycle.deploy(machine, host, store_id, datastore.tm_mad)
        except PoolError as error:
            raise Refused(Code.ACTION, str(error)) from None
    return oid


@method("one.vm.migrate", int, int, bool, bool, int, int, optional=3)
def migrate(  # noqa: PLR0917 - the call's own parameters, in its order
    call: Call, oid: int, host_id: int, live: bool, enforce: bool = False, store_id: int = -1, how: int = 0
) -> int:
    """To another host. Another system datastore is more than a machine without disks can rehearse."""
    host = call.pools.hosts.get(host_id)
    if host is None:
        raise missing("host", host_id)
    if store_id != -1 and call.pools.datastores.get(store_id) is None:
        raise missing("datastore", store_id)
    if call.pools.machines.get(oid) is None:
        raise missing("virtual machine", oid)
    call.authorize("ADMIN", "VM", oid)
    with call.pools.machines.locked(oid) as machine:
        if machine is None:
            raise missing("virtual machine", oid)
        if not migration.possible(machine):
            raise Refused(Code.ACTION, f"Migrate action is not available for state {machine.state_name}")
        here = machine.history[-1]
        if here.hid == host_id and store_id in (-1, here.ds_id):
            text = f"VM is already running on host [{here.hid}] and datastore [{here.ds_id}]"
            raise Refused(Code.ACTION, text)
        if store_id not in (-1, here.ds_id):
            raise Refused(Code.ACTION, "System datastore migration not supported by driver")
        lacking = host.lacks(*machine.capacity) if enforce else ""
        if lacking:
            raise Refused(Code.ACTION, f"virtual machine [{oid}] does not fit in host [{host_id}]. {lacking}")
        datastore = call.pools.datastores.get(here.ds_id)
        if datastore is None:
            raise missing("datastore", here.ds_id)
        if host.cluster_id not in datastore.clusters:
            raise Refused(
                Code.ACTION,
                f"Cannot migrate VM [{oid}] to host [{host_id}] and system datastore [{here.ds_id}]. Host is in cluster "
                f"[{host.cluster_id}], and the datastore is in cluster "
                f"[{','.join(str(each) for each in sorted(datastore.clusters))}]",
            )
        call.service.lifecycle.migrate(machine, host, live=live, how=how)
    return oid


@method("one.vm.monitoring", int)
def monitoring(call: Call, oid: int) -> str:
    existing(call, MACHINES, oid, "USE")
    return call.pools.machines.monitoring(oid)


@method("one.vmpool.info", int, int, int, int, str, optional=1)
def pool_info(call: Call, flag: int, start: int, end: int, state: int, _query: str = "") -> str:
    """The short list."""
    return pool_dump(call, MACHINES, (flag, start, end), _in_state(state), "short_body")


@method("one.vmpool.infoextended", int, int, int, int, str, optional=1)
def pool_info_extended(call: Call, flag: int, start: int, end: int, state: int, _query: str = "") -> str:
    return pool_dump(call, MACHINES, (flag, start, end), _in_state(state))


@method("one.vmpool.infoset", str, bool, optional=1)
def pool_info_set(call: Call, ids: str, extended: bool = False) -> str:
    wanted = [word for word in ids.split(",") if word.strip().isdigit()]
    return pool_dump(
        call, MACHINES, (_ALL, -1, -1), f"oid IN ({','.join(wanted) or '-1'})", "body" if extended else "short_body"
    )


@method("one.vmpool.monitoring", int, int, optional=1)
def pool_monitoring(call: Call, _flag: int, _seconds: int = -1) -> str:
    rows = call.pools.machines.database.query(
        "SELECT vm_monitoring.body FROM vm_monitoring INNER JOIN vm_pool ON vmid = oid "
        f"WHERE {'1 = 1' if call.admin else f'uid = {call.user.oid}'} ORDER BY vmid, last_poll"
    )
    return f"<MONITORING_DATA>{''.join(row[0] for row in rows)}</MONITORING_DATA>"


@method("one.vmpool.accounting", int, int, int)
def pool_accounting(_call: Call, _flag: int, _start: int, _end: int) -> str:
    return "<HISTORY_RECORDS></HISTORY_RECORDS>"


def _in_state(state: int) -> str:
    if state < _ALL or state > _LAST_STATE:
        raise Refused(Code.RPC_API, f"Incorrect state filter {state}")
    return {_ALL: "1 = 1", _NOT_DONE: f"state <> {VmState.DONE.value}"}.get(state, f"state = {state}")


def _is_system(call: Call, oid: int) -> bool:
    datastore = call.pools.datastores.get(oid)
    return datastore is not None and datastore.system and datastore.state == 0
