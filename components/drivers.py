"""Settings of the drivers and their files: vmm_exec_kvm.conf, kvmrc, lxcrc here, OpenNebulaNetwork.conf beside it. Pure.

vmm_exec_kvm.conf stays in the pod; the others are remote scripts' configuration and reach the hosts with them, when
onemonitord starts their probes. Only what is set is written: the rest stays as the release ships it. Where one key of a
vector is set, the vector is written whole, with the release's own values for the others.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

from pydantic import Field
from pydantic.alias_generators import to_camel

from components import driver_names, network_drivers
from components.domain import AttributeValue, Seconds, Section, Version, matching
from components.monitoring import Raw
from components.network_drivers import NetworkDriverSettings, Tproxy
from components.oned_conf import Grammar, Scalar, Value, merge_raw, raw_problems, spelling_problems
from components.versions import RELEASES
from components.yaml_conf import Keys, Yaml, render

YesNo = Literal["yes", "no"]
Word = Annotated[
    str, Field(max_length=256), matching(r"[^\x00-\x1f\x7f]*", "must be one line without control characters")
]

# Vectors of vmm_exec_kvm.conf as each release ships it (x86_64).
_SHIPPED: Final[Mapping[Version, Mapping[str, Mapping[str, Scalar]]]] = {
    Version.V6_10: {
        "OS": {"ARCH": "x86_64"},
        "FEATURES": {
            "PAE": "no",
            "ACPI": "yes",
            "APIC": "no",
            "HYPERV": "no",
            "GUEST_AGENT": "yes",
            "VIRTIO_SCSI_QUEUES": "auto",
            "IOTHREADS": "0",
        },
        "DISK": {"DRIVER": "raw", "CACHE": "none", "DISCARD": "unmap"},
        "NIC": {"MODEL": "virtio"},
    },
    Version.V7_4: {
        "OS": {"ARCH": "x86_64", "MACHINE": "q35"},
        "FEATURES": {
            "PAE": "no",
            "ACPI": "yes",
            "APIC": "no",
            "HYPERV": "no",
            "GUEST_AGENT": "yes",
            "VIRTIO_SCSI_QUEUES": "auto",
            "IOTHREADS": "0",
        },
        "DISK": {"DRIVER": "raw", "CACHE": "none", "DISCARD": "unmap", "UID_MAP": "100000", "GID_MAP": "100000"},
        "NIC": {"MODEL": "virtio", "VIRTIO_QUEUES": "auto"},
    },
}


class KvmOs(Section):
    """OS defaults."""

    arch: Word | None = Field(default=None, description="x86_64, aarch64")
    machine: Word | None = Field(default=None, description="machine type, such as q35")
    kernel: Word | None = Field(default=None, description="path of a kernel on the hosts")
    initrd: Word | None = Field(default=None, description="path of an initrd on the hosts")
    root: Word | None = Field(default=None, description="root device for that kernel")
    kernel_cmd: Word | None = Field(default=None, description="kernel arguments")
    sd_disk_bus: Word | None = Field(default=None, description="bus of sd disks")


class KvmFeatures(Section):
    """FEATURES defaults."""

    pae: YesNo | None = Field(default=None, description="physical address extension")
    acpi: YesNo | None = Field(default=None, description="power management")
    apic: YesNo | None = Field(default=None, description="programmable interrupts")
    hyperv: YesNo | None = Field(default=None, description="enlightenments for Windows guests")
    localtime: YesNo | None = Field(default=None, description="guest clock in local time")
    guest_agent: YesNo | None = Field(default=None, description="channel for the QEMU guest agent")
    virtio_scsi_queues: Word | None = Field(default=None, description="number or auto")
    virtio_blk_queues: Word | None = Field(default=None, description="number or auto")
    iothreads: Annotated[int, Field(ge=0, le=256)] | None = Field(default=None, description="I/O threads of a VM")


class KvmDisk(Section):
    """DISK defaults."""

    driver: Word | None = Field(default=None, description="raw or qcow2")
    cache: Literal["default", "none", "writethrough", "writeback", "directsync", "unsafe"] | None = Field(
        default=None, description="cache mode"
    )
    io: Literal["native", "threads", "io_uring"] | None = Field(default=None, description="I/O policy")
    discard: Literal["ignore", "unmap"] | None = Field(default=None, description="what a guest's trim does")


class KvmNic(Section):
    """NIC defaults."""

    model: Word | None = Field(default=None, description="such as virtio")
    filter: Word | None = Field(default=None, description="libvirt's network filter, such as clean-traffic")
    virtio_queues: Word | None = Field(default=None, description="number or auto; of 6.10, since 6.10.3")


class KvmGraphics(Section):
    """GRAPHICS default: given, every VM gets a console."""

    type: Literal["vnc", "spice", "sdl"] = Field(default="vnc", description="kind of console")
    listen: Word = Field(default="0.0.0.0", description="address on the host; consoles from the control plane need it")
    random_passwd: YesNo = Field(default="yes", description="a password of its own for each VM")
    keymap: Word | None = Field(default=None, description="keyboard of the guest, such as de")


class KvmExecSettings(Section):
    """vmm_exec_kvm.conf: defaults of every KVM virtual machine."""

    emulator: Word | None = Field(default=None, description="path of the emulator on the hosts")
    vcpu: Annotated[int, Field(ge=1, le=1024)] | None = Field(default=None, description="virtual CPUs of a VM")
    memory_slots: Annotated[int, Field(ge=0, le=255)] | None = Field(default=None, description="slots to add memory")
    cpu_model: Word | None = Field(default=None, description="such as host-passthrough or host-model")
    os: KvmOs = KvmOs()
    features: KvmFeatures = KvmFeatures()
    disk: KvmDisk = KvmDisk()
    nic: KvmNic = KvmNic()
    graphics: KvmGraphics | None = Field(default=None, description="left out, VMs have the console of their templates")
    raw: Raw = Field(default={})


class KvmSettings(Section):
    """kvmrc: what the scripts on KVM hosts do."""

    shutdown_timeout: Seconds | None = Field(default=None, description="seconds that a VM may take to shut down")
    force_destroy: YesNo | None = Field(default=None, description="end a VM that did not")
    cancel_no_acpi: YesNo | None = Field(default=None, description="end VMs without ACPI at shutdown")
    sync_time: YesNo | None = Field(default=None, description="set the guest's clock after a resume")
    virsh_retries: Annotated[int, Field(ge=0, le=100)] | None = Field(default=None, description="retries of virsh")
    virsh_timeout: Seconds | None = Field(default=None, description="seconds that virsh may block")
    cleanup_memory_on_start: YesNo | None = Field(default=None, description="compact memory before a VM starts")
    cleanup_memory_on_stop: YesNo | None = Field(default=None, description="compact memory after a VM stopped")
    migrate_options: Word | None = Field(default=None, description="further options of virsh migrate")
    attach_cache: Word | None = Field(default=None, description="cache mode of attached disks")
    attach_discard: Literal["ignore", "unmap"] | None = Field(default=None, description="trim on attached disks")
    attach_io: Word | None = Field(default=None, description="I/O policy of attached disks")
    attach_nic_model: Word | None = Field(default=None, description="model of attached NICs")
    attach_nic_filter: Word | None = Field(default=None, description="filter of attached NICs")
    ovmf_nvram: Word | None = Field(default=None, description="path of the firmware's variables on the hosts")
    virtiofsd: Word | None = Field(default=None, description="paths of virtiofsd on the hosts; 7.x only")
    raw: dict[
        Annotated[str, matching(r"[A-Z][A-Z0-9_]*", "must be a shell variable: upper-case letters, digits and '_'")],
        Word,
    ] = Field(default={}, description="further variables that the release reads; typed ones are refused")


class LxcSettings(Section):
    """lxcrc: what the scripts on LXC hosts do. Written whole, with the shipped values as defaults."""

    console_command: Word = Field(default="sudo lxc-console", description="command of the console's terminal")
    console_width: Annotated[int, Field(ge=80, le=8192)] = Field(default=800, description="pixels")
    console_height: Annotated[int, Field(ge=60, le=8192)] = Field(default=600, description="pixels")
    console_timeout: Seconds = Field(default=300, description="seconds without a key until it closes")
    default_config: Word = Field(
        default="/usr/share/lxc/config/common.conf", description="file that every container's configuration includes"
    )
    bindfs: Word = Field(default="suid", description="mount options of bindfs")
    dev_xfs: Word = Field(default="nouuid", description="mount options of XFS disks")
    disk: Word = Field(default="rbind,create=dir,optional", description="mount options of data disks")
    rootfs: Word = Field(default="", description="mount options of root file systems")
    mountpoint: Word = Field(default="media/one-disk.$id", description="where data disks appear")
    raw: dict[
        Annotated[str, matching(r"[a-z][a-z0-9_]*", "must be a key: lower-case letters, digits and '_'")], Word
    ] = Field(
        default={}, description="further mount options, as dev_FS: of disks with that file system, such as dev_ext4"
    )


class DriverSettings(Section):
    """The drivers of hypervisors and of networks."""

    kvm_exec: KvmExecSettings = KvmExecSettings()
    kvm: KvmSettings = KvmSettings()
    lxc: LxcSettings | None = Field(default=None, description="left out, lxcrc stays as shipped")
    network: NetworkDriverSettings | None = Field(
        default=None,
        description="left out, OpenNebulaNetwork.conf stays as shipped, but for OneGate's transparent proxy",
    )

    @property
    def tproxy(self) -> tuple[Tproxy, ...]:
        """The transparent proxies that are declared."""
        return self.network.tproxy if self.network is not None else ()


def problems(settings: DriverSettings, version: Version) -> Iterator[tuple[str, str]]:
    """(path below `drivers`, sentence) for what the release or a file's grammar would refuse."""
    if version is Version.V6_10 and settings.kvm.virtiofsd is not None:
        yield "kvm.virtiofsd", RELEASES[version].unknown("virtiofs")
    yield from _kvmrc_raw(settings.kvm, version)
    yield from _kvm_exec_raw(settings.kvm_exec, version)
    yield from _lxcrc_raw(settings.lxc)
    if settings.network is not None:
        found = network_drivers.problems(settings.network, version)
        yield from ((f"network.{path}", sentence) for path, sentence in found)
    for name, sentence in spelling_problems(_kvm_exec_typed(settings.kvm_exec, version)):
        yield f"kvmExec.{to_camel(name.lower())}", sentence


