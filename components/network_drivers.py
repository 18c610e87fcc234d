"""Settings of the networking drivers and their file, OpenNebulaNetwork.conf. Pure.

The file is one of the remote scripts' and reaches the hosts with them; a network's own CONF, BRIDGE_CONF, OVS_BRIDGE_CONF and
IP_LINK_CONF go before it there. It is written whole, with the shipped values as defaults.
Facts, alike at release-6.10.5 and release-7.4.0 where nothing else is said: src/vnm_mad/remotes/OpenNebulaNetwork.conf as
shipped; what the drivers beside it look up (CONF, conf_attribute, add_command_conf); lib/tproxy and lib/tproxy.rb.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, ip_address
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field
from pydantic.alias_generators import to_camel

from components.domain import Address, AttributeValue, Port, Section, Version, matching, shape, shapes
from components.versions import RELEASES
from components.yaml_conf import Keys, Raw, Yaml, render

FILE: Final = "OpenNebulaNetwork.conf"
SERVICE_ADDRESS: Final = "169.254.16.9"
"""Where guests find the transparent proxies, whatever is configured (lib/tproxy: SERVICE_ADDR)."""


def _multicast(value: str) -> str:
    # The driver takes 239.0.0.0 in place of what it cannot read.
    try:
        address = IPv4Address(value)
    except ValueError:
        raise ValueError("must be an IPv4 multicast address such as 239.0.0.0") from None
    if not address.is_multicast:
        raise ValueError(f"{value} is no multicast address: 224.0.0.0 to 239.255.255.255")
    return value


def _no_switch_word(value: str) -> str:
    # True becomes 1 for a bridge, on for a link and true for Open vSwitch; no word is right for all three.
    if value.lower() in ("on", "off", "yes", "no", "true", "false"):
        raise ValueError("write true or false, without quotes: the driver finds the word that the option takes")
    return value


# Names go to the commands lower-cased, and `ip` and `ovs-vsctl` have no other; values go unquoted to a shell on the host.
OptionName = Annotated[
    str,
    matching(
        r"[a-z][a-z0-9_-]*(:[a-z0-9_-]+)?",
        "must be the name of an option: lower-case letters, digits, '_' and '-', such as stp_state",
    ),
]
_Word = Annotated[
    str,
    Field(max_length=256),
    matching(r"[A-Za-z0-9_.:/,+@-]+", "must be one word of letters, digits and _ . : / , + @ -"),
    AfterValidator(_no_switch_word),
]
OptionValue = Annotated[
    Annotated[_Word, shape("text")] | Annotated[int, shape("number")] | Annotated[bool, shape("truth")],
    shapes("must be a word, a whole number, true or false"),
]
Options = dict[OptionName, OptionValue]
LinkOptions = dict[OptionName, OptionValue | None]
VirtualNetwork = Annotated[
    Annotated[AttributeValue, Field(min_length=1), shape("text")] | Annotated[int, Field(ge=0), shape("number")],
    shapes("must be the name of a virtual network or its id"),
]
Mtu = Annotated[int, Field(ge=68, le=65535)]


class Tproxy(Section):
    """A transparent proxy: guests connect to 169.254.16.9:servicePort, and their host connects for them."""

    service_port: Port = Field(description="port that guests ask, at 169.254.16.9; each once")
    remote_addr: Address = Field(
        description="where the hosts connect to: an IPv4 address, with 7.x also a name that they resolve to one"
    )
    remote_port: Port = Field(description="port there")
    networks: tuple[VirtualNetwork, ...] = Field(
        default=(), description="virtual networks that have it, by name or id; all when left out"
    )


class NetworkDriverSettings(Section):
    """OpenNebulaNetwork.conf: what the networking drivers do on hosts. Written whole, with the shipped values as defaults."""

    validate_vlan_id: bool = Field(
        default=False, description="refuse a bridge with interfaces of another VLAN: 802.1Q, VXLAN and Open vSwitch"
    )
    arp_cache_poisoning: bool = Field(
        default=True, description="Open vSwitch rules against poisoned ARP caches, on networks with filters"
    )
    vlan_mtu: Mtu = Field(default=1500, description="MTU of 802.1Q interfaces, bytes; a network's own goes before it")
    vxlan_mode: Literal["multicast", "evpn"] = Field(
        default="multicast", description="how broadcasts find their way: multicast, or evpn with BGP"
    )
    vxlan_mc: Annotated[str, AfterValidator(_multicast)] = Field(
        default="239.0.0.0", description="first multicast address; a network's is this plus its VLAN id"
    )
    vxlan_ttl: Annotated[int, Field(ge=1, le=255)] = Field(
        default=16, description="time to live of VXLAN packets; more than 1 where multicast is routed"
    )
    vxlan_mtu: Mtu = Field(default=1500, description="MTU of VXLAN interfaces, bytes; a network's own goes before it")
    vxlan_tep: Literal["dev", "local_ip"] = Field(
        default="dev", description="tunnel endpoint in mode evpn: dev is PHYDEV, local_ip its first address"
    )
    ipset_maxelem: Annotated[int, Field(ge=1, le=4294967295)] = Field(
        default=65536, description="most entries of a security group's IP set"
    )
    keep_empty_bridge: bool = Field(default=False, description="keep a bridge whose last guest has left")
    ip_bridge_conf: Options = Field(default={}, description="options of new Linux bridges, such as stp_state: true")
    ovs_bridge_conf: Options = Field(
        default={}, description="options of new Open vSwitch bridges, such as stp_enable: true or datapath_type: netdev"
    )
    ip_link_conf: LinkOptions = Field(
        default={},
        description="options of new VXLAN and 802.1Q interfaces, such as dstport: 4789; null for one without a value, as nolearning",
    )
    tproxy: tuple[Tproxy, ...] = Field(
        default=(),
        description="the hosts' transparent proxies; OneGate's comes by itself with onegate.address, see onegate.endpoint",
    )
    tproxy_debug_level: Annotated[int, Field(ge=0, le=3)] = Field(
        default=2, description="log of the proxies on hosts: 0 errors, 1 warnings, 2 info, 3 debug"
    )
    raw: Raw = Field(default={})


_FIXED: Final[Mapping[str, str]] = {
    "datastore_location": "datastores are in /var/lib/one/datastores, on hosts and in oned's pod"
}
_FREE: Final = frozenset({"bridge_conf"})
_NAMES: Final[Mapping[Version, frozenset[str]]] = {
    version: frozenset({*NetworkDriverSettings.model_fields, *_FIXED, *_FREE} - {"raw"}) for version in Version
}
"""What the drivers of each release look up. 6.10 ships no line about the proxies, and reads them."""

_BRIDGE_CONF: Final = ("setageing", "sethello", "setmaxage", "stp", "setbridgeprio", "setfd")
"""Names of brctl that vnm_driver.rb translates; others mean nothing to it."""


def text(settings: NetworkDriverSettings, onegate: Tproxy | None = None) -> str:
    """The whole file, `onegate` before the other proxies. Raises YamlError for a raw value that no file can hold."""
    plain = settings.model_dump(exclude={"ip_bridge_conf", "ovs_bridge_conf", "ip_link_conf", "tproxy", "raw"})
    document: dict[str, Yaml] = {**plain, "datastore_location": "/var/lib/one/datastores"}
    for name in ("ip_bridge_conf", "ovs_bridge_conf", "ip_link_conf"):
        if options := getattr(settings, name):
            document[name] = options
    if proxies := (*((onegate,) if onegate is not None else ()), *settings.tproxy):
        document["tproxy"] = [_entry(each) for each in proxies]
    return render({**document, **settings.raw}, Keys.SYMBOLS)


def _entry(proxy: Tproxy) -> dict[str, Yaml]:
    entry: dict[str, Yaml] = proxy.model_dump(exclude={"networks"})
    return {**entry, "networks": list(proxy.networks)} if proxy.networks else entry


def problems(settings: NetworkDriverSettings, version: Version) -> Iterator[tuple[str, str]]:
    """(path below `drivers.network`, sentence) for what the drivers of that release would pass over or stumble on."""
    seen: dict[int, int] = {}
    for index, proxy in enumerate(settings.tproxy):
        first = seen.setdefault(proxy.service_port, index)
        if first != index:
            sentence = f"is that of tproxy[{first}] too, and a second one is passed over: join their networks, or choose another port"
            yield f"tproxy[{index}].servicePort", sentence
        if reason := why_no_remote(proxy.remote_addr, version):
            yield f"tproxy[{index}].remoteAddr", reason
    for name, value in settings.raw.items():
        if name in NetworkDriverSettings.model_fields and name != "raw":
            yield f"raw.{name}", f"is decided by a typed setting; set drivers.network.{to_camel(name)} instead"
        elif reason := _FIXED.get(name):
            yield f"raw.{name}", f"cannot be changed: {reason}; remove it"
        elif name not in _NAMES[version]:
            yield f"raw.{name}", RELEASES[version].unread_of(name, FILE, _NAMES)
        elif name == "bridge_conf":
            yield from _bridge_conf(value)


def why_no_remote(address: str, version: Version) -> str | None:
    """Why no proxy connects to that address, in a sentence.

    The drivers pass over an entry whose address is, or resolves to, none of IPv4. 6.10 resolves nothing.
    """
    try:
        found = ip_address(address)
    except ValueError:
        if version is Version.V6_10:
            return (
                f"{address} is a name: OpenNebula 6.10 takes an IPv4 address alone, and no proxy would start; give that"
            )
        return None
    if not isinstance(found, IPv4Address):
        return f"{address} is an IPv6 address: the hosts' proxies connect by IPv4 alone; give an IPv4 address"
    if found.is_unspecified or found.is_link_local or found.is_multicast:
        return f"{address} is no address that a host connects to; give that of the service"
    return None


def _bridge_conf(value: Any) -> Iterator[tuple[str, str]]:
    known = f"{', '.join(_BRIDGE_CONF)}; all else goes to drivers.network.ipBridgeConf"
    if not isinstance(value, Mapping):
        yield "raw.bridge_conf", f"must be a mapping of brctl's names, with a number, true or false: {known}"
        return
    for name, option in value.items():
        if name not in _BRIDGE_CONF:
            yield f"raw.bridge_conf.{name}", f"is no option that the drivers translate: {known}"
        elif not isinstance(option, int):
            yield f"raw.bridge_conf.{name}", "must be a whole number, true or false"
