"""The lab's own stack file: the dev environment's values, with the lab's cluster, images and hosts put in.

Written to Pulumi.lab.yaml, which is not tracked: an `up` writes an encryption salt into its stack's file, and no
tracked file may change when the lab runs. Values that the engine encrypted stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from components.domain import Version
from components.naming import FIREEDGE, ONEFLOW, ONEGATE, PROJECT, SUNSTONE
from lab import configfile, ingress
from lab.ca import DOMAIN
from lab.hosts import LabHost
from lab.paths import PROJECT as ROOT
from lab.paths import Instance
from lab.repository import RepositoryInfo
from lab.repository import url as repository_url

MONITORD_PORT = 30424
ONEGATE_PORT = 30530
WAY_BACK_PORT = 30222
SERVICES = (FIREEDGE, SUNSTONE, ONEFLOW, ONEGATE)
INGRESS_KEY = f"{PROJECT}:ingressKey"
SSH_KEY = f"{PROJECT}:sshPrivateKey"
OWN_SECRETS = {
    SSH_KEY: "the key that its hosts let in",
    INGRESS_KEY: "the key of the certificate that its own authority signs",
}
"""Secrets that the lab sets, by full key, and what each is. All others are the operator's, and stay."""


def lab_config(
    instance: Instance,
    images: Mapping[str, str],
    hosts: Sequence[LabHost],
    repository: RepositoryInfo,
    version: Version = Version.V7_4,
    *,
    certificate: str | None = None,
    namespace: str = "opennebula",
    monitord_port: int = MONITORD_PORT,
) -> dict[str, Any]:
    """Config values of a stack on a lab, by full key. Without the certificate of its names, oned and its database alone."""
    config: dict[str, Any] = configfile.config(ROOT / "Pulumi.dev.yaml")
    monitoring = dict(config[f"{PROJECT}:monitoring"])
    monitoring |= {"address": str(instance.node_ip), "port": monitord_port, "exposure": "nodePort"}
    # The shipped periods are minutes; a rehearsal wants to see a second push within seconds.
    monitoring["hostInterval"] = 60
    monitoring["probes"] = {"beaconHost": 3, "monitorHost": 5, "systemHost": 60, "stateVm": 5, "monitorVm": 15}
    config |= {
        f"{PROJECT}:kubernetes": {"kubeconfig": str(instance.kubeconfig), "namespace": namespace},
        f"{PROJECT}:version": version.value,
        f"{PROJECT}:images": {
            **{name: images[name] for name in ("oned", "mariadb", *SERVICES) if name in images},
            "pullPolicy": "IfNotPresent",
        },
        f"{PROJECT}:storage": {
            "home": {"size": "1Gi"},
            "datastores": {"size": "5Gi", "storageClass": "shared"},
            "uploads": {"size": "5Gi", "storageClass": "shared"},
            "database": {"size": "2Gi"},
        },
        f"{PROJECT}:monitoring": monitoring,
        f"{PROJECT}:network": {"hypervisors": [str(instance.hypervisors)]},
        f"{PROJECT}:ssh": {"user": hosts[0].user if hosts else "deploy"},
        f"{PROJECT}:packages": {
            "url": repository_url(instance),
            "key": repository.key_armored,
            "fingerprint": repository.fingerprint,
        },
        f"{PROJECT}:fleet": {"wait": 180, "poll": 1, "reprobe": 10},
        f"{PROJECT}:hosts": [
            {"name": host.name, "kind": host.kind, "address": str(host.ip), "hostKey": host.host_key_public}
            for host in hosts
        ],
    }
    if certificate is None:
        return config | {f"{PROJECT}:{part}": {"enabled": False} for part in (FIREEDGE, ONEFLOW, "wayBack")}
    return config | _services(instance, images, certificate)


def _services(instance: Instance, images: Mapping[str, str], certificate: str) -> dict[str, Any]:
    """The web daemons, each at a name of its own, and the way back."""
    exposed = [name for name in ingress.DAEMONS if name in ("api", *images)]
    return {
        **_sunstone(images),
        f"{PROJECT}:ingress": {
            "enabled": True,
            "className": ingress.CLASS,
            "controller": ingress.CONTROLLER,
            "controllerNamespace": ingress.NAMESPACE,
            "controllerLabels": ingress.LABELS,
            "tls": {"kind": "inline", "certificate": certificate},
            "hosts": {name: f"{name}.{DOMAIN}" for name in exposed},
        },
        f"{PROJECT}:onegate": {
            "enabled": True,
            "exposure": "nodePort",
            "nodePort": ONEGATE_PORT,
            "address": str(instance.node_ip),
            "vmNetworks": [str(instance.vms)],
        },
        f"{PROJECT}:wayBack": {"enabled": True, "exposure": "nodePort", "port": WAY_BACK_PORT},
    }


def _sunstone(images: Mapping[str, str]) -> dict[str, Any]:
    """The interface of 6.10, where there is one: a release without it has no image of it either."""
    if SUNSTONE not in images:
        return {}
    # Consoles are FireEdge's: noVNC has no way in from outside.
    urls = {"publicUrl": f"https://{SUNSTONE}.{DOMAIN}", "publicFireedgeUrl": f"https://{FIREEDGE}.{DOMAIN}"}
    return {f"{PROJECT}:sunstone": {"enabled": True, **urls}}


def write(path: Path, config: Mapping[str, Any]) -> None:
    """Write a stack file, keeping what the engine put there: its salt and the values that it encrypted."""
    kept = configfile.read(path)
    secure = {key: value for key, value in (kept.get("config") or {}).items() if encrypted(value)}
    document = {key: value for key, value in kept.items() if key != "config"}
    document["config"] = json.loads(json.dumps({**secure, **config}))
    draft = path.with_suffix(".new")
    draft.write_text(
        "# Written by the lab at every `make up`. Not tracked; edit Pulumi.dev.yaml or lab/stackfile.py instead.\n"
        "# Only what `make secret` has set here stays, until `make down` removes this file.\n"
        + yaml.safe_dump(document, sort_keys=False, width=120)
    )
    draft.replace(path)


def encrypted(value: object) -> bool:
    """Whether the engine encrypted it, as a whole or all that is in it (`config set --secret --path`)."""
    if not isinstance(value, dict) or not value:
        return False
    return set(value) == {"secure"} or all(encrypted(inner) for inner in value.values())


def has_secret(path: Path, key: str) -> bool:
    """Whether the file holds an encrypted value under a key."""
    found = configfile.config(path).get(key)
    return isinstance(found, dict) and "secure" in found
