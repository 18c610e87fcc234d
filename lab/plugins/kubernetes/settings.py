"""Configuration of one provider instance, as the SDK's `Provider` arguments and the official's variables give it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from lab.plugins.errors import PluginError, Unsupported

# What the SDK may send and this stand-in has no use for: harmless, they change no object.
_IGNORED = frozenset({"suppressHelmHookWarnings", "helmReleaseSettings", "kubeClientSettings", "clusterIdentifier"})
_REFUSED = frozenset({"renderYamlToDirectory", "alwaysRender", "strictMode", "rejectUnknownResources"})
_BOOLEANS = {
    "enableServerSideApply": "PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY",
    "enablePatchForce": "PULUMI_K8S_ENABLE_PATCH_FORCE",
    "enableConfigMapMutable": "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE",
    "enableSecretMutable": "PULUMI_K8S_ENABLE_SECRET_MUTABLE",
    "deleteUnreachable": "PULUMI_K8S_DELETE_UNREACHABLE",
    "skipUpdateUnreachable": "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE",
    "suppressDeprecationWarnings": "PULUMI_K8S_SUPPRESS_DEPRECATION_WARNINGS",
    "upsertExistingObjects": "PULUMI_K8S_UPSERT_EXISTING_OBJECTS",
}
_TEXTS = frozenset({"kubeconfig", "context", "cluster", "namespace"})
_PREFIX = "kubernetes:config:"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Plain values; an empty text means not set."""

    kubeconfig: str = ""  # a path or the content itself
    context: str = ""
    cluster: str = ""
    namespace: str = ""
    patch_force: bool = False
    configmap_mutable: bool = False
    secret_mutable: bool = False
    delete_unreachable: bool = False
    skip_update_unreachable: bool = False
    suppress_deprecation_warnings: bool = False
    upsert: bool = False


def load(variables: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the variables of a Configure request.

    Raises Unsupported for a setting that would change what happens, PluginError for one nobody knows.
    """
    given = {name.removeprefix(_PREFIX): value for name, value in variables.items() if name.startswith(_PREFIX)}
    for name, value in given.items():
        if name in _REFUSED and value not in ("", "false"):
            raise Unsupported(f"the provider setting {name}")
        if name not in _IGNORED | _REFUSED | _TEXTS | _BOOLEANS.keys() | {"version"}:
            raise PluginError(f"unknown provider setting {name}")
    if environment.get("PULUMI_K8S_AWAIT_ALL") == "true":
        raise Unsupported("PULUMI_K8S_AWAIT_ALL")

    def flag(name: str, default: bool = False) -> bool:
        value = given.get(name, environment.get(_BOOLEANS[name]))
        return default if value is None else value == "true"

    if not flag("enableServerSideApply", default=True):
        raise Unsupported("client-side apply (enableServerSideApply: false)", "leave the setting out")
    return Settings(
        kubeconfig=given.get("kubeconfig", ""),
        context=given.get("context", ""),
        cluster=given.get("cluster", ""),
        namespace=given.get("namespace", ""),
        patch_force=flag("enablePatchForce"),
        configmap_mutable=flag("enableConfigMapMutable"),
        secret_mutable=flag("enableSecretMutable"),
        delete_unreachable=flag("deleteUnreachable"),
        skip_update_unreachable=flag("skipUpdateUnreachable"),
        suppress_deprecation_warnings=flag("suppressDeprecationWarnings"),
        upsert=flag("upsertExistingObjects"),
    )
