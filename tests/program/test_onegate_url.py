"""What VMs are told about OneGate is one value: in oned.conf, and in OneGate's own file when it is behind TLS."""

from __future__ import annotations

import json

import yaml

from tests.program.test_program import run, stack_config

URL = "https://gate.example.com"


def test_behind_the_ingress_oned_and_onegate_name_its_url() -> None:
    values = stack_config("prod")
    ingress = json.loads(values["opennebula:ingress"])
    ingress["hosts"]["onegate"] = "gate.example.com"
    onegate = {"enabled": True, "vmNetworks": ["100.64.0.0/16"]}
    graph = run(values | {"opennebula:ingress": json.dumps(ingress), "opennebula:onegate": json.dumps(onegate)})
    files = {name: text for record in graph.all("ConfigMap") for name, text in record.inputs["data"].items()}
    assert f'ONEGATE_ENDPOINT = "{URL}"' in files["oned.conf"]
    assert f':ssl_server: "{URL}"' in files["onegate-server.conf"]


def test_by_the_hosts_proxies_the_remote_scripts_say_where_onegate_is() -> None:
    values = stack_config("prod")
    onegate = json.loads(values["opennebula:onegate"]) | {"endpoint": "http://169.254.16.9:5030"}
    graph = run(values | {"opennebula:onegate": json.dumps(onegate)})
    files = {name: text for record in graph.all("ConfigMap") for name, text in record.inputs["data"].items()}
    assert 'ONEGATE_ENDPOINT = "http://169.254.16.9:5030"' in files["oned.conf"]
    (entry,) = yaml.safe_load(files["OpenNebulaNetwork.conf"])[":tproxy"]
    assert entry == {":service_port": 5030, ":remote_addr": onegate["address"], ":remote_port": 5030}
    before, after = run(values).one("FleetReady"), graph.one("FleetReady")
    assert before.inputs["remotes"] != after.inputs["remotes"], "else no host is told before its next probe"
