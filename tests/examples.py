"""Example values that several tests start from: a configuration that is accepted, its hosts and keys."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from components.generated.keys import new_key_pair
from tests.openpgp_key import ARMORED, FINGERPRINT

HOST_KEY = new_key_pair().public_key


def host(name: str, **changes: Any) -> dict[str, Any]:
    """One host entry as an operator writes it."""
    entry: dict[str, Any] = {"name": name, "kind": "lxc" if name.startswith("lxc") else "kvm", "hostKey": HOST_KEY}
    return entry | changes


@cache
def _login_key() -> str:
    return new_key_pair().private_key


def config() -> dict[str, str]:
    """Config values as Pulumi hands them over."""
    return {
        "version": "7.4",
        "tier": "small",
        "images": json.dumps(
            {
                "oned": "registry.example/one/oned:7.4.0",
                "fireedge": "registry.example/one/fireedge:7.4.0",
                "oneflow": "registry.example/one/oneflow:7.4.0",
                "mariadb": "docker.io/library/mariadb:10.11.14",
            }
        ),
        "monitoring": json.dumps({"address": "10.0.0.1"}),
        "network": json.dumps({"hypervisors": ["10.0.0.0/24"]}),
        "ssh": json.dumps({"user": "deploy"}),
        "packages": json.dumps(
            {"url": "https://packages.example/repo/7.4/{os}", "key": ARMORED, "fingerprint": FINGERPRINT}
        ),
        "hosts": json.dumps([host("kvm-1", address="10.0.0.11"), host("lxc-1", address="10.0.0.12")]),
        "sshPrivateKey": _login_key(),
    }