def _typed_elsewhere(place: str) -> str:
    return f"is decided by a typed setting; set drivers.{place} instead"


def _kvmrc_raw(settings: KvmSettings, version: Version) -> Iterator[tuple[str, str]]:
    typed = {name: field for field, name in _KVMRC.items()}
    for name in settings.raw:
        if name in typed:
            yield f"kvm.raw.{name}", _typed_elsewhere(f"kvm.{to_camel(typed[name])}")
        elif reason := driver_names.KVMRC_FIXED.get(name):
            yield f"kvm.raw.{name}", f"cannot be changed: {reason}; remove it"
        elif name not in driver_names.KVMRC[version]:
            yield f"kvm.raw.{name}", RELEASES[version].unread_of(name, "kvmrc", driver_names.KVMRC)


def _kvm_exec_raw(settings: KvmExecSettings, version: Version) -> Iterator[tuple[str, str]]:
    typed = _kvm_exec_typed(settings, version)
    free = {}
    for name, value in settings.raw.items():
        place = _typed_place(name, value)
        if place is not None or (name in typed and name in _KVM_EXEC):
            yield f"kvmExec.raw.{name}", _typed_elsewhere(f"kvmExec.{place or _KVM_EXEC[name][0]}")
            continue
        free[name] = value
        known = driver_names.KVM_EXEC_VECTORS[version].get(name)
        if known is not None and isinstance(value, Mapping):
            names = {each: vectors.get(name, ()) for each, vectors in driver_names.KVM_EXEC_VECTORS.items()}
            for key in sorted(set(value) - known):
                sentence = RELEASES[version].unread_of(key, f"{name} of {_KVM_EXEC_FILE}", names)
                yield f"kvmExec.raw.{name}.{key}", sentence

    def unread(name: str) -> str | None:
        if name in driver_names.KVM_EXEC[version]:
            return None
        return RELEASES[version].unread_of(name, _KVM_EXEC_FILE, driver_names.KVM_EXEC)

    for path, sentence in raw_problems(typed, free, _kvm_exec_grammar(version), unread):
        yield f"kvmExec.raw.{path}", sentence


