"""Every target of images/Containerfile, really built, as `make up` builds and runs it: buildah, the lab's signed package
archive, a bare Debian 12. What an earlier run built from the same sources comes from the cache.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from components.domain import Version
from images import build
from images.build import Request
from lab import buildah, containerfile, images, paths
from lab.buildah import Buildah
from lab.containerfile import Source
from lab.errors import LabError
from lab.layers import Layer
from lab.oci import Image
from tests import real_layout
from tests.openpgp_key import ARMORED, FINGERPRINT

pytestmark = pytest.mark.engine

SOURCE = Source(tree=images.STANDIN, version=Version.V6_10, standin=True)
TARGETS = build.targets("6.10")
START = dict.fromkeys(TARGETS, "/usr/local/libexec/one/start") | {"oned": "/usr/local/libexec/one/oned-start"}
# A private key with its contents, a session string of a file under .one.
SECRET = re.compile(rb"PRIVATE KEY-----\s+[A-Za-z0-9+/=]{20}|^(one|server)admin:\S{8}", re.MULTILINE)
MARKER = "token-7f3a9c"
ACCOUNTS = ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")


@dataclass(frozen=True)
class Built:
    """An image of the lab, unpacked."""

    target: str
    root: Path
    image: Image

    @property
    def config(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self.image.config_bytes)["config"]
        return found


@pytest.fixture(scope="module")
def lab_images() -> dict[str, Image]:
    return images.build(version=SOURCE.version)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Layer → its directory; most are in several images."""
    return {"": tmp_path_factory.mktemp("layers")}


@pytest.fixture(scope="module", params=TARGETS)
def built(
    request: pytest.FixtureRequest, lab_images: Mapping[str, Image], unpacked: dict[str, Path]
) -> Iterator[Built]:
    target = str(request.param)
    image = lab_images[target]
    for layer in image.layers:
        if layer.digest not in unpacked:
            unpacked[layer.digest] = unpacked[""] / str(len(unpacked))
            unpack(layer, unpacked[layer.digest])
    place = unpacked[""]
    for name in ("upper", "work", "root"):
        (place / target / name).mkdir(parents=True)
    lower = ":".join(str(unpacked[layer.digest]) for layer in reversed(image.layers))
    options = f"lowerdir={lower},upperdir={place}/{target}/upper,workdir={place}/{target}/work"
    root = place / target / "root"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", root], check=True, timeout=60)
    try:
        yield Built(target, root, image)
    finally:
        subprocess.run(["umount", root], check=True, timeout=60)


def unpack(layer: Layer, into: Path) -> None:
    """As a runtime does it, with files that an upper layer takes away as overlayfs has them."""
    into.mkdir()
    subprocess.run(["tar", "-xf", layer.path, "-C", into], check=True, timeout=300)
    for white in list(into.rglob(".wh.*")):
        white.unlink()
        if white.name == ".wh..wh..opq":
            os.setxattr(white.parent, "trusted.overlay.opaque", b"y")
        else:
            os.mknod(white.with_name(white.name.removeprefix(".wh.")), 0o600 | 0o020000, os.makedev(0, 0))


def inside(built: Built, *command: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
    """A command in the image's file system, as the image's user."""
    words = ["chroot", f"--userspec={user or built.config['User']}", str(built.root), *command]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/var/lib/one"}
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=environment)


def test_it_runs_as_nobody_important_under_tini(built: Built) -> None:
    uid = 9869 if built.target == "oned" else 19869
    assert built.config["User"] == f"{uid}:{uid}"
    assert built.config["Entrypoint"] == ["/usr/bin/tini", "--"]
    assert built.config["Cmd"] == [START[built.target]]
    assert built.config["WorkingDir"] == "/var/lib/one"
    assert inside(built, "id", "--user", "--name").stdout.strip() == "oneadmin"
    assert inside(built, "/usr/bin/tini", "--version").returncode == 0


def test_labels_say_what_it_is(built: Built) -> None:
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in built.config["Labels"].items()}
    assert labels["title"] == built.target
    assert labels["version"] == "6.10"
    assert "LicenseRef-OpenNebula-Software-License" in labels["licenses"]


def test_entrypoints_are_there_and_may_be_run(built: Built) -> None:
    place = built.root / "usr/local/libexec/one"
    for directory in build.TARGETS[built.target]:
        for source in (build.HERE / directory).iterdir():
            if source.is_file():
                assert (place / source.name).read_bytes() == source.read_bytes()
    assert inside(built, "test", "-x", START[built.target]).returncode == 0


