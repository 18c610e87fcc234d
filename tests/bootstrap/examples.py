"""Plans for tests of the bootstrap."""

from __future__ import annotations

from typing import Any

from components.bootstrap.script import HostPlan, Repository
from tests.openpgp_key import ARMORED, FINGERPRINT

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIILnNqmqRsVnkvuI75v98QbFMcApb0ks4VBTFAT0qPJM"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKxU0+3oGFV8jY1EGnmVHVoUlcUMWr8GbMgVB0YWKzDC"


def repository(**changes: Any) -> Repository:
    values: dict[str, Any] = {
        "url": "https://repo.example/7.4/{os}",
        "key_armored": ARMORED,
        "key_fingerprint": FINGERPRINT,
    }
    return Repository(**(values | changes))


def plan(**changes: Any) -> HostPlan:
    values: dict[str, Any] = {
        "name": "kvm-1",
        "kind": "kvm",
        "version": "7.4",
        "repository": repository(),
        "oneadmin_public_key": f"{KEY} oneadmin",
    }
    return HostPlan(**(values | changes))
