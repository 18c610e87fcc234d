"""Raw keys, and what a release knows: one line for each mistake, and whatever is accepted can be written down."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components import fireedge_settings, hem, oneflow_settings, onegate_settings, sunstone_settings, way_back
from components.authentication import auth_entries
from components.authentication_files import ldap_file, saml_file
from components.domain import Version
from components.hosts import host_files, reachable
from components.ingress_settings import urls
from components.naming import ONEGATE
from components.oned import config_files
from components.oned_conf import parse as parse_conf
from components.versions import RELEASES
from stacks.settings import ConfigError, StackSettings, parse
from tests.examples import config
from tests.stacks.test_rules import GATE, IMAGES, LTS, problems

# What is accepted can be written


def rendered(found: StackSettings) -> dict[str, str]:
    """Every text that the graph makes of these settings, by the functions that make it there."""
    version, namespace, login = found.version, found.kubernetes.namespace, found.authentication
    gate = onegate_settings.vm_endpoint(found.onegate, urls(found.ingress).get(ONEGATE))
    oned: Any = SimpleNamespace(
        settings=found.oned,
        monitoring=found.monitoring,
        namespace_name=namespace,
        database=found.database,
        version=version,
        scheduler=found.scheduler,
        drivers=found.drivers,
        onegate_endpoint=gate,
        onegate_proxy=onegate_settings.proxy(found.onegate, found.drivers.tproxy),
        auth_entries=auth_entries(login, version),
        auth_files={},
    )
    files = config_files(oned) | host_files(reachable(found.hosts))
    if found.hem.enabled:
        files[hem.FILE] = hem.config(found.hem)
    files |= way_back.files(
        found.way_back, name=found.oned.frontend_name, oneadmin_key="ssh-rsa A", host_key="ssh-rsa B"
    )
    if login.ldap is not None:
        files["ldap"] = ldap_file(login.ldap, {})
    if login.saml is not None:
        files["saml"] = saml_file(login.saml, found.ingress.hosts.fireedge)
    flow = "http://oneflow" if found.oneflow.enabled else None
    if found.fireedge.enabled:
        files |= fireedge_settings.config_files(
            found.fireedge, version, namespace=namespace, oned_endpoint="http://oned", oneflow_endpoint=flow
        )
    if found.oneflow.enabled:
        files["oneflow"] = oneflow_settings.config_text(
            found.oneflow, version, namespace=namespace, oned_endpoint="http://oned"
        )
    if found.onegate.enabled:
        files["onegate"] = onegate_settings.config_text(
            found.onegate, version, oned_endpoint="http://oned", oneflow_endpoint=flow, url=gate
        )
    if found.sunstone.enabled:
        files["sunstone"] = sunstone_settings.config_text(
            found.sunstone, lambda *_: "http://it", oned_endpoint="http://oned", oneflow=True, fireedge=True
        )
    return files


FEATURES: tuple[dict[str, Any], ...] = (
    {},
    {"onegate": GATE, "images": IMAGES},
    {"scheduler": {"threads": 4, "drs": {}}, "oned": {"tuning": {"rpcLog": True}}},
    {
        "hem": {"enabled": False},
        "wayBack": {"enabled": True, "address": "10.0.0.2"},
        "drivers": {"kvmExec": {"vcpu": 2, "os": {}}},
    },
    LTS,
    LTS | {"onegate": GATE},
    {"onegate": GATE | {"endpoint": "http://169.254.16.9:5030"}, "images": IMAGES, "drivers": {"network": {}}},
)
_scalar = st.integers(-5, 70000) | st.sampled_from(
    ["YES", "a\\", 'a"b', "a]]>b", "a\nb", "", "\x00", "x=[1]", "#", "\ud800"]
)
_value = st.recursive(
    _scalar | st.booleans() | st.none() | st.floats(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["NAME", "POLICY", "b"]), inner),
    max_leaves=4,
)
# Words that some file decides, of every reader, and words that none knows.
_names = st.sampled_from(
    [
        *("ONEGATE_ENDPOINT", "DEFAULT_AUTH", "AUTH_MAD", "DB", "SCHED_MAD", "RPC_LOG", "PORT", "VM_MAD", "TM_MAD"),
        *("MAX_VM", "DEFAULT_SCHED", "NETWORK", "OS", "DISK", "PREDICTIVE", "X", "Y_1", "x"),
        *("debug_level", "concurrency", "host", "server", "ssl_server", "log", "vnc_proxy_cert", "port", "lang"),
        *("bridge_conf", "vxlan_mtu"),
        *("oneflow_server", "one_xmlrpc", "expire_delta", ":port", "cors", "proxy", "langs", "api_timeout", "a b"),
    ]
)
RAW_PLACES = (
    *("oned", "monitoring", "scheduler", "scheduler.drs", "drivers.kvmExec", "drivers.kvm", "drivers.lxc"),
    *("drivers.network", "hem", "sunstone"),
    *("fireedge", "fireedge.sunstone", "oneflow", "onegate"),
)


def put(values: dict[str, Any], place: str, raw: dict[str, Any]) -> None:
    """Raw keys below a place of a configuration, beside what stands there."""
    head, _, rest = place.partition(".")
    inside = values[head] = dict(values.get(head) or ({"address": "10.0.0.1"} if head == "monitoring" else {}))
    if rest:
        put(inside, rest, raw)
    else:
        inside["raw"] = raw


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(FEATURES),
    st.dictionaries(st.sampled_from(RAW_PLACES), st.dictionaries(_names, _value, max_size=2), max_size=2),
)
def test_whatever_is_accepted_can_be_written(features: dict[str, Any], raws: dict[str, dict[str, Any]]) -> None:
    values = dict(features)
    for place, raw in raws.items():
        put(values, place, raw)
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    try:
        accepted = parse(config() | texts)
    except ConfigError as error:
        assert not any("traceback" in str(problem).lower() or "\n" in str(problem) for problem in error.problems)
        return
    assert all(text.encode() for text in rendered(accepted).values())


def test_a_raw_key_that_fights_what_another_section_decides_is_a_problem_of_the_file() -> None:
    changes = {"oned": {"raw": {"ONEGATE_ENDPOINT": "http://x:5030"}}, "images": IMAGES}
    assert problems(**changes) == {}
    assert "typed settings" in problems(**changes, onegate=GATE)["oned.raw.ONEGATE_ENDPOINT"]


# One mistake is one line, at a path that stands in the file


@pytest.mark.parametrize("value", ["a]]>b", "a\x01", 1.5, True, None, [[1]], {"A": {"B": 1}}, {"a": 1}, [{"A": 1.5}]])
@pytest.mark.parametrize("place", ["oned", "monitoring", "scheduler", "drivers.kvmExec"])
def test_a_wrong_raw_value_is_one_line_with_a_plain_path(place: str, value: Any) -> None:
    changes: dict[str, Any] = {}
    put(changes, place, {"X": value})
    (path,) = problems(**changes)
    assert re.fullmatch(rf"{re.escape(place)}\.raw(\.X(\[0\]|\.[Aa])*)?", path), path


@pytest.mark.parametrize("value", [1.5, None, [[1]], {"A": 1}, ""])
def test_a_wrong_raw_value_of_a_directory_server_is_one_line_too(value: Any) -> None:
    server = {"name": "a", "host": "192.0.2.1", "base": "dc=a", "raw": {"x": value}}
    (path,) = problems(authentication={"ldap": {"servers": [server]}})
    assert path.removesuffix("[0]") == "authentication.ldap.servers[0].raw.x"


def test_half_a_character_is_told_with_its_section() -> None:
    assert "half a character" in problems(oned={"raw": {"X": "\ud800"}})["oned"]


# What a release does not know is refused by its name, also where nothing runs that would read it


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"sunstone": {"consolePort": 29876}}, "sunstone.consolePort"),
        ({"sunstone": {"publicUrl": "https://a.example"}}, "sunstone.publicUrl"),
        ({"sunstone": {"logLevel": 2, "enabled": False}}, "sunstone.logLevel"),
        ({"sunstone": {"raw": {"proxy": "x"}}}, "sunstone.raw"),
        ({"images": IMAGES | {"sunstone": "registry.example/one/sunstone:6.10.5"}}, "images.sunstone"),
        ({"scheduler": {"raw": {"MAX_VM": 3}}}, "scheduler.raw.MAX_VM"),
        ({"scheduler": {"raw": {"SCHED_INTERVAL": 3}}}, "scheduler.raw.SCHED_INTERVAL"),
        ({"oned": {"raw": {"SCHED_INTERVAL": 3}}}, "oned.raw.SCHED_INTERVAL"),
        ({"oned": {"raw": {"DEFAULT_CDROM_DEVICE_PREFIX": "hd"}}}, "oned.raw.DEFAULT_CDROM_DEVICE_PREFIX"),
    ],
)
def test_settings_of_6_10_are_refused_with_7_4(changes: dict[str, Any], path: str) -> None:
    found = problems(**changes)
    assert list(found) == [path]
    assert "OpenNebula 7.4" in found[path]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"oneflow": {"enabled": False, "vrNameTemplate": "a"}}, "oneflow.vrNameTemplate"),
        ({"fireedge": {"enabled": False, "sunstone": {"twoFactor": True}}}, "fireedge.sunstone.twoFactor"),
        ({"scheduler": {"raw": {"SCHED_RETRY_TIME": 3}}}, "scheduler.raw.SCHED_RETRY_TIME"),
        ({"oned": {"raw": {"LIVE_RESCHEDS": 1}}}, "oned.raw.LIVE_RESCHEDS"),
        ({"oned": {"raw": {"MAC_GLOBAL_SPACE": "YES"}}}, "oned.raw.MAC_GLOBAL_SPACE"),
    ],
)
def test_settings_of_7_4_are_refused_with_6_10(changes: dict[str, Any], path: str) -> None:
    found = problems(**LTS | changes)
    assert list(found) == [path]
    assert "6.10" in found[path]


def test_what_nobody_set_is_no_setting() -> None:
    assert problems(sunstone={"enabled": False}) == {}
    assert problems(**LTS, scheduler={"raw": {"MAX_VM": 3}}) == {}


@pytest.mark.parametrize(
    ("section", "raw", "words"),
    [
        ("hem", {"some_key": "x"}, "does not read some_key"),
        ("hem", {"concurrency": 3}, "typed settings"),
        ("sunstone", {"some_key": "x"}, "does not read some_key"),
        ("sunstone", {"port": 80}, "typed settings"),
        ("sunstone", {"token_remote_support": "x"}, "secret"),
    ],
)
def test_a_raw_key_that_nobody_reads_is_refused(section: str, raw: dict[str, Any], words: str) -> None:
    changes = dict(LTS)
    put(changes, section, raw)
    assert words in problems(**changes)[f"{section}.raw.{next(iter(raw))}"]


def test_a_raw_key_that_sunstone_reads_is_taken() -> None:
    assert problems(**LTS | {"sunstone": {"enabled": True, "raw": {"vnc_proxy_cert": "/x", "mapped_ips": True}}}) == {}


# The escape hatch leads around no rule


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("TM_MAD", "-t 15 -d lvm", "lvm: its scripts run lvcreate"),
        ("TM_MAD", "-t 15 -dshared,fs_lvm_ssh", "sudo"),
        ("TM_MAD", "--tm-types=shared,netapp", "netapp"),
        ("DATASTORE_MAD", "-t 15 -d fs,ceph,dev -s shared", "dev: its images are block devices"),
        ("DATASTORE_MAD", "-t 15 -d fs -s shared,fs_lvm", "fs_lvm"),
    ],
)
def test_drivers_that_the_pod_cannot_run_do_not_come_in_raw(name: str, arguments: str, words: str) -> None:
    found = problems(oned={"raw": {name: {"EXECUTABLE": "one_x", "ARGUMENTS": arguments}}})
    assert list(found) == [f"oned.raw.{name}.ARGUMENTS"]
    assert words in found[f"oned.raw.{name}.ARGUMENTS"]


def test_other_drivers_come_in_raw() -> None:
    lists = {"TM_MAD": "-t 15 -d shared,local,own,lvm_of_mine", "DATASTORE_MAD": "-t 9 -d fs,restic,own -s shared,own"}
    raw = {name: {"EXECUTABLE": "one_x", "ARGUMENTS": arguments} for name, arguments in lists.items()}
    assert problems(oned={"raw": raw}) == {}


@pytest.mark.parametrize("driver", ["nosuch", "ldap", "server_cipher", "", 1])
def test_a_default_login_must_be_loaded(driver: Any) -> None:
    assert "authentication.default" in problems(oned={"raw": {"DEFAULT_AUTH": driver}})["oned.raw.DEFAULT_AUTH"]
    assert problems(oned={"raw": {"DEFAULT_AUTH": "x509"}}) == {}


# oned.conf and monitord.conf: only what the daemon reads, and lists whole

VM = {"NAME": "kvm", "TYPE": "kvm", "EXECUTABLE": "one_vmm_exec", "ARGUMENTS": "-t 15 -r 0 kvm"}
TM = {"NAME": "mine", "LN_TARGET": "NONE", "CLONE_TARGET": "SYSTEM", "SHARED": "YES"}
IM = {"NAME": "kvm", "EXECUTABLE": "one_im_ssh", "ARGUMENTS": "-r 3 -t 15 -w 90 kvm"}


def raw(section: str, entries: dict[str, Any]) -> dict[str, str]:
    changes: dict[str, Any] = {}
    put(changes, section, entries)
    return problems(**changes)


@pytest.mark.parametrize("section", ["oned", "monitoring"])
@pytest.mark.parametrize("value", [1, {"A": 1}, ["x"]])
def test_a_key_that_the_daemon_does_not_read_is_refused_in_any_shape(section: str, value: Any) -> None:
    ((path, text),) = raw(section, {"NOSUCH": value}).items()
    assert path == f"{section}.raw.NOSUCH"
    assert "OpenNebula 7.4 does not know NOSUCH" in text


def test_a_typo_is_told_with_what_may_be_meant() -> None:
    assert "Is MAX_CONN meant?" in raw("oned", {"MAX_CON": 3})["oned.raw.MAX_CON"]
    assert "Is MANAGER_TIMER meant?" in raw("monitoring", {"MANAGER_TIMERS": 3})["monitoring.raw.MANAGER_TIMERS"]
    # Monitoring's own keys are none of oned's.
    assert list(raw("oned", {"MONITORING_INTERVAL_HOST": 60})) == ["oned.raw.MONITORING_INTERVAL_HOST"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("DATASTORE_LOCATION", "datastores"), ("SCRIPTS_REMOTE_DIR", "sudo rules"), ("ONE_KEY", "ConfigMap")],
)
def test_paths_that_others_rely_on_are_fixed(name: str, words: str) -> None:
    ((path, text),) = raw("oned", {name: "/elsewhere"}).items()
    assert path == f"oned.raw.{name}"
    assert text.startswith("cannot be changed: ") and words in text


@pytest.mark.parametrize(
    ("section", "name", "entries", "path", "words"),
    [
        ("oned", "VM_MAD", [{"NAME": "kvm"}], "[0]", "lacks ARGUMENTS, EXECUTABLE, TYPE"),
        ("oned", "VM_MAD", [VM, VM | {"NAME": "lxc", "EXECUTABLE": " "}], "[1]", "lacks EXECUTABLE"),
        ("oned", "VM_MAD", [VM, VM], "[1]", "kvm is already entry [0]"),
        ("oned", "VM_MAD", ["kvm"], "[0]", "is a vector in this list"),
        ("oned", "VM_MAD", [VM | {"TYPE": "vbox"}], "[0].TYPE", "KVM or QEMU or XML or XEN"),
        ("oned", "TM_MAD_CONF", [{"NAME": "x"}], "[0]", "lacks CLONE_TARGET, LN_TARGET, SHARED"),
        ("oned", "TM_MAD_CONF", [TM | {"LN_TARGET": "THERE"}], "[0].LN_TARGET", "NONE or SELF or SYSTEM"),
        ("oned", "TM_MAD_CONF", [TM | {"TM_MAD_SYSTEM": "ssh"}], "[0].TM_MAD_SYSTEM", "LN_TARGET_SSH"),
        ("oned", "VN_MAD_CONF", [{"NAME": "x"}], "[0]", "lacks BRIDGE_TYPE"),
        ("oned", "DS_MAD_CONF", [{"REQUIRED_ATTRS": ""}], "[0]", "lacks NAME"),
        ("oned", "VM_RESTRICTED_ATTR", [{"NAME": "x"}], "[0]", "a plain value"),
        ("oned", "API_LIST_ORDER", {"A": 1}, "", "a plain value"),
        ("monitoring", "IM_MAD", [{"NAME": "kvm"}], "[0]", "lacks ARGUMENTS, EXECUTABLE"),
    ],
)
def test_an_entry_that_the_daemon_would_not_take_is_refused(
    section: str, name: str, entries: Any, path: str, words: str
) -> None:
    ((found, text),) = raw(section, {name: entries}).items()
    assert found == f"{section}.raw.{name}{path}"
    assert words in text


def test_whole_entries_are_accepted() -> None:
    assert raw("oned", {"VM_MAD": [VM], "TM_MAD_CONF": [TM], "VM_RESTRICTED_ATTR": ["CONTEXT/FILES"]}) == {}
    modes = {"TM_MAD_SYSTEM": "ssh", "LN_TARGET_SSH": "SYSTEM", "CLONE_TARGET_SSH": "SYSTEM", "DISK_TYPE_SSH": "FILE"}
    assert raw("oned", {"TM_MAD_CONF": [TM | modes]}) == {}
    assert raw("monitoring", {"IM_MAD": [IM]}) == {}


@pytest.mark.parametrize("version", list(Version))
def test_the_program_writes_nothing_that_a_release_does_not_read(version: Version) -> None:
    every = dict.fromkeys(("backlog", "keepaliveTimeout", "keepaliveCalls", "timeout", "timer"), 5)
    tuning = every | {"backlog": 30, "messageSize": 2**20, "rpcLog": True, "datastoreInterval": 5, "marketInterval": 5}
    gate = {"onegate": GATE, "images": (LTS if version is Version.V6_10 else {"images": IMAGES})["images"]}
    texts = {"oned": {"tuning": tuning}, "scheduler": {"liveRescheds": True}, **gate}
    monitored = {"address": "10.0.0.1", "timer": 5, "hostHistory": 5, "vmHistory": 5}
    found = parse(
        config()
        | {"version": version.value}
        | {key: json.dumps(value) for key, value in (texts | {"monitoring": monitored}).items()}
    )
    files = rendered(found)
    for file, known in (("oned.conf", RELEASES[version].oned_keys), ("monitord.conf", RELEASES[version].monitord_keys)):
        assert {name for name, _ in parse_conf(files[file])} <= known
