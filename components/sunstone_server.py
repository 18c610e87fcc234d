"""Settings of Sunstone, FireEdge's web interface, and the text of its sunstone-server.conf. Pure.

Not the Ruby Sunstone of 6.10, which is a daemon and a component of its own. The file goes into a ConfigMap, so nothing
secret may stand in it; what FireEdge itself needs is in `components/fireedge_settings.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from components.domain import Memory, Section, Version, matching
from components.yaml_conf import Keys, Raw, Yaml, YamlError, merge_raw, render

UPLOADS = "/var/tmp"  # the volume that oned shares: it reads uploaded images at the very path that FireEdge wrote

_KNOWN = frozenset(
    {
        "support_url",
        "sunstone_prepend",
        "tmpdir",
        "max_upload_file_size",
        "proxy",
        "token_remote_support",
        "keep_me_logged",
        "leases",
        "supported_fs",
        "use_extended_vmpool",
        "currency",
        "default_lang",
        "langs",
        "currentTimeZone",
        "rowStyle",
    }
)
KNOWN: dict[Version, frozenset[str]] = {
    Version.V6_10: _KNOWN | {"vcenter_prepend_command"},
    Version.V7_4: _KNOWN | {"enforce_2fa", "fullViewMode"},
}
LANGUAGES = {
    "de": "German",
    "en": "English",
    "es_ES": "Spanish",
    "fr_FR": "French",
    "it_IT": "Italian",
    "ru": "Russian",
    "sk_SK": "Slovak",
    "zh_CN": "Chinese (China)",
}
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

LanguageCode = Annotated[str, matching(r"[a-z]{2}(_[A-Z]{2})?", "must be a language code such as en or pt_BR")]
LanguageName = Annotated[str, Field(min_length=1, max_length=64)]


class Period(StrEnum):
    """Units of a lease."""

    YEARS = "years"
    MONTHS = "months"
    WEEKS = "weeks"
    DAYS = "days"
    HOURS = "hours"
    MINUTES = "minutes"


class RowStyle(StrEnum):
    """How tables show their rows."""

    CARD = "card"
    LIST = "list"


class Lease(Section):
    """An action that Sunstone schedules on VMs by itself."""

    action: Annotated[str, matching(r"[a-z][a-z-]{1,31}", "must be an action such as terminate or poweroff-hard")] = (
        Field(description="terminate, poweroff, …; each once")
    )
    editable: bool = Field(default=False, description="whether users may change it")
    after: int = Field(ge=1, le=10000, description="how long a VM runs before the action")
    after_unit: Period = Field(default=Period.WEEKS, description="unit of after")
    warn: int | None = Field(default=None, ge=1, le=10000, description="how long before the action users are warned")
    warn_unit: Period = Field(default=Period.DAYS, description="unit of warn")


class SunstoneServerSettings(Section):
    """The web interface. Defaults are the shipped ones."""

    max_upload_size: Memory = Field(default="10Gi", description="largest image that a browser may upload")
    upload_directory: Annotated[
        str,
        matching(rf"{UPLOADS}(/[A-Za-z0-9_-]+)*", f"must be {UPLOADS} or a directory below, such as {UPLOADS}/uploads"),
    ] = Field(
        default=UPLOADS,
        description="where uploads land, on the volume shared with oned: /var/tmp or a directory below",
    )
    two_factor: bool = Field(default=False, description="every user needs a second factor (7.x)")
    keep_me_logged: bool = Field(
        default=True, description="offer 'keep me logged in'; 7.4.0 offers it whatever this says"
    )
    default_language: LanguageCode = Field(default="en", description="language before a user chose one")
    languages: dict[LanguageCode, LanguageName] | None = Field(
        default=None, description="code: name of each language on offer; the shipped eight when left out"
    )
    currency: Annotated[str, matching(r"[A-Z]{3}", "must be an ISO 4217 code such as EUR")] = Field(
        default="EUR", description="ISO 4217 code for showback"
    )
    supported_filesystems: tuple[
        Annotated[str, matching(r"[a-z0-9]{2,16}", "must be a file system such as ext4")], ...
    ] = Field(default=("ext4", "ext3", "ext2", "xfs"), description="file systems on offer for volatile disks")
    leases: tuple[Lease, ...] | None = Field(
        default=None,
        description="actions scheduled on every VM; when left out the shipped one (terminate after 2 weeks, warn a day before)",
    )
    extended_vm_pool: bool = Field(default=True, description="ask oned for whole VMs in lists")
    row_style: RowStyle = Field(default=RowStyle.CARD, description="rows of tables")
    full_view: bool = Field(default=False, description="show resources on a whole page (7.x)")
    raw: Raw = Field(default={})


_SHIPPED_LEASES = (Lease(action="terminate", after=2, warn=1),)


def sunstone_text(settings: SunstoneServerSettings, version: Version) -> str:
    """sunstone-server.conf. Raises YamlError when a raw key fights a typed one or is unknown to the release."""
    if "token_remote_support" in settings.raw:
        raise YamlError("token_remote_support is a secret and this file is a ConfigMap: it cannot stand here")
    typed: dict[str, Yaml] = {
        "support_url": "https://opennebula.zendesk.com/api/v2",
        "sunstone_prepend": "",
        "tmpdir": settings.upload_directory,
        "max_upload_file_size": _bytes(settings.max_upload_size),
        # 6.10 ships the key as keep_me_logged_in, which its own code does not read (Login/Opennebula/schema.js).
        "keep_me_logged": settings.keep_me_logged,
        "leases": {
            lease.action: _lease(lease) for lease in (_SHIPPED_LEASES if settings.leases is None else settings.leases)
        },
        "supported_fs": settings.supported_filesystems,
        "use_extended_vmpool": settings.extended_vm_pool,
        "currency": settings.currency,
        "default_lang": settings.default_language,
        "langs": _languages(settings),
        "rowStyle": settings.row_style.value,
    }
    if "enforce_2fa" in KNOWN[version]:
        typed["enforce_2fa"] = settings.two_factor
    if "fullViewMode" in KNOWN[version]:
        # A text in the shipped file as well; the web interface compares it with 'true'.
        typed["fullViewMode"] = "true" if settings.full_view else "false"
    return render(merge_raw(typed, settings.raw, known=KNOWN[version], release=version.value), Keys.PLAIN)


def _languages(settings: SunstoneServerSettings) -> dict[str, str]:
    return LANGUAGES if settings.languages is None else settings.languages


def _lease(lease: Lease) -> dict[str, Yaml]:
    found: dict[str, Yaml] = {"edit": lease.editable, f"execute_after_{lease.after_unit.value}": lease.after}
    if lease.warn is not None:
        found[f"warn_before_{lease.warn_unit.value}"] = lease.warn
    return found


def _bytes(amount: str) -> int:
    return int(amount[:-2]) * _UNITS[amount[-2:]]


def unknown(settings: SunstoneServerSettings, version: Version) -> Iterator[tuple[str, str]]:
    """(path below `sunstone`, text) of what the release does not know, whether FireEdge runs or not."""
    known = KNOWN[version]
    if settings.two_factor and "enforce_2fa" not in known:
        yield "twoFactor", f"OpenNebula {version.value} cannot enforce a second factor; set it to false"
    if settings.full_view and "fullViewMode" not in known:
        yield "fullView", f"OpenNebula {version.value} does not know it; set it to false"


def problems(settings: SunstoneServerSettings, version: Version) -> Iterator[tuple[str, str]]:
    """Rules that need two values, as (path below `sunstone`, text)."""
    yield from unknown(settings, version)
    if settings.default_language not in _languages(settings):
        yield "defaultLanguage", f"{settings.default_language} is none of languages: {', '.join(_languages(settings))}"
    actions = [lease.action for lease in settings.leases or ()]
    for action in sorted({action for action in actions if actions.count(action) > 1}):
        yield "leases", f"{action} stands there twice; each action once"
    try:
        sunstone_text(settings, version)
    except YamlError as error:
        yield "raw", str(error)
