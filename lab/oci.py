"""Container images without a registry: an image is a list of layers and a config.

Names end in a hash of the content. What comes out is OCI's image layout: a stream, which containerd imports, or a directory.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from lab.layers import Layer
from lab.rootfs import EPOCH

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_VERSION = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a container of the image runs by default."""

    entrypoint: tuple[str, ...]
    command: tuple[str, ...] = ()
    user: str = "0:0"
    home: str = "/"
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Image:
    """A named image: `repository:tag`, where the tag ends in a hash of everything in it.

    `config` as bytes is the finished JSON that a builder wrote.
    """

    repository: str
    version: str
    layers: tuple[Layer, ...]
    config: Config | bytes

    @property
    def config_bytes(self) -> bytes:
        if isinstance(self.config, bytes):
            return self.config
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environment = {"PATH": path, **self.config.environment}
        return _json(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {
                    "User": self.config.user,
                    "Env": [f"{name}={value}" for name, value in environment.items()],
                    "Entrypoint": list(self.config.entrypoint),
                    "Cmd": list(self.config.command),
                    "WorkingDir": self.config.home,
                },
                # One entry a layer: buildah refuses to build on an image without.
                "history": [{"created_by": "lab"} for _ in self.layers],
                "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in self.layers]},
            }
        )

    @property
    def manifest_bytes(self) -> bytes:
        layers = [{"mediaType": _LAYER, "digest": layer.digest, "size": layer.size} for layer in self.layers]
        return _json(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": {"mediaType": _CONFIG, "digest": _sha256(self.config_bytes), "size": len(self.config_bytes)},
                "layers": layers,
            }
        )

    @property
    def digest(self) -> str:
        return _sha256(self.manifest_bytes)

    @property
    def reference(self) -> str:
        return f"{self.repository}:{self.version}-{self.digest.removeprefix('sha256:')[:12]}"

    @property
    def names(self) -> tuple[str, str]:
        """By tag and by digest: both resolve on a node that has no registry to ask."""
        return (self.reference, f"{self.repository}@{self.digest}")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layout(image: Image, into: Path) -> None:
    """Write an OCI image layout as a directory; layers are links to the cache's files."""
    blobs = into / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for part in image.layers:
        blob = into / _blob_name(part.digest)
        if not blob.exists():
            blob.hardlink_to(part.path)
    for data in (image.config_bytes, image.manifest_bytes):
        (into / _blob_name(_sha256(data))).write_bytes(data)
    entry = {"mediaType": _MANIFEST, "digest": image.digest, "size": len(image.manifest_bytes)}
    (into / "index.json").write_bytes(_json({"schemaVersion": 2, "manifests": [entry]}))
    (into / "oci-layout").write_bytes(_VERSION)


def archive(images: Iterable[Image], out: IO[bytes], *, present: Collection[str] = ()) -> None:
    """Write an OCI image layout as a tar stream; blobs in `present` are left out, for a store that has them."""
    written = set(present)
    entries: list[dict[str, Any]] = []
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        _blob(tar, "oci-layout", _VERSION)
        for image in images:
            for part in image.layers:
                if part.digest not in written:
                    with part.path.open("rb") as stream:
                        tar.addfile(_blob_info(_blob_name(part.digest), part.size), stream)
                    written.add(part.digest)
            for data in (image.config_bytes, image.manifest_bytes):
                if _sha256(data) not in written:
                    _blob(tar, _blob_name(_sha256(data)), data)
                    written.add(_sha256(data))
            for name in image.names:
                entries.append(
                    {
                        "mediaType": _MANIFEST,
                        "digest": image.digest,
                        "size": len(image.manifest_bytes),
                        "annotations": {"io.containerd.image.name": name},
                    }
                )
        _blob(tar, "index.json", _json({"schemaVersion": 2, "manifests": entries}))


def _blob_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _blob_info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, EPOCH, 0o644
    return info


def _blob(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    tar.addfile(_blob_info(name, len(data)), io.BytesIO(data))
