"""Bringing images into the node's containerd: only the missing ones, and of those only the layers it does not have."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable
from typing import IO, cast

import grpc

from lab import oci
from lab.box import Box
from lab.cluster.node import SOCKET
from lab.errors import LabError
from lab.oci import Image
from lab.packages import system_program

_LIMIT = 300.0  # seconds; half a gigabyte on a slow disk


def ctr(*arguments: str, socket: str = SOCKET) -> list[str]:
    """A command of containerd's own client, in the namespace that the kubelet uses."""
    return [str(system_program("ctr")), "--address", socket, "--namespace", "k8s.io", *arguments]


def answers(box: Box) -> bool:
    """Does containerd's CRI plugin, the kubelet's side, answer?

    For a moment after it is loaded it only says that it is not initialized, at which a kubelet ends.
    """
    init = box.init()
    if init is None:
        return False
    with grpc.insecure_channel(f"unix:/proc/{init.pid}/root{SOCKET}") as channel:
        version: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/runtime.v1.RuntimeService/Version")
        try:
            version(b"", timeout=5)  # an empty message; what it answers matters to nobody
        except grpc.RpcError:
            return False
    return True


def present(box: Box, socket: str = SOCKET) -> set[str]:
    """Names of the images that the node has."""
    return set(box.run(ctr("images", "ls", "-q", socket=socket)).stdout.split())


def bring(box: Box, images: Iterable[Image], socket: str = SOCKET) -> None:
    """Import what is missing. LabError with containerd's words when it refuses."""
    have = present(box, socket)
    wanted = [image for image in images if not have.issuperset(image.names)]
    if not wanted:
        return
    blobs = set(box.run(ctr("content", "ls", "-q", socket=socket)).stdout.split())
    with tempfile.TemporaryFile() as errors:
        command = ctr("images", "import", "-", socket=socket)
        loading = box.popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors)
        broken = ""
        try:
            with cast("IO[bytes]", loading.stdin) as stream:
                oci.archive(wanted, stream, present=blobs)
        except BrokenPipeError:
            broken = "it closed the stream early"
        try:
            code = loading.wait(_LIMIT)
        except subprocess.TimeoutExpired as slow:
            loading.kill()
            loading.wait()
            raise LabError(
                f"importing images took over {_LIMIT:.0f} s", fix="run `make down`, then `make up`"
            ) from slow
        if code != 0 or broken:
            errors.seek(0)
            raise LabError(
                f"containerd refused images: {', '.join(image.reference for image in wanted)}",
                cause=errors.read().decode(errors="replace").strip()[-1000:] or broken,
                fix="run `make down`, then `make up`",
            )


def drop_others(box: Box, images: Iterable[Image], socket: str = SOCKET) -> None:
    """Remove every image but these, and the layers that only they had."""
    wanted = {name for image in images for name in image.names}
    others = sorted(present(box, socket) - wanted)
    if others:
        box.run(ctr("images", "rm", "--sync", *others, socket=socket), timeout=_LIMIT)
