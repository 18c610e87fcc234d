"""How to reach a cluster: a kubeconfig (path, content, or the ambient one) turned into an address and credentials.

Written by hand because importing the Kubernetes client costs a second at every start of the engine. It knows client
certificates, bearer tokens, token files, basic authentication and exec plugins; not the removed `auth-provider`.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.plugins.errors import PluginError, Unsupported
from lab.plugins.kubernetes.credentials import ExecCredential, TokenFile


@dataclass(frozen=True, kw_only=True)
class Target:
    """One cluster as one user. `authorization` gives the header of the next request, or None."""

    server: str
    tls: ssl.SSLContext | None
    authorization: Callable[[], str | None]
    namespace: str
    tls_server_name: str | None = None
    proxy: str | None = None


def parse(path_or_content: str) -> dict[str, Any]:
    """Text of a kubeconfig, or the file it names. Raises PluginError; never shows the content."""
    text, base, shown = path_or_content, Path.cwd(), "the kubeconfig given as text"
    if "\n" not in path_or_content and not path_or_content.lstrip().startswith("{"):
        path = Path(path_or_content).expanduser()
        base, shown = path.resolve().parent, str(path)
        try:
            text = path.read_text()
        except OSError as error:
            raise PluginError(f"kubeconfig {path}: {error.strerror}") from error
    try:
        config = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe, in C
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise PluginError(f"{shown} is not YAML (line {mark.line + 1 if mark else '?'})") from None
    if not isinstance(config, dict) or not isinstance(config.get("clusters"), list):
        raise PluginError(f"{shown} has no clusters")
    return _with_absolute_paths(config, base)


def ambient(environment: Mapping[str, str] = os.environ) -> str:
    """Path of the kubeconfig a user has when none is configured."""
    paths = [path for path in environment.get("KUBECONFIG", "").split(os.pathsep) if path]
    if len(paths) > 1:
        raise Unsupported("a KUBECONFIG of several files", "name one file, or set the provider's kubeconfig")
    return paths[0] if paths else str(Path.home() / ".kube" / "config")


def active_cluster(config: Mapping[str, Any], context: str = "", cluster: str = "") -> dict[str, Any] | None:
    """The cluster entry that would be used, or None. It tells whether a changed kubeconfig means another cluster."""
    chosen = _named(config, "contexts", context or config.get("current-context", ""))
    if chosen is None:
        return None
    return _named(config, "clusters", cluster or chosen["context"].get("cluster", ""), "cluster")


def namespace(config: Mapping[str, Any], context: str = "") -> str:
    """Namespace of the chosen context, or an empty text."""
    chosen = _named(config, "contexts", context or config.get("current-context", ""), "context")
    return str((chosen or {}).get("namespace") or "")


def target(config: Mapping[str, Any], context: str = "", cluster: str = "", namespace: str = "") -> Target:
    """Address and credentials of the chosen context. Raises PluginError naming the entry that is missing."""
    wanted = context or config.get("current-context", "")
    chosen = _named(config, "contexts", wanted, "context")
    if chosen is None:
        raise PluginError(f"kubeconfig has no context {wanted!r}; set the provider's context or current-context")
    name = cluster or chosen.get("cluster", "")
    entry = _named(config, "clusters", name, "cluster")
    if entry is None:
        raise PluginError(f"kubeconfig has no cluster {name!r}")
    user = _named(config, "users", chosen.get("user", ""), "user") or {}
    server = str(entry.get("server", ""))
    if not server.startswith(("https://", "http://")):
        raise PluginError(f"kubeconfig, cluster {name!r}: server {server!r} is not an http(s) address")
    issued = ExecCredential(user["exec"]) if user.get("exec") else None
    return Target(
        server=server.rstrip("/"),
        tls=_tls(entry, user, issued) if server.startswith("https://") else None,
        authorization=_authorization(user, issued),
        namespace=namespace or chosen.get("namespace") or "default",
        tls_server_name=entry.get("tls-server-name"),
        proxy=entry.get("proxy-url"),
    )


def _named(config: Mapping[str, Any], section: str, name: str, inner: str | None = None) -> dict[str, Any] | None:
    for entry in config.get(section) or ():
        if entry.get("name") == name:
            return dict(entry[inner] or {}) if inner else dict(entry)
    return None


def _with_absolute_paths(config: dict[str, Any], base: Path) -> dict[str, Any]:
    for section, inner, keys in (
        ("clusters", "cluster", ("certificate-authority",)),
        ("users", "user", ("client-certificate", "client-key", "tokenFile")),
    ):
        for entry in config.get(section) or ():
            values = entry.get(inner) or {}
            values.update({key: str(base / values[key]) for key in keys if values.get(key)})
    return config


def _data(values: Mapping[str, Any], name: str) -> bytes | None:
    """Content of `<name>-data` or of the file `<name>`."""
    if values.get(f"{name}-data"):
        try:
            return base64.b64decode(values[f"{name}-data"], validate=True)
        except binascii.Error as error:
            raise PluginError(f"kubeconfig: {name}-data is not base64") from error
    if not values.get(name):
        return None
    try:
        return Path(values[name]).read_bytes()
    except OSError as error:
        raise PluginError(f"kubeconfig: {name} {values[name]}: {error.strerror}") from error


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], issued: ExecCredential | None) -> ssl.SSLContext:
    authority = _data(cluster, "certificate-authority")
    try:
        context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise PluginError(f"kubeconfig: the cluster's certificate-authority is no certificate ({error})") from error
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = _data(user, "client-certificate"), _data(user, "client-key")
    if issued and issued.certificate():
        certificate, key = issued.certificate()
    if certificate and key:
        # ssl loads a pair from files only; these are the user's alone and gone before the next line.
        with tempfile.TemporaryDirectory() as directory:
            pair = Path(directory) / "pair.pem"
            pair.touch(mode=0o600)
            pair.write_bytes(certificate + b"\n" + key)
            try:
                context.load_cert_chain(pair)
            except ssl.SSLError as error:
                raise PluginError(f"kubeconfig: client certificate and key do not fit together ({error})") from error
    return context


def _authorization(user: Mapping[str, Any], issued: ExecCredential | None) -> Callable[[], str | None]:
    if user.get("auth-provider"):
        raise Unsupported("the kubeconfig's auth-provider", "use its exec plugin")
    if issued:
        return lambda: f"Bearer {token}" if (token := issued.token()) else None
    if user.get("token"):
        return lambda: f"Bearer {user['token']}"
    if user.get("tokenFile"):
        return TokenFile(Path(user["tokenFile"]))
    if user.get("username"):
        pair = base64.b64encode(f"{user['username']}:{user.get('password', '')}".encode()).decode()
        return lambda: f"Basic {pair}"
    return lambda: None
