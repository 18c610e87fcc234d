"""A look at the operator's kubeconfig before anything is made: can it be read, and does it have the context?

The engine and its plugins say the same late and in words of their own. Nothing is connected to. Deliberately not here:
credentials, which the plugins read (`lab/plugins/kubernetes/kubeconfig.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lab.errors import LabError


def check(kubernetes: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Look at the file that a stack's `kubernetes` section means, or else KUBECONFIG. Raises LabError.

    What is wrong with the section itself is not said here, and no file at all is none that is wrong.
    """
    given = kubernetes.get("kubeconfig")
    name, source = (given, "kubernetes.kubeconfig") if given else (environ.get("KUBECONFIG"), "KUBECONFIG")
    if not isinstance(name, str) or not name:
        return
    found, wanted = _read(Path(name).expanduser(), source), kubernetes.get("context")
    contexts = sorted(_names(found.get("contexts")))
    chosen = wanted or found.get("current-context")
    if chosen in contexts:
        return
    what = f"has no context {chosen}" if chosen else "has no current context"
    asked = "opennebula:kubernetes.context" if wanted else "its current-context"
    raise LabError(
        f"the kubeconfig {name} {what}",
        cause=f"{asked} asks for it; there are: {', '.join(contexts) or 'none'}"
        if chosen
        else f"{source} is that file",
        fix="set opennebula:kubernetes.context to one of its contexts, or give another file",
    )


def _read(file: Path, source: str) -> Mapping[str, Any]:
    fix = f"set {source} to a kubeconfig, and try it: kubectl --kubeconfig {file} get namespaces"
    try:
        found = yaml.safe_load(file.read_text())
    except OSError as error:
        raise LabError(f"{source}: {file} cannot be read", cause=str(error.strerror), fix=fix) from None
    except (yaml.YAMLError, ValueError):
        # Its text is not shown: it may hold credentials.
        raise LabError(f"{source}: {file} is no kubeconfig", cause="it is not valid YAML", fix=fix) from None
    if not isinstance(found, dict) or not _names(found.get("clusters")):
        raise LabError(f"{source}: {file} is no kubeconfig", cause="it lists no clusters", fix=fix)
    return found


def _names(section: object) -> set[str]:
    entries = section if isinstance(section, list) else []
    return {str(entry["name"]) for entry in entries if isinstance(entry, dict) and "name" in entry}
