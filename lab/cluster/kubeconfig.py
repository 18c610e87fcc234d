"""Kubeconfig files: for the cluster's own parts, and the administrator's for the root namespace."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from lab.cluster.certificates import Pki
from lab.paths import Instance


def render(server: str, pki: Pki, user: str, context: str = "onelab") -> str:
    """A kubeconfig with the certificates inside, so that the file works wherever it is copied to. JSON is YAML."""

    def inline(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    cluster = {"server": server, "certificate-authority-data": inline(pki.ca)}
    client = {
        "client-certificate-data": inline(pki.certificate(user)),
        "client-key-data": inline(pki.key(user)),
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": context, "cluster": cluster}],
            "users": [{"name": user, "user": client}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": user}}],
            "current-context": context,
        },
        indent=1,
    )


def write_admin(instance: Instance, pki: Pki) -> None:
    """The file that `KUBECONFIG` points to outside of the box; mode 0600, as it is the administrator."""
    draft = instance.kubeconfig.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(render(instance.api_url, pki, "admin", context=f"onelab-{instance.name}"))
    draft.replace(instance.kubeconfig)