def test_its_packages_and_no_others_of_opennebula(built: Built) -> None:
    text = inside(built, "dpkg-query", "--show", "--showformat", "${Package}\n", "opennebula*").stdout
    found = set(text.split())
    own = {
        "oned": {"opennebula"},
        "fireedge": {"opennebula-fireedge", "opennebula-guacd", "opennebula-tools"},
        "oneflow": {"opennebula-flow"},
        "onegate": {"opennebula-gate"},
        "sunstone": {"opennebula-sunstone"},
    }[built.target]
    shared = {"opennebula-common", "opennebula-libs", "opennebula-tools", "opennebula-rubygems"}
    if built.target == "fireedge":
        shared.add("opennebula-provision-data")
    assert own <= found <= own | shared


def test_no_secret_is_inside(built: Built) -> None:
    """The node's package makes SSH keys and the server's a password: neither may be left."""
    for place in ("var/lib/one/.one", "var/lib/one/.ssh", "root/.gnupg", "build/repository.asc"):
        assert not (built.root / place).exists()
    assert list((built.root / "etc/ssh").glob("ssh_host_*")) == []
    for directory in ("etc", "var", "usr/lib/one", "usr/local", "root"):
        for path in (built.root / directory).rglob("*"):
            if path.is_file() and not path.is_symlink() and path.name.rstrip("-") not in ACCOUNTS:
                assert SECRET.search(path.read_bytes()) is None, path


def test_no_layer_has_what_packages_invent(built: Built) -> None:
    """A later step could only hide it: whoever pulls the image has every layer."""
    names = set()
    for layer in built.image.layers:
        with tarfile.open(layer.path) as tar:
            names |= {member.name.removeprefix("./") for member in tar if member.isfile()}
    assert START[built.target].removeprefix("/") in names
    invented = re.compile(r"var/lib/one/\.(one|ssh)/|etc/ssh/ssh_host_|etc/apt/apt\.conf\.d/99mmdebstrap$")
    assert [name for name in names if invented.match(name)] == []


def test_neither_history_nor_environment_tells_anything_of_this_machine(built: Built) -> None:
    """Build arguments and settings of apt stand in an image for good, and a proxy's address may hold a password."""
    found = json.loads(built.image.config_bytes)
    assert [each.partition("=")[0] for each in built.config["Env"]] == ["PATH"]
    history = [str(entry.get("created_by", "")) for entry in found["history"]]
    arguments = {name for line in history for name in re.findall(r"\b([A-Z_]{3,})=", line)} - {"PATH"}
    assert arguments <= {
        *("BASE", "KEY_FINGERPRINT", "OPENNEBULA_VERSION", "REPOSITORY", "SUITE", "COMPONENT", "REVISION", "FROM"),
    }
    text = built.image.config_bytes
    for word in (str(Path.home()), str(paths.CACHE), str(paths.PROJECT), "_proxy", "@"):
        assert word.encode() not in text
    assert SECRET.search(text) is None
    for path in (built.root / "etc/apt").rglob("*.conf*"):
        assert path.is_dir() or "Proxy" not in path.read_text()


def test_nothing_of_the_build_is_left(built: Built) -> None:
    assert not (built.root / "usr/sbin/policy-rc.d").exists()
    assert list((built.root / "var/lib/apt/lists").glob("*")) == []
    assert (built.root / "etc/machine-id").read_bytes() == b""
    assert not (built.root / "build").exists()
    for place in (buildah.STATE, buildah.PACKAGES):
        assert list((built.root / place.lstrip("/")).iterdir()) == []
    # nor anything that tells when it was: the same packages make the same layer on another day
    assert not (built.root / "var/cache/ldconfig/aux-cache").exists()
    assert {line.split(":")[2] for line in (built.root / "etc/shadow").read_text().splitlines()} == {""}
    assert "NeverAutoRemove" in (built.root / "etc/apt/apt.conf.d/01autoremove").read_text()


def test_accounts_are_locked_and_directories_are_oneadmins(built: Built) -> None:
    uid = int(built.config["User"].partition(":")[0])
    shadow = (built.root / "etc/shadow").read_text().splitlines()
    (password,) = [line.split(":")[1] for line in shadow if line.startswith("oneadmin:")]
    assert password.startswith(("!", "*"))
    for place in ("var/lib/one", "var/log/one", "run/one"):
        assert (built.root / place).stat().st_uid == uid
    for path in (built.root / "etc/one").rglob("*"):
        assert inside(built, "test", "-r", f"/{path.relative_to(built.root)}").returncode == 0


