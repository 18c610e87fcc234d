"""What goes wrong in a plugin, as the engine can show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class PluginError(Exception):
    """An operation failed and nothing new exists: the text is all that the user sees."""


class Unsupported(PluginError):
    """The official plugin can do this, the stand-in cannot."""

    def __init__(self, what: str, instead: str = "install the official plugin, or leave it out") -> None:
        super().__init__(f"{what} is not supported by this rehearsal stand-in; {instead}")


class InitFailed(PluginError):
    """The object exists but did not become what was asked for: the engine must keep it in its state.

    `properties` is that state, `reasons` are shown one a line, `inputs` (refresh only) replace the recorded inputs.
    """

    def __init__(
        self,
        message: str,
        *,
        id: str,
        properties: Mapping[str, Any],
        reasons: Sequence[str] = (),
        inputs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.id = id
        self.properties = properties
        self.reasons = tuple(reasons)
        self.inputs = inputs
