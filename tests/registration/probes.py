"""What probes tell oned of a host (src/im_mad/remotes of 6.10 and 7.4)."""

from __future__ import annotations

import re


def probed(name: str, number: int) -> str:
    """All that the system probes of both releases print, with values that change with `number`."""
    return f"""
        ARCH=x86_64\nHOSTNAME={name}\nMODELNAME="m{number}"\nVERSION="7.4.{number}"
        CORE = [ NODE_ID = "0", ID = "{number}", CPUS = "0,1" ]
        HUGEPAGE = [ NODE_ID = "0", SIZE = "2048", PAGES = "{number}" ]
        MEMORY_NODE = [ NODE_ID = "0", TOTAL = "{10**6 + number}", DISTANCE = "0" ]
        NUMA_NODE = "{number}"
        PCI = [ TYPE = "8086:1520:0200", VENDOR = "8086", DEVICE = "1520", CLASS = "0200",
                ADDRESS = "0000:02:00:{number % 8}", SHORT_ADDRESS = "02:00.{number % 8}", NUMA_NODE = "0" ]
        DS_LOCATION_USED_MB  = {number}
        DS_LOCATION_TOTAL_MB = {1000 + number}
        DS_LOCATION_FREE_MB  = {1000 - number}
        DS = [ ID = 0, USED_MB = {number}, TOTAL_MB = 1000, FREE_MB = {1000 - number} ]
        AUTONFS_MOUNT = "/srv/{number}"
        CGROUPS_VERSION=2\nCPUSPEED={2000 + number}\nHYPERVISOR=kvm
        TOTALCPU={800 + number}\nTOTALMEMORY={10**6 + number}
        KVM_CPU_FEATURES="f{number}"\nKVM_CPU_MODEL="c{number % 3}"\nKVM_CPU_MODELS="c0 c{number}"\nKVM_MACHINES="pc-{number}"
        VM = [ ID="-1", DEPLOY_ID="wild-{number}", VM_NAME="wild-{number}", IMPORT_TEMPLATE="" ]
        MEMORY_ENCRYPTION={("NONE", "SEV", "TDX")[number % 3]}
    """


def names(text: str) -> set[str]:
    """The attributes of such a text: those inside a vector are none."""
    return set(re.findall(r"^\s*([A-Z_]+) *=", re.sub(r"\[[^]]*\]", "", text), re.MULTILINE))