def _typed_place(name: str, value: Value) -> str | None:
    """The typed setting below `kvmExec` that says all that this raw entry does."""
    place, keys = _KVM_EXEC.get(name, (None, frozenset()))
    return place if not isinstance(value, Mapping) or (value and set(value) <= keys) else None


def _lxcrc_raw(settings: LxcSettings | None) -> Iterator[tuple[str, str]]:
    for name in settings.raw if settings is not None else ():
        if name in _LXCRC:
            yield f"lxc.raw.{name}", _typed_elsewhere(f"lxc.{_LXCRC[name]}")
        elif not re.fullmatch(driver_names.LXC_MOUNT, name):
            text = "is no key of lxcrc's mountopts: raw takes dev_FS, mount options for disks of a file system such as dev_ext4"
            yield f"lxc.raw.{name}", text


def kvm_exec_entries(settings: KvmExecSettings, version: Version) -> dict[str, Value]:
    """vmm_exec_kvm.conf; empty when nothing is set. Raises GrammarError when a raw key fights a typed one."""
    return merge_raw(_kvm_exec_typed(settings, version), settings.raw, _kvm_exec_grammar(version))


def _kvm_exec_grammar(version: Version) -> Grammar:
    shipped = {name: frozenset(keys) for name, keys in _SHIPPED[version].items()}
    others = dict.fromkeys(driver_names.KVM_EXEC_VECTORS[version], frozenset[str]())
    return Grammar(file=_KVM_EXEC_FILE, vectors=others | shipped, singles=True)


