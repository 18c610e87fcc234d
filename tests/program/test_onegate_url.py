"""What VMs are told about OneGate is one value: in oned.conf, and in OneGate's own file when it is behind TLS."""

from __future__ import annotations

import json

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
