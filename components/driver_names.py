"""Which names the hypervisor drivers' files may hold, by release: kvmrc, vmm_exec_kvm.conf and lxcrc. Pure tables.

Facts, at release-6.10.5 and release-7.4.0: kvmrc as shipped with what its comments offer, and the scripts in
src/vmm_mad/remotes/kvm that read it; what LibVirtDriverKVM.cc looks up for defaults; LXCConfiguration and storageutils.rb in
src/vmm_mad/remotes/lib/lxc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from components.domain import Version

_RATES = (
    *(
        f"{way}_{what}_SEC{most}"
        for way in ("TOTAL", "READ", "WRITE")
        for what in ("BYTES", "IOPS")
        for most in ("", "_MAX", "_MAX_LENGTH")
    ),
    "SIZE_IOPS_SEC",
)
_KVMRC: Final = frozenset(
    {
        *("LIBVIRT_URI", "LIBVIRT_MD_URI", "LIBVIRT_MD_KEY", "QEMU_PROTOCOL", "SHUTDOWN_TIMEOUT", "FORCE_DESTROY"),
        *("CANCEL_NO_ACPI", "SYNC_TIME", "VIRSH_RETRIES", "VIRSH_TIMEOUT", "MIGRATE_OPTIONS", "OVMF_NVRAM"),
        *("CLEANUP_MEMORY_ON_START", "CLEANUP_MEMORY_ON_STOP"),
        *(
            f"DEFAULT_ATTACH_{name}"
            for name in ("CACHE", "DISCARD", "IO", "VIRTIO_BLK_QUEUES", "NIC_MODEL", "NIC_FILTER")
        ),
        *(f"DEFAULT_ATTACH_{name}" for name in _RATES),
    }
)
KVMRC: Final[Mapping[Version, frozenset[str]]] = {
    Version.V6_10: _KVMRC,
    Version.V7_4: _KVMRC | {"VIRTIOFSD_BINARY_PATH", "DEFAULT_ATTACH_VIRTIO_BLK_IOTHREAD"},
}
KVMRC_FIXED: Final[Mapping[str, str]] = {"LANG": "the scripts read what virsh says in English"}


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VECTORS: Final = {
    "OS": _keys("ARCH MACHINE KERNEL INITRD BOOTLOADER ROOT KERNEL_CMD SD_DISK_BUS FIRMWARE"),
    "FEATURES": _keys("PAE ACPI APIC HYPERV LOCALTIME GUEST_AGENT IOTHREADS VIRTIO_SCSI_QUEUES VIRTIO_BLK_QUEUES"),
    "CPU_MODEL": _keys("MODEL FEATURES"),
    "DISK": _keys("DRIVER CACHE IO DISCARD") | frozenset(_RATES),
    "NIC": _keys("MODEL FILTER VIRTIO_QUEUES"),  # 6.10 reads the last one since 6.10.3, and its file does not say so
    "GRAPHICS": _keys("TYPE LISTEN PASSWD KEYMAP RANDOM_PASSWD"),
    "VIDEO": _keys("TYPE IOMMU ATS VRAM RESOLUTION"),
}
KVM_EXEC_VECTORS: Final[Mapping[Version, Mapping[str, frozenset[str]]]] = {
    Version.V6_10: _VECTORS,
    Version.V7_4: {
        **_VECTORS,
        "OS": _VECTORS["OS"] | _keys("FIRMWARE_FORMAT FIRMWARE_SECURE"),
        "FEATURES": _VECTORS["FEATURES"] | _keys("GIC RAS PCIHOLE64"),
        "DISK": _VECTORS["DISK"] | _keys("UID_MAP GID_MAP"),
        "TPM": _keys("MODEL"),
    },
}
"""Vectors of vmm_exec_kvm.conf and their keys."""

_SINGLES: Final = _keys(
    "EMULATOR VCPU VCPU_MAX MEMORY_SLOTS RAW HYPERV_OPTIONS HYPERV_TIMERS SPICE_OPTIONS Q35_ROOT_PORTS OVMF_UEFIS "
    "CGROUPS_VERSION EMULATOR_CPUS"
)
KVM_EXEC: Final[Mapping[Version, frozenset[str]]] = {
    Version.V6_10: _SINGLES | KVM_EXEC_VECTORS[Version.V6_10].keys(),
    Version.V7_4: _SINGLES | KVM_EXEC_VECTORS[Version.V7_4].keys() | _keys("MEMORY_TUNE_OFFSET Q35_NUMA_PCIE"),
}
"""Names at the top of vmm_exec_kvm.conf."""

LXC_MOUNT: Final = r"dev_[a-z0-9]+"
"""Of lxcrc's mountopts: options for disks with that file system, as blkid names it. All else in lxcrc is typed or fixed."""
