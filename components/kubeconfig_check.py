"""A look at the kubeconfig before anything is made: is there one, can it be read, and does it have the context?

The provider's plugin says the same late and in words of its own. The file is the one that it would take, at pulumi-kubernetes 4:
its SDK hands KUBECONFIG on where nothing is set, as one path (provider.py), so a list that kubectl and the official client
libraries would merge is no file to it; with neither, client-go looks at ~/.kube/config, then for the account of a pod that
it runs in (merged_client_builder.go). Nothing is connected to. Deliberately not here: credentials, which the plugin reads,
and a kubeconfig given as text in place of a path.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

HOME: Final = "~/.kube/config"
POD_TOKEN: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_SECTION: Final = "opennebula:kubernetes"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong, why, and what to do next. `key` is the setting below `kubernetes` that has to do with it."""

    what: str
    cause: str
    fix: str
    key: str = "kubeconfig"


def look(kubeconfig: str | None, context: str | None, environ: Mapping[str, str]) -> Finding | None:
    """What is wrong with the file that a stack's `kubernetes` section means; None where it may do."""
    name, source = (kubeconfig, "kubernetes.kubeconfig") if kubeconfig else (environ.get("KUBECONFIG"), "KUBECONFIG")
    if not name:
        return _look_at_home(context, environ)
    if "\n" in name or name.lstrip().startswith("{"):
        return None
    file = Path(name).expanduser()
    if source == "KUBECONFIG" and os.pathsep in name and not file.is_file():
        return Finding(
            what="KUBECONFIG is a list of files",
            cause="Pulumi's Kubernetes provider takes it for one path and merges nothing",
            fix=f"set {_SECTION}.kubeconfig or KUBECONFIG to one file, as of: kubectl config view --flatten > FILE",
        )
    return _look_at(file, name, source, context)


def _look_at_home(context: str | None, environ: Mapping[str, str]) -> Finding | None:
    if environ.get("KUBERNETES_SERVICE_HOST") and environ.get("KUBERNETES_SERVICE_PORT") and POD_TOKEN.is_file():
        return None  # in a pod, whose account serves where the file does not
    file = Path(HOME).expanduser()
    if file.exists():
        return _look_at(file, HOME, HOME, context)
    return Finding(
        what="there is no kubeconfig",
        cause=f"kubernetes.kubeconfig and KUBECONFIG are not set, and {HOME} is not there",
        fix=f"set {_SECTION}.kubeconfig or KUBECONFIG to one, and try it: kubectl get namespaces",
    )


def _look_at(file: Path, name: str, source: str, wanted: str | None) -> Finding | None:
    found = _read(file, source)
    if isinstance(found, Finding):
        return found
    contexts = sorted(_names(found.get("contexts")))
    chosen = wanted or found.get("current-context")
    if chosen in contexts:
        return None
    what = f"has no context {chosen}" if chosen else "has no current context"
    asked = f"{_SECTION}.context" if wanted else "its current-context"
    return Finding(
        what=f"the kubeconfig {name} {what}",
        cause=f"{asked} asks for it; there are: {', '.join(contexts) or 'none'}"
        if chosen
        else f"{source} is that file",
        fix=f"set {_SECTION}.context to one of its contexts, or give another file",
        key="context",
    )


def _read(file: Path, source: str) -> Mapping[str, Any] | Finding:
    fix = f"set {source} to a kubeconfig, and try it: kubectl --kubeconfig {file} get namespaces"
    if source == HOME:
        fix = f"mend it, or set {_SECTION}.kubeconfig or KUBECONFIG to another one"
    try:
        # In C where that is there: an operator's file may hold the certificates of many clusters.
        found = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe, in C
    except OSError as error:
        return Finding(what=f"{source}: {file} cannot be read", cause=str(error.strerror), fix=fix)
    except (yaml.YAMLError, ValueError):
        # Its text is not shown: it may hold credentials.
        return Finding(what=f"{source}: {file} is no kubeconfig", cause="it is not valid YAML", fix=fix)
    if not isinstance(found, dict) or not _names(found.get("clusters")):
        return Finding(what=f"{source}: {file} is no kubeconfig", cause="it lists no clusters", fix=fix)
    return found


def _names(section: object) -> set[str]:
    entries = section if isinstance(section, list) else []
    return {str(entry["name"]) for entry in entries if isinstance(entry, dict) and "name" in entry}