def _kvm_exec_typed(settings: KvmExecSettings, version: Version) -> dict[str, Value]:
    shipped = _SHIPPED[version]
    found: dict[str, Value] = {}
    for name, value in {
        "EMULATOR": settings.emulator,
        "VCPU": settings.vcpu,
        "MEMORY_SLOTS": settings.memory_slots,
    }.items():
        if value is not None:
            found[name] = value
    for name, section in {
        "OS": settings.os,
        "FEATURES": settings.features,
        "DISK": settings.disk,
        "NIC": settings.nic,
    }.items():
        if given := _given(section):
            found[name] = {**shipped[name], **given}
    if settings.cpu_model is not None:
        found["CPU_MODEL"] = {"MODEL": settings.cpu_model}
    if settings.graphics is not None:
        found["GRAPHICS"] = _given(settings.graphics)
    return found


def _upper(model: type[Section]) -> frozenset[str]:
    return frozenset(name.upper() for name in model.model_fields)


_KVM_EXEC_FILE: Final = "vmm_exec_kvm.conf"
_KVM_EXEC: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    "EMULATOR": ("emulator", frozenset()),
    "VCPU": ("vcpu", frozenset()),
    "MEMORY_SLOTS": ("memorySlots", frozenset()),
    "CPU_MODEL": ("cpuModel", frozenset({"MODEL"})),
    "OS": ("os", _upper(KvmOs)),
    "FEATURES": ("features", _upper(KvmFeatures)),
    "DISK": ("disk", _upper(KvmDisk)),
    "NIC": ("nic", _upper(KvmNic)),
    "GRAPHICS": ("graphics", _upper(KvmGraphics)),
}
"""By name in the file: its typed setting below `kvmExec`, and the keys of a vector that are typed."""

