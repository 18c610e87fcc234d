"""What a command writes: kept for the outputs, mixed for the error text, shown line by line where that is asked for."""

from __future__ import annotations

import codecs
from collections.abc import Callable

from lab.plugins.errors import PluginError


class Output:
    """Both streams of one run. `show` gets each complete line of the streams that `logging` names."""

    def __init__(self, logging: str | None, show: Callable[[str], None]) -> None:
        self._shown = {
            "stdout": logging in (None, "stdout", "stdoutAndStderr"),
            "stderr": logging in (None, "stderr", "stdoutAndStderr"),
        }
        self._show = show
        self._kept: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._mixed: list[str] = []
        self._partial = {"stdout": "", "stderr": ""}
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {name: decoder(errors="replace") for name in self._kept}

    def write(self, stream: str, data: bytes) -> None:
        """Take what came on `stdout` or `stderr`."""
        text = self._decoders[stream].decode(data)
        self._kept[stream].append(text)
        self._mixed.append(text)
        if self._shown[stream]:
            *lines, self._partial[stream] = (self._partial[stream] + text).split("\n")
            for line in lines:
                self._show(line)

    def finish(self) -> None:
        """Show what ended without a newline."""
        for rest in self._partial.values():
            if rest:
                self._show(rest)

    @property
    def stdout(self) -> str:
        return "".join(self._kept["stdout"]).removesuffix("\n")

    @property
    def stderr(self) -> str:
        return "".join(self._kept["stderr"]).removesuffix("\n")

    @property
    def mixed(self) -> str:
        """Both streams in the order of arrival."""
        return "".join(self._mixed)


class CommandFailed(PluginError):
    """A command did not succeed. Its text and output are in the message whatever the logging, as in the official."""

    def __init__(self, why: str, command: str, output: Output) -> None:
        quoted = '"' + command.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'
        super().__init__(f"{why}: running {quoted}:\n{output.mixed}")
