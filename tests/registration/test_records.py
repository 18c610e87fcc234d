"""oned's XML to values: the real layout, and everything that is not it."""

from __future__ import annotations

import contextlib
import tracemalloc

import pytest
from hypothesis import given, strategies

from components.registration.client import AdminState, HostState, Sample
from components.registration.records import parse_clusters, parse_host, parse_hosts, parse_samples
from components.registration.transport import AnswerBroken

HOST = """<HOST><ID>3</ID><NAME>kvm-1</NAME><STATE>{state}</STATE><PREV_STATE>2</PREV_STATE>
<IM_MAD><![CDATA[kvm]]></IM_MAD><VM_MAD><![CDATA[qemu]]></VM_MAD><CLUSTER_ID>100</CLUSTER_ID><CLUSTER>prod</CLUSTER>
<HOST_SHARE><MEM_USAGE>0</MEM_USAGE><RUNNING_VMS>2</RUNNING_VMS><PCI_DEVICES/><NUMA_NODES/></HOST_SHARE>
<VMS><ID>7</ID><ID>9</ID></VMS>
<TEMPLATE><ARCH><![CDATA[x86_64]]></ARCH><RACK><![CDATA[a "b" <c>]]></RACK><RESERVED_CPU><![CDATA[]]></RESERVED_CPU>
<PCI><TYPE><![CDATA[1af4]]></TYPE></PCI>{error}</TEMPLATE>
<MONITORING><TIMESTAMP>1790000000</TIMESTAMP><ID>3</ID><CAPACITY><FREE_CPU>100</FREE_CPU></CAPACITY></MONITORING></HOST>"""


def test_a_host_of_the_real_layout() -> None:
    record = parse_host(HOST.format(state=2, error=""))
    assert (record.id, record.name, record.im_mad, record.vm_mad) == (3, "kvm-1", "kvm", "qemu")
    assert (record.cluster_id, record.cluster, record.running_vms) == (100, "prod", 2)
    assert record.template == {"ARCH": "x86_64", "RACK": 'a "b" <c>', "RESERVED_CPU": ""}
    assert record.monitored_at == 1_790_000_000
    assert record.state == HostState.MONITORED
    assert record.admin_state is AdminState.ENABLED


@pytest.mark.parametrize(
    ("state", "admin", "name"),
    [
        (0, "enabled", "INIT"),
        (3, "enabled", "ERROR"),
        (4, "disabled", "DISABLED"),
        (8, "offline", "OFFLINE"),
        (6, "enabled", "state 6"),
    ],
)
def test_states(state: int, admin: str, name: str) -> None:
    record = parse_host(HOST.format(state=state, error=""))
    assert (record.admin_state, record.state_name) == (admin, name)


@pytest.mark.parametrize(
    "error",
    [
        "<ERROR><![CDATA[Sun Nov 22 : ssh failed]]></ERROR>",
        "<ERROR><MESSAGE><![CDATA[Sun Nov 22 : ssh failed]]></MESSAGE><TIMESTAMP>x</TIMESTAMP></ERROR>",
    ],
)
def test_the_error_text_in_both_forms(error: str) -> None:
    assert parse_host(HOST.format(state=3, error=error)).error == "Sun Nov 22 : ssh failed"


def test_pools() -> None:
    host = HOST.format(state=2, error="")
    assert parse_hosts("<HOST_POOL/>") == ()
    assert len(parse_hosts(f"<HOST_POOL>{host}{host}</HOST_POOL>")) == 2
    clusters = "<CLUSTER_POOL><CLUSTER><ID>0</ID><NAME>default</NAME></CLUSTER></CLUSTER_POOL>"
    assert [(cluster.id, cluster.name) for cluster in parse_clusters(clusters)] == [(0, "default")]


def test_monitoring_records_without_numbers_do_not_count() -> None:
    """onemonitord writes such for offline hosts."""
    text = (
        "<MONITORING_DATA><MONITORING><TIMESTAMP>5</TIMESTAMP><ID>3</ID><CAPACITY><FREE_CPU>1</FREE_CPU></CAPACITY>"
        "<SYSTEM/></MONITORING><MONITORING><TIMESTAMP>6</TIMESTAMP><ID>4</ID><CAPACITY/><SYSTEM/></MONITORING>"
        "</MONITORING_DATA>"
    )
    assert parse_samples(text) == (Sample(host_id=3, timestamp=5),)


BOMB = "<!DOCTYPE b [<!ENTITY a '" + "x" * 50 + "'>" + "".join(
    f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 50}'>" for n in range(8)
) + "]><HOST_POOL>&i;</HOST_POOL>"  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "<html><body>It works!</body></html>",
        "<HOST_POOL><HOST><ID>1</ID></HOST></HOST_POOL>",
        "<HOST_POOL><HOST><ID>one</ID><NAME>a</NAME></HOST></HOST_POOL>",
        "<HOST_POOL><HOST><ID>1",
        "<HOST_POOL>" + "<HOST>" * 100 + "</HOST>" * 100 + "</HOST_POOL>",
        "<HOST_POOL><VM><ID>1</ID></VM></HOST_POOL>",
        "<!DOCTYPE x SYSTEM 'file:///etc/passwd'><HOST_POOL/>",
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><HOST_POOL>&e;</HOST_POOL>',
        BOMB,
        HOST.format(state="9" * 5000, error=""),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(AnswerBroken):
        parse_hosts(text)


def test_nesting_is_bounded() -> None:
    """Every open element costs memory; 64 MiB of them would cost more than a gigabyte."""
    with pytest.raises(AnswerBroken, match="nested deeper than 32"):
        parse_hosts("<HOST_POOL><HOST>" + "<a>" * 100)


@given(strategies.text(alphabet="<>/HOSTPLIDNAME&;!\"'[]01 ", max_size=60))
def test_no_text_raises_anything_else(text: str) -> None:
    for parse in (parse_hosts, parse_samples, parse_clusters):
        with contextlib.suppress(AnswerBroken):
            parse(text)


def test_a_large_pool_costs_little_more_than_its_records() -> None:
    """2,000 monitored hosts, 20 MB of XML."""
    padding = "".join(f"<KVM_MACHINES_{n}><![CDATA[{'pc-i440fx ' * 8}]]></KVM_MACHINES_{n}>" for n in range(60))
    host = HOST.format(state=2, error=f"<PCI_LIST>{padding}</PCI_LIST>")
    text = f"<HOST_POOL>{host * 2_000}</HOST_POOL>"
    assert len(text) > 15_000_000
    tracemalloc.start()
    assert len(parse_hosts(text)) == 2_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(text) * 1.5
