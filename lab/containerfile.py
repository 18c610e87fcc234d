"""The images of OpenNebula's daemons: `images/Containerfile`, as `make images` builds it for operators.

Only what goes in differs. The packages come from the lab's own archive, cut from the stand-ins or from a tree with
OpenNebula installed; BASE is the Debian of the lab, which already has the Debian packages that this tree asks for.
An image is kept in the cache by everything that it is made of: while that stays as it is, no tool is started.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from components.domain import Version
from images import build as recipe
from images.build import Request
from lab import buildah, cache, debs, paths, repository
from lab.buildah import Buildah
from lab.console import Report, say, timed
from lab.layers import Layer
from lab.oci import Image
from lab.repository import RepositoryInfo

_KIND = "images"
_FORMAT = b"1"  # of this module's entries in the cache
# The program without which a tree has no such daemon.
_PROGRAMS = {
    "oned": "usr/bin/oned",
    "fireedge": "usr/lib/one/fireedge/dist/index.js",
    "oneflow": "usr/lib/one/oneflow/oneflow-server.rb",
    "onegate": "usr/lib/one/onegate/onegate-server.rb",
    "sunstone": "usr/lib/one/sunstone/sunstone-server.rb",
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """A tree laid out as OpenNebula's packages install it. The stand-ins are told which release they act as."""

    tree: Path
    version: Version
    standin: bool

    @property
    def targets(self) -> tuple[str, ...]:
        """The daemons that the release and the tree have."""
        known = recipe.targets(self.version.value)
        return tuple(target for target in known if (self.tree / _PROGRAMS[target]).exists())


def archive(source: Source, report: Report = say) -> RepositoryInfo:
    """The packages of a source, node packages included, in a signed archive."""
    server = repository.Server(
        tree=source.tree,
        version=debs.VERSIONS[source.version],
        release=source.version if source.standin else None,
    )
    return repository.ensure_repository(None if source.standin else source.tree, report, server=server)


def build(registry: str, source: Source, base: Image, report: Report = say) -> list[Image]:
    """The image of every daemon, built as far as the cache does not have it. Raises LabError."""
    packages = archive(source, report)
    requests = {target: request_for(target, registry, source, base, packages) for target in source.targets}
    keys = {target: _key(request, base) for target, request in requests.items()}
    if not all(_place(key).is_dir() for key in keys.values()):
        with buildah.opened(report) as tool:
            tool.bring(base)
            for target, request in requests.items():
                mine = replace(request, options=tool.options, build_options=tool.build_options(packages.directory))
                cache.entry(_KIND, keys[target], partial(_make, mine, tool, base, report))
    return [_load(request, source.version, _place(keys[target])) for target, request in requests.items()]


def request_for(target: str, registry: str, source: Source, base: Image, packages: RepositoryInfo) -> Request:
    """What `make images` would be asked for, with the lab's own base and packages; the tool's words come later."""
    version = source.version.value
    return Request(
        registry=registry,
        version=version,
        key=packages.key_armored,
        fingerprint=packages.fingerprint,
        targets=(target,),
        tool="buildah",
        base=base.reference,
        repository=f"file:{buildah.PACKAGES}",
        revision=repository.revision(packages, recipe.packages(target)),
    )


def _key(request: Request, base: Image) -> str:
    """Over all that decides what the image holds."""
    (target,) = request.targets
    parts = [_FORMAT, base.digest.encode(), str(request).encode()]
    with recipe.prepared(request.key) as context:
        for name in ("Containerfile", "packaging", *recipe.TARGETS[target]):
            place = context / name
            for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
                if path.is_file():
                    mode = path.stat().st_mode
                    parts += [f"{path.relative_to(context)} {mode:o}".encode(), path.read_bytes()]
    return f"{target}-{cache.digest(parts)}"


def _make(request: Request, tool: Buildah, base: Image, report: Report, into: Path) -> None:
    (target,) = request.targets
    with timed(f"image of {target}", report):
        recipe.check(request)
        with recipe.prepared(request.key) as context:
            tool.run(recipe.command(request, target, context)[1:], f"the image of {target}")
        config, found = tool.export(request.reference(target), base.layers)
    (into / "config.json").write_bytes(config)
    for number, layer in enumerate(found):
        (into / f"{number:02}.tar").hardlink_to(layer.path)  # the entry is whole, whatever else leaves the cache
        (into / f"{number:02}.digest").write_text(layer.digest)


def _load(request: Request, version: Version, entry: Path) -> Image:
    (target,) = request.targets
    tars = sorted(entry.glob("*.tar"))
    found = tuple(Layer(tar, tar.with_suffix(".digest").read_text(), tar.stat().st_size) for tar in tars)
    return Image(f"{request.registry}/{target}", version.value, found, (entry / "config.json").read_bytes())


def _place(key: str) -> Path:
    return paths.CACHE / _KIND / key
