"""Vocabulary of the configuration: annotated types shared by settings and components.

Every rule that one value can break by itself stands here, with a message that says how to mend it. Rules that need two
values stand in `stacks/settings.py`. Nothing here imports Pulumi, so all of it is tested without an engine.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Interface, IPv4Network, ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic.alias_generators import to_camel


class Section(BaseModel):
    """Base of every configuration model: frozen, no unknown key, camelCase in YAML, values never echoed in errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        validate_default=True,
        hide_input_in_errors=True,
        # YAML is typed: "true" for a boolean or 3.0 for a count is a slip of the operator, not something to guess at.
        strict=True,
    )


class Kind(StrEnum):
    """Hypervisor kinds, in OpenNebula's own words."""

    KVM = "kvm"
    LXC = "lxc"


class Version(StrEnum):
    """OpenNebula releases that this program deploys."""

    V6_10 = "6.10"
    V7_4 = "7.4"


def matching(pattern: str, what: str) -> AfterValidator:
    """A rule of a whole text; `what` is the sentence for the operator, who should not have to read the pattern."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(what)
        return value

    return AfterValidator(check)


# Names of loopback in the file /etc/hosts that a kubelet writes for pods and distributions for machines, beside `localhost`.
_OWN_NAMES = frozenset(
    {"localhost.localdomain", "localhost4", "localhost6", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback"}
)


def _host_name(value: str) -> str:
    """Rules of `one.host.allocate` (HostPool.cc, seen on 7.4.0): 2-63 of A-Z a-z 0-9 . _ -, no edge of . _ -."""
    if ":" in value:
        raise ValueError("an IPv6 literal cannot name a host: oned refuses ':'. Give the host a DNS name and use that")
    if not 2 <= len(value) <= 63:
        raise ValueError(
            f"oned accepts host names of 2 to 63 characters, this one has {len(value)}. Use a shorter alias"
        )
    if not re.fullmatch(r"[A-Za-z0-9._-]+", value):
        raise ValueError("oned accepts only letters, digits, '.', '_' and '-' in a host name")
    if value[0] in "-._" or value[-1] in "-._":
        raise ValueError("oned refuses a host name that starts or ends with '-', '.' or '_'")
    if nowhere(value) or value.lower() in _OWN_NAMES:
        raise ValueError(
            f"{value} is whoever says it: oned's pod would find itself there, and every host too. Give the host's own name"
        )
    return value


def url_host(url: str) -> str | None:
    """The host that a URL names, without brackets; None where there is none that can be read."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def nowhere(host: str) -> bool:
    """Whether whoever connects there meets himself, or nobody: loopback, "any address" and their name."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return host.lower().rstrip(".") == "localhost" or host.lower().rstrip(".").endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def no_number(value: str) -> str:
    """Refuses what resolvers and URLs take for an IPv4 address by its last part, though it is none as people write them.

    inet_aton reads 10.0.0 as 10.0.0.0, 10.0.0.011 as 10.0.0.9 and 0x0a000001 as 10.0.0.1. No top-level domain is a number
    (RFC 3696 section 2). Raises ValueError.
    """
    try:
        ip_address(value)
    except ValueError:
        if re.fullmatch(r"[0-9]+|0[xX][0-9A-Fa-f]*", value.rpartition(".")[2]):
            text = "ends in a number, so it is taken for an IPv4 address and is none"
            raise ValueError(f"{text}: write four numbers from 0 to 255 without leading zeros, or a DNS name") from None
    return value


def _elsewhere(value: str) -> str:
    if nowhere(value) or value.lower() in _OWN_NAMES:
        raise ValueError(f"{value} is whoever says it: give the address at which oned's pod finds the host too")
    return value


def _address(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        pass
    no_number(value)
    if len(value) > 253 or not re.fullmatch(
        r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*", value
    ):
        raise ValueError("must be an IP address or a DNS name")
    return value


def _network(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        IPv4Network(value)
    except ValueError:
        pass
    else:
        return value
    try:
        inside = IPv4Interface(value)
    except ValueError:
        raise ValueError("must be an IPv4 network such as 192.0.2.0/24; a single address as 192.0.2.7/32") from None
    raise ValueError(f"{value} is an address inside a network: write {inside.network}, or {inside.ip}/32 for it alone")


def _not_everybody(network: IPv4Network) -> IPv4Network:
    if network.prefixlen == 0:
        raise ValueError(f"{network} is everybody: name the networks that are meant, such as 10.20.0.0/16")
    return network


KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
"""Kinds of SSH host key that can be pinned, the preferred one first."""


def _public_key(value: str) -> str:
    """One OpenSSH public key, `type base64`, comment dropped; the type inside the blob must be the type outside."""
    parts = value.split()
    if len(parts) < 2 or parts[0] not in KEY_TYPES:
        raise ValueError(
            f"must be one public key such as 'ssh-ed25519 AAAA…' (types: {', '.join(KEY_TYPES)}); "
            "print it with: make pin HOST=… (or ssh-keyscan), and compare the fingerprint on the host's console"
        )
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the key's base64 part is damaged; copy it again from make pin or ssh-keyscan") from None
    length = int.from_bytes(blob[:4], "big")
    if blob[4 : 4 + length] != parts[0].encode() or len(blob) < 32:
        raise ValueError(f"the key says {parts[0]} but its contents do not; copy it again from make pin or ssh-keyscan")
    return f"{parts[0]} {parts[1]}"


def _pinned(value: str) -> str:
    name = value.rsplit("/", 1)[-1]
    if "@" not in name and (":" not in name or name.endswith(":latest")):
        raise ValueError(
            "must name a tag other than latest, or better a digest (@sha256:…), so that two runs deploy the same"
        )
    return value


def qualified(what: str) -> AfterValidator:
    """Kubernetes' "qualified name" of labels, annotations, taints and classes: an optional DNS prefix, and a name. `what`
    is the sentence for the operator."""
    prefix, edge = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/", "[A-Za-z0-9]"
    return matching(rf"({prefix})?{edge}([A-Za-z0-9._-]{{0,61}}{edge})?", what)


def _no_cdata_end(value: str) -> str:
    # "]]>" anywhere in a value aborts oned's parser (template_parser.l).
    if "]]>" in value:
        raise ValueError("must not contain ']]>': oned's parser stops there")
    return value


DnsLabel = Annotated[
    str,
    Field(max_length=63),
    matching(
        r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", "must be a DNS label: lower-case letters, digits and '-', not at the edges"
    ),
]
DnsSubdomain = Annotated[
    str,
    Field(max_length=253),
    matching(
        r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*",
        "must be a Kubernetes object name: lower-case letters, digits, '-' and '.', not at the edges",
    ),
]
AnnotationKey = Annotated[str, qualified("must be an annotation's name such as example.com/team")]
LabelKey = Annotated[str, qualified("must be a label's name such as kubernetes.io/hostname")]
LabelValue = Annotated[
    str,
    matching(
        r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?",
        "must be a label's value: at most 63 letters, digits, '-', '_' and '.', the last three not at the edges",
    ),
]
HostName = Annotated[str, AfterValidator(_host_name)]
Address = Annotated[str, AfterValidator(_address)]
RemoteAddress = Annotated[Address, AfterValidator(_elsewhere)]
"""An address that is not the own one of whoever connects there."""
PublicKey = Annotated[str, AfterValidator(_public_key)]
Network = Annotated[IPv4Network, BeforeValidator(_network)]
NamedNetwork = Annotated[Network, AfterValidator(_not_everybody)]
"""A network that is let in: never all of them."""
Port = Annotated[int, Field(ge=1, le=65535)]
UserName = Annotated[str, matching(r"[a-z_][a-z0-9_-]{0,31}", "must be a Unix user name")]
Quantity = Annotated[
    str,
    matching(
        r"[1-9][0-9]*(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?", "must be a Kubernetes quantity such as 500m, 512Mi or 10Gi"
    ),
]
Memory = Annotated[str, matching(r"[1-9][0-9]*(Ki|Mi|Gi|Ti)", "must be an amount of memory such as 512Mi or 4Gi")]
Image = Annotated[
    str,
    matching(
        r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?",
        "must be a full image reference: REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:…",
    ),
    AfterValidator(_pinned),
]
Fingerprint = Annotated[
    str,
    BeforeValidator(lambda value: value.replace(" ", "").upper() if isinstance(value, str) else value),
    matching(r"[0-9A-F]{40}", "must be the full 40-digit fingerprint (gpg --show-keys --with-fingerprint FILE)"),
]
SqlName = Annotated[str, matching(r"[a-z][a-z0-9_]{0,31}", "must be a plain SQL name: a-z, 0-9, _")]
AttributeName = Annotated[
    str, matching(r"[A-Z][A-Z0-9_]{0,63}", "must be an OpenNebula attribute name: upper-case letters, digits and '_'")
]
AttributeValue = Annotated[
    str,
    Field(max_length=1024),
    matching(r"[^\x00-\x1f\x7f\ud800-\udfff]*", "must be one line without control characters"),
    AfterValidator(_no_cdata_end),
]


def shape(name: str) -> Tag:
    """Mark of one member of a union of plain values. pydantic puts it into an error's place; no YAML key looks like it."""
    return Tag(f"{SHAPE}{name}")


SHAPE = "\0"


def _shape(value: object) -> str | None:
    for kind, name in ((bool, "truth"), (str, "text"), (int, "number"), (Mapping, "vector"), (list | tuple, "list")):
        if isinstance(value, kind):
            return f"{SHAPE}{name}"
    return None


def shapes(what: str) -> Discriminator:
    """Chooses among members marked with `shape` (text, number, truth, vector, list), so that a mistake is one sentence, `what`."""
    return Discriminator(_shape, custom_error_type="shape", custom_error_message=what)


Seconds = Annotated[int, Field(ge=1, le=86400, description="seconds")]