def test_its_daemon_is_at_the_official_path(built: Built) -> None:
    path = {
        "oned": "usr/bin/oned",
        "fireedge": "usr/lib/one/fireedge/dist/index.js",
        "oneflow": "usr/lib/one/oneflow/oneflow-server.rb",
        "onegate": "usr/lib/one/onegate/onegate-server.rb",
        "sunstone": "usr/lib/one/sunstone/sunstone-server.rb",
    }[built.target]
    assert (built.root / path).is_file()


def test_the_start_command_says_what_is_missing(built: Built) -> None:
    """Without volumes and Secrets every entrypoint ends by itself, with words; oned tells its version."""
    done = inside(built, "/usr/bin/tini", "-s", "--", START[built.target])
    assert done.returncode not in (0, 126, 127), done.stdout + done.stderr
    assert (done.stdout + done.stderr).strip()
    if built.target == "oned":
        assert "OpenNebula" in inside(built, "/usr/bin/oned", "-v").stdout


# ---- a tree of an installed OpenNebula


def content(image: Image, name: str) -> bytes:
    """A file as the uppermost layer that has it holds it."""
    for layer in reversed(image.layers):
        with tarfile.open(layer.path) as tar:
            try:
                found = tar.extractfile(name)
            except KeyError:
                continue
            assert found is not None
            return found.read()
    raise AssertionError(f"{name} is in no layer")


