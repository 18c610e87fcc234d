"""OpenNebulaNetwork.conf: whole, read by Ruby as it was set, and nothing in it that the drivers would pass over."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from components.domain import Version
from components.drivers import DriverSettings, remote_files
from components.drivers import problems as driver_problems
from components.network_drivers import FILE, NetworkDriverSettings, Tproxy, problems, text, why_no_remote

SHIPPED = {
    ":validate_vlan_id": False,
    ":arp_cache_poisoning": True,
    ":datastore_location": "/var/lib/one/datastores",
    ":vlan_mtu": 1500,
    ":vxlan_mode": "multicast",
    ":vxlan_mc": "239.0.0.0",
    ":vxlan_ttl": 16,
    ":vxlan_mtu": 1500,
    ":vxlan_tep": "dev",
    ":ipset_maxelem": 65536,
    ":keep_empty_bridge": False,
}
GATE = Tproxy(service_port=5030, remote_addr="192.0.2.9", remote_port=30503)


def set_to(**fields: Any) -> NetworkDriverSettings:
    """Through JSON, as the configuration comes."""
    return NetworkDriverSettings.model_validate_json(json.dumps(fields))


def test_defaults_are_what_both_releases_ship() -> None:
    # The level is the proxy's own default, which no shipped line sets.
    assert yaml.safe_load(text(NetworkDriverSettings())) == SHIPPED | {":tproxy_debug_level": 2}


def test_what_is_set_is_written_and_the_rest_stays() -> None:
    found = yaml.safe_load(text(set_to(vxlanMtu=9000, vlanMtu=9000, keepEmptyBridge=True, vxlanMc="239.1.0.0")))
    changed = {":vxlan_mtu": 9000, ":vlan_mtu": 9000, ":keep_empty_bridge": True, ":vxlan_mc": "239.1.0.0"}
    assert found == SHIPPED | {":tproxy_debug_level": 2} | changed


def test_nothing_set_nothing_written_and_onegate_alone_writes_the_whole_file() -> None:
    assert FILE not in remote_files(DriverSettings())
    assert remote_files(DriverSettings(network=NetworkDriverSettings())) == {FILE: text(NetworkDriverSettings())}
    found = yaml.safe_load(remote_files(DriverSettings(), GATE)[FILE])
    entry = {":service_port": 5030, ":remote_addr": "192.0.2.9", ":remote_port": 30503}
    assert found == SHIPPED | {":tproxy_debug_level": 2, ":tproxy": [entry]}


OPTIONS = {
    "ipBridgeConf": {"stp_state": True, "ageing_time": 300},
    "ovsBridgeConf": {"stp_enable": False, "other_config:mac-table-size": 16384, "datapath_type": "netdev"},
    "ipLinkConf": {"nolearning": None, "dstport": 4789, "udp6zerocsumrx": True},
}


@pytest.mark.skipif(shutil.which("ruby") is None, reason="Ruby is not installed")
def test_ruby_reads_what_the_drivers_look_up(tmp_path: Path) -> None:
    own = {"servicePort": 80, "remoteAddr": "web.example", "remotePort": 8080, "networks": [0, "public net"]}
    file = tmp_path / FILE
    file.write_text(text(set_to(**OPTIONS, tproxy=[own], raw={"bridge_conf": {"sethello": 6}}), GATE))
    # The drivers load it with no classes permitted, and ask by symbols.
    program = "require 'yaml'; require 'json'; c = YAML.load_file(ARGV[0]); " + (
        "raise 'no symbol' unless c[:ovs_bridge_conf].key?(:'other_config:mac-table-size'); puts JSON.generate(c)"
    )
    done = subprocess.run(["ruby", "-e", program, file], capture_output=True, text=True, check=True, timeout=60)
    found = json.loads(done.stdout)
    assert found["ip_bridge_conf"] == OPTIONS["ipBridgeConf"]
    assert found["ovs_bridge_conf"] == OPTIONS["ovsBridgeConf"]
    assert found["ip_link_conf"] == OPTIONS["ipLinkConf"]
    assert found["bridge_conf"] == {"sethello": 6}
    gate, web = found["tproxy"]
    assert gate == {"service_port": 5030, "remote_addr": "192.0.2.9", "remote_port": 30503}
    assert web == {
        "service_port": 80,
        "remote_addr": "web.example",
        "remote_port": 8080,
        "networks": [0, "public net"],
    }


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("vxlanMc", "10.0.0.0", "no multicast address"),
        ("vxlanMc", "ff02::1", "IPv4 multicast"),
        ("ipBridgeConf", {"stp_state": "on"}, "true or false, without quotes"),
        ("ipBridgeConf", {"stp_state": "1; reboot"}, "one word"),
        ("ipBridgeConf", {"Stp State": 1}, "the name of an option"),
        ("ipBridgeConf", {"stp_state": None}, "must be a word"),
        ("ipLinkConf", {"dstport": [4789]}, "must be a word"),
        ("vxlanTtl", 0, "greater than or equal to 1"),
        ("tproxy", [{"servicePort": 80, "remoteAddr": "192.0.2.9", "remotePort": 80, "networks": [True]}], "its id"),
    ],
)
def test_a_value_that_no_command_takes_is_refused(field: str, value: Any, words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        set_to(**{field: value})
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("vxlan_mtu", 9000, "set drivers.network.vxlanMtu instead"),
        ("tproxy", [], "set drivers.network.tproxy instead"),
        ("datastore_location", "/x", "cannot be changed"),
        ("vxlan_mtus", 1, "Is vxlan_mtu meant?"),
        # Stands in the drivers' fallback alone; nothing looks it up.
        ("tproxy_process_owner", "root", "does not know tproxy_process_owner in OpenNebulaNetwork.conf"),
        (":bridge_conf", {}, "does not know :bridge_conf"),
        ("bridge_conf", "sethello=6", "must be a mapping"),
    ],
)
@pytest.mark.parametrize("version", list(Version))
def test_a_raw_key_that_no_driver_reads_or_that_fights_is_refused(
    version: Version, name: str, value: Any, words: str
) -> None:
    settings = DriverSettings(network=set_to(raw={name: value}))
    ((path, sentence),) = driver_problems(settings, version)
    assert path == f"network.raw.{name}" and words in sentence


@pytest.mark.parametrize(("option", "value"), [("hello_time", 6), ("sethello", "6; reboot"), ("sethello", None)])
def test_brctls_options_are_those_that_are_translated(option: str, value: Any) -> None:
    ((path, _),) = problems(set_to(raw={"bridge_conf": {option: value}}), Version.V7_4)
    assert path == f"raw.bridge_conf.{option}"
    assert list(problems(set_to(raw={"bridge_conf": {"sethello": 6, "stp": True}}), Version.V7_4)) == []


def test_a_service_port_stands_once() -> None:
    entries = [{"servicePort": 80, "remoteAddr": "192.0.2.9", "remotePort": port} for port in (80, 81)]
    ((path, sentence),) = problems(set_to(tproxy=entries), Version.V7_4)
    assert path == "tproxy[1].servicePort" and "tproxy[0]" in sentence


@pytest.mark.parametrize(
    ("address", "release", "words"),
    [
        ("192.0.2.9", "both", None),
        ("127.0.0.1", "both", None),  # something of the host's own
        ("gate.example", "7.4", None),
        ("gate.example", "6.10", "6.10 takes an IPv4 address alone"),
        ("2001:db8::1", "both", "by IPv4 alone"),
        ("169.254.16.9", "both", "no address that a host connects to"),
        ("0.0.0.0", "both", "no address that a host connects to"),
    ],
)
def test_where_a_proxy_may_connect_to(address: str, release: str, words: str | None) -> None:
    for version in Version:
        if release in ("both", version.value):
            reason = why_no_remote(address, version)
            assert reason is None if words is None else words in str(reason)
