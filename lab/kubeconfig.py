"""The program's look at a kubeconfig (`components/kubeconfig_check.py`), before the engine is looked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kubeconfig_check import look
from lab.errors import LabError


def check(kubernetes: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Look at the file that a stack's `kubernetes` section means, or else KUBECONFIG. Raises LabError.

    What is wrong with the section itself is not said here, and no file at all is none that is wrong.
    """
    given, context = kubernetes.get("kubeconfig"), kubernetes.get("context")
    if (given and not isinstance(given, str)) or not (given or environ.get("KUBECONFIG")):
        return
    if found := look(given or None, context, environ):
        raise LabError(found.what, cause=found.cause, fix=found.fix)