def test_an_installed_tree_takes_the_place_of_the_stand_ins(tmp_path: Path) -> None:
    """With files that the node's packages have too, without the web daemons, and telling nobody which release it is."""
    tree = tmp_path / "tree"
    shutil.copytree(images.STANDIN, tree, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for daemon in ("fireedge", "oneflow", "onegate", "sunstone"):
        shutil.rmtree(tree / "usr/lib/one" / daemon)
    theirs = ("etc/sudoers.d/opennebula", "usr/share/one/ssh/config", "usr/share/one/gems/one.gem", "usr/bin/onehost")
    for place in theirs:
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        (tree / place).write_text("# installed\n")
    (tree / "var/lib/one/vms").mkdir()
    found = images.build(opennebula_root=tree)
    assert set(build.targets("7.4")) & set(found) == {"oned"}
    for place in theirs:
        assert content(found["oned"], place) == b"# installed\n"
    with pytest.raises(AssertionError, match="in no layer"):
        content(found["oned"], "usr/lib/one/standin/VERSION")
    names = set()
    for layer in found["oned"].layers:
        with tarfile.open(layer.path) as tar:
            names |= set(tar.getnames())
    assert "var/lib/one/vms" in names


def test_a_tree_in_the_real_layout_gives_every_daemon_what_it_loads(tmp_path: Path) -> None:
    tree = real_layout.lay_out(tmp_path / "tree", Version.V7_4)
    found = images.build(opennebula_root=tree)
    bindings = (
        *("usr/lib/one/ruby/opennebula.rb", "usr/lib/one/ruby/opennebula/client.rb"),
        *("usr/lib/one/ruby/cloud/CloudServer.rb", "usr/lib/one/ruby/load_opennebula_paths.rb"),
        "usr/share/one/gems-dist/gems/ox-2/ox.rb",
    )
    needs = {
        "oned": (
            *bindings,
            "usr/bin/oned",
            "usr/bin/onevm",
            "usr/lib/one/mads/onemonitord",
            "usr/lib/one/sh/override/ssh",
        ),
        "oneflow": (*bindings, "usr/lib/one/oneflow/oneflow-server.rb", "usr/lib/one/ruby/ActionManager.rb"),
        "onegate": (*bindings, "usr/lib/one/onegate/onegate-server.rb"),
        "fireedge": (
            *(*bindings, "usr/lib/one/fireedge/dist/index.js", "usr/share/one/guacd/sbin/guacd"),
            *("usr/bin/onevm", "usr/bin/onemarketapp", "usr/lib/one/ruby/cli/one_helper/onevm_helper.rb"),
            *("etc/one/vmm_exec/vmm_exec_kvm.conf", "var/lib/one/remotes/etc/im/kvm-probes.d/forecast.conf"),
            *("var/lib/one/remotes/datastore/downloader.sh", "usr/lib/one/sh/scripts_common.sh"),
        ),
    }
    assert set(needs) == set(build.targets("7.4")) & set(found)
    for target, places in needs.items():
        for place in places:
            assert content(found[target], place) == f"# {place}\n".encode(), target
        names: set[str] = set()
        for layer in found[target].layers:
            with tarfile.open(layer.path) as tar:
                names |= {name.removeprefix("./") for name in tar.getnames()}
        assert "usr/share/one/gems" in names
        assert not [name for name in names if name.startswith("usr/lib/one/ruby/onedb/local/")]
        assert ("usr/bin/oned" in names) == (target == "oned")


# ---- the recipe by itself


@pytest.fixture
def tool(lab_images: Mapping[str, Image]) -> Iterator[Buildah]:
    with buildah.opened() as found:
        yield found


def request_for(target: str, tool: Buildah) -> Request:
    packages = containerfile.archive(SOURCE)
    found = containerfile.request_for(target, images.REGISTRY, SOURCE, images.base(SOURCE), packages)
    return replace(found, options=tool.options, build_options=tool.build_options(packages.directory))


def test_the_operators_command_builds_what_the_lab_runs(tool: Buildah, lab_images: Mapping[str, Image]) -> None:
    request = request_for("oneflow", tool)
    reference = build.build(request)["oneflow"]
    assert tool.export(reference, lab_images["oneflow"].layers)[0] == lab_images["oneflow"].config_bytes


def refused(tool: Buildah, **changes: Any) -> str:
    """By the Containerfile alone: somebody may call buildah without the module."""
    request = replace(request_for("oned", tool), **changes)
    with build.prepared(request.key) as context, pytest.raises(LabError) as caught:
        tool.run(build.command(request, "oned", context)[1:], "the image")
    return str(caught.value)


@pytest.fixture
def guarded() -> Iterator[str]:
    """The archive behind a name and a password, as OpenNebula's enterprise repository is; its URL."""
    wanted = "Basic " + b64encode(f"customer:{MARKER}".encode()).decode()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") == wanted:
                super().do_GET()
            else:
                self.send_error(401)

        def log_message(self, *_: Any) -> None:
            pass

    place = str(containerfile.archive(SOURCE).directory)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=place)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_no_login_of_the_repository_is_inside(tool: Buildah, guarded: str, tmp_path: Path) -> None:
    with (tool.place / "apt.conf").open("a") as settings:
        settings.write('Acquire::http::Proxy::127.0.0.1 "DIRECT";\n')
    assert "401" in refused(tool, repository=guarded)
    auth = tmp_path / "auth.conf"
    auth.write_text(f"machine {guarded}\nlogin customer\npassword {MARKER}\n")
    auth.chmod(0o600)
    found = replace(request_for("oned", tool), registry="localhost/login", repository=guarded, auth=str(auth))
    build.check(found)
    with build.prepared(found.key) as context:
        words = build.command(found, "oned", context)
        said = tool.run(words[1:], "the image")
    log = (paths.CACHE / "logs" / "buildah.log").read_text()
    assert MARKER not in said + log + " ".join(words)
    base = images.base(SOURCE).layers
    config, layers = tool.export(found.reference("oned"), base)
    assert MARKER.encode() not in config and guarded.encode() in config, "that is what history keeps"
    known = {layer.digest for layer in base}
    made = [layer for layer in layers if layer.digest not in known]
    assert made != []
    for layer in made:
        assert MARKER.encode() not in layer.path.read_bytes()
        with tarfile.open(layer.path) as tar:
            assert not [name for name in tar.getnames() if "auth.conf.d/" in name], "not even an empty file"


def test_the_recipe_itself_refuses_a_login_in_the_repository(tool: Buildah) -> None:
    url = f"https://customer:{MARKER}@enterprise.opennebula.io/repo/6.10/Debian/12"
    assert "REPOSITORY has a login in it" in refused(tool, repository=url)


def test_a_repository_of_another_version_is_refused(tool: Buildah) -> None:
    assert "is 6.10.5-1, not 7.4" in refused(tool, version=Version.V7_4.value)


def test_another_key_is_refused_in_the_build_too(tool: Buildah) -> None:
    key = request_for("oned", tool).fingerprint
    assert f"fingerprint {key}, not {'0' * 40}; nothing was installed" in refused(tool, fingerprint="0" * 40)


def test_an_archive_signed_by_somebody_else_is_refused(tool: Buildah) -> None:
    text = refused(tool, key=ARMORED, fingerprint=FINGERPRINT)
    assert "NO_PUBKEY" in text or "not signed" in text