_LXCRC: Final = {
    "command": "consoleCommand",
    "width": "consoleWidth",
    "height": "consoleHeight",
    "timeout": "consoleTimeout",
    "default_lxc_config": "defaultConfig",
    "bindfs": "bindfs",
    "dev_xfs": "devXfs",
    "disk": "disk",
    "rootfs": "rootfs",
    "mountpoint": "mountpoint",
}


def _given(section: Section) -> dict[str, Scalar]:
    return {name.upper(): value for name, value in section.model_dump().items() if value is not None}


_KVMRC: Final = {
    "shutdown_timeout": "SHUTDOWN_TIMEOUT",
    "force_destroy": "FORCE_DESTROY",
    "cancel_no_acpi": "CANCEL_NO_ACPI",
    "sync_time": "SYNC_TIME",
    "virsh_retries": "VIRSH_RETRIES",
    "virsh_timeout": "VIRSH_TIMEOUT",
    "cleanup_memory_on_start": "CLEANUP_MEMORY_ON_START",
    "cleanup_memory_on_stop": "CLEANUP_MEMORY_ON_STOP",
    "migrate_options": "MIGRATE_OPTIONS",
    "attach_cache": "DEFAULT_ATTACH_CACHE",
    "attach_discard": "DEFAULT_ATTACH_DISCARD",
    "attach_io": "DEFAULT_ATTACH_IO",
    "attach_nic_model": "DEFAULT_ATTACH_NIC_MODEL",
    "attach_nic_filter": "DEFAULT_ATTACH_NIC_FILTER",
    "ovmf_nvram": "OVMF_NVRAM",
    "virtiofsd": "VIRTIOFSD_BINARY_PATH",
}


def kvmrc(settings: KvmSettings) -> str:
    """Lines that follow the shipped kvmrc, where the last assignment counts; empty when nothing is set."""
    variables: dict[str, AttributeValue | int] = {}
    for field, name in _KVMRC.items():
        value = getattr(settings, field)
        if value is not None:
            variables[name] = value
    variables |= settings.raw
    return "".join(f"export {name}={shlex.quote(str(value))}\n" for name, value in variables.items())


def remote_files(settings: DriverSettings, onegate: Tproxy | None = None) -> dict[str, str]:
    """The files that reach the hosts with the remote scripts. `onegate` is the proxy that takes guests to OneGate."""
    files = {}
    if lines := kvmrc(settings.kvm):
        files["kvmrc"] = lines
    if settings.lxc is not None:
        files["lxcrc"] = lxcrc(settings.lxc)
    if settings.network is not None or onegate is not None:
        network = settings.network or NetworkDriverSettings()
        files[network_drivers.FILE] = network_drivers.text(network, onegate)
    return files


def lxcrc(settings: LxcSettings) -> str:
    """The whole file."""
    document: dict[str, Yaml] = {
        "vnc": {
            "command": settings.console_command,
            "width": settings.console_width,
            "height": settings.console_height,
            "timeout": settings.console_timeout,
        },
        "datastore_location": "/var/lib/one/datastores",
        "default_lxc_config": settings.default_config,
        "mountopts": {
            "bindfs": settings.bindfs,
            "dev_xfs": settings.dev_xfs,
            "disk": settings.disk,
            "rootfs": settings.rootfs,
            "mountpoint": settings.mountpoint,
            **settings.raw,
        },
    }
    return render(document, Keys.SYMBOLS)
