"""The administrator's kubeconfig is complete in itself and nobody else's to read."""

from __future__ import annotations

import base64
import json
import stat

from lab.cluster import kubeconfig
from lab.cluster.certificates import Pki
from lab.paths import Instance


def test_it_carries_its_certificates_and_points_at_the_box(instance: Instance, pki: Pki) -> None:
    kubeconfig.write_admin(instance, pki)
    found = json.loads(instance.kubeconfig.read_text())
    cluster, user = found["clusters"][0]["cluster"], found["users"][0]["user"]
    assert cluster["server"] == instance.api_url == f"https://{instance.box_ip}:6443"
    assert base64.b64decode(cluster["certificate-authority-data"]) == pki.ca.read_bytes()
    assert base64.b64decode(user["client-key-data"]) == pki.key("admin").read_bytes()
    assert found["current-context"] == "onelab-sample"


def test_it_stays_private_when_it_is_written_again(instance: Instance, pki: Pki) -> None:
    kubeconfig.write_admin(instance, pki)
    instance.kubeconfig.chmod(0o644)
    kubeconfig.write_admin(instance, pki)
    assert stat.S_IMODE(instance.kubeconfig.stat().st_mode) == 0o600
