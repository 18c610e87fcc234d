"""What a firewall lets in follows the configuration, with firewalls that keep state; run by sh, without root.

nftables is real in tests/engine/bootstrap/families/test_nftables.py.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.bootstrap.script import Firewall, render
from tests.bootstrap.examples import plan

_CALL = "main </dev/null\n"
_PROGRAMS = ("firewall-cmd", "firewall-offline-cmd", "ufw", "nft", "iptables", "iptables-legacy", "systemctl")
# the default zone is public, rules of another one have files of their own
_FIREWALLD = r"""
file=$PLACE/running
if [ "$1" = --permanent ]; then file=$PLACE/permanent; shift; fi
case $1 in
    --zone=public) shift ;;
    --zone=*)
        grep -qx "${1#--zone=}.*" "$PLACE/zones" || { echo "Error: INVALID_ZONE: ${1#--zone=}"; exit 112; }
        file=$file-${1#--zone=}
        shift
        ;;
esac
touch "$file"
case $1 in
    --state) echo running ;;
    --get-default-zone) echo public ;;
    --get-active-zones) cat "$PLACE/zones" 2>/dev/null || printf 'public\n  interfaces: eth0\n' ;;
    --query-rich-rule=*) grep -qxF "${1#*=}" "$file" ;;
    --add-rich-rule=*) [ ! -e "$PLACE/stuck" ] && echo "${1#*=}" >>"$file" ;;
    --remove-rich-rule=*)
        [ ! -e "$PLACE/stuck" ] || { echo 'no answer on D-Bus'; exit 254; }
        grep -vxF "${1#*=}" "$file" >"$file.new"
        mv "$file.new" "$file"
        ;;
esac
"""
# `show added` as ufw's parser.py writes rules (get_command; 0.36.2)
_UFW = r"""
touch "$PLACE/ufw"
case $* in
    status) echo 'Status: active' ;;
    'show added') cat "$PLACE/ufw" ;;
    'allow proto tcp from 0.0.0.0/0 to any port '*) echo "ufw allow $9/tcp comment 'opennebula'" >>"$PLACE/ufw" ;;
    'allow proto tcp from '*' comment opennebula')
        echo "ufw allow from ${5%/32} to any port $9 proto tcp comment 'opennebula'" >>"$PLACE/ufw"
        ;;
    '--force delete '*)
        shift 2
        grep -v "^ufw $* comment 'opennebula'\$" "$PLACE/ufw" >"$PLACE/ufw.new"
        mv "$PLACE/ufw.new" "$PLACE/ufw"
        ;;
    *) exit 2 ;;
esac
"""


def _run(
    place: Path,
    firewall: Firewall | None,
    call: str = "firewall",
    *,
    check: bool = True,
    kind: str = "lxc",
    **programs: str,
) -> subprocess.CompletedProcess[str]:
    """A step of the script where these programs and no others of their kind are found."""
    tools = place / "tools"
    tools.mkdir(exist_ok=True)
    for name, text in programs.items():
        tool = tools / name.replace("_", "-")
        tool.write_text(f'#!/bin/sh\nPLACE={place}\necho "{tool.name} $*" >>{place}/calls\n{text}\n')
        tool.chmod(0o755)
    hidden = "|".join(name for name in _PROGRAMS if name.replace("-", "_") not in programs)
    functions = render(plan(kind=kind, firewall=firewall)).removesuffix(_CALL)
    script = (
        f"{functions}STEP=here\nPATH={tools}:$PATH; WORK={place}; LOG={place}/log; MADE={place}/made; drop_block() {{ :; }}\n"
        f'command() {{ case $2 in {hidden}) return 1 ;; esac; [ -x "$(which "$2")" ]; }}\n'
        f"{call}\nsettle\nprintf 'changes=%s\\n' \"$CHANGES\"\n"
    )
    return subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, timeout=30, check=check)


def _rule(network: str, port: str) -> str:
    return f'rule family="ipv4" source address="{network}" port port="{port}" protocol="tcp" accept'


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


_ALL, _TEN = Firewall(sources=("0.0.0.0/0",)), Firewall(sources=("10.0.0.0/8",))
_OWN = _rule("192.0.2.0/24", "5900-32767")
_TEN_RULES = [_rule("10.0.0.0/8", "22"), _rule("10.0.0.0/8", "5900-32767")]


def test_firewalld_shuts_what_narrower_sources_leave_out_and_keeps_an_operators_rules(tmp_path: Path) -> None:
    for name in ("running", "permanent"):
        (tmp_path / name).write_text(f"{_OWN}\n")
    wide = Firewall(sources=("0.0.0.0/0", "192.0.2.0/24"))
    for firewall in (wide, Firewall(sources=("10.0.0.0/8",))):
        assert _run(tmp_path, firewall, firewall_cmd=_FIREWALLD).stdout == "changes=here\n"
    # collapsed into the wide one, the operator's own network never was a rule of ours
    for name in ("running", "permanent"):
        assert sorted(_lines(tmp_path / name)) == sorted([_OWN, *_TEN_RULES])
    assert sorted(_lines(tmp_path / "made")) == sorted(
        ["firewall firewalld", *(f"firewalld public {rule}" for rule in _TEN_RULES)]
    )
    assert _run(tmp_path, _TEN, firewall_cmd=_FIREWALLD).stdout == "changes=\n"


@pytest.mark.parametrize("had", [("running", "permanent"), ("permanent",)])
def test_a_rule_that_an_operator_had_is_wanted_and_not_recorded_as_ours(tmp_path: Path, had: tuple[str, ...]) -> None:
    for name in had:
        (tmp_path / name).write_text(f"{_TEN_RULES[1]}\n")
    _run(tmp_path, _TEN, firewall_cmd=_FIREWALLD)
    assert set(_lines(tmp_path / "running")) == set(_TEN_RULES)
    _run(tmp_path, None, firewall_cmd=_FIREWALLD)
    assert [_lines(tmp_path / name) for name in had] == [[_TEN_RULES[1]] for _ in had]


def test_a_rule_that_does_not_go_stays_in_the_record_and_goes_with_the_next_run(tmp_path: Path) -> None:
    _run(tmp_path, _ALL, firewall_cmd=_FIREWALLD)
    (tmp_path / "stuck").touch()
    failed = _run(tmp_path, None, firewall_cmd=_FIREWALLD, check=False)
    assert "firewalld keeps a rule of ours: no answer on D-Bus; next: firewall-cmd --permanent" in failed.stderr
    assert f"firewalld public {_rule('0.0.0.0/0', '22')}" in _lines(tmp_path / "made")
    (tmp_path / "stuck").unlink()
    _run(tmp_path, None, firewall_cmd=_FIREWALLD)
    assert _lines(tmp_path / "running") == _lines(tmp_path / "permanent") == _lines(tmp_path / "made") == []


_ZONES = """\
public (default)
  interfaces: eth0
storage
  interfaces: eth1 bond0.7
control
  sources: 192.0.2.0/24
libvirt
  interfaces: virbr0
libvirt-routed
  interfaces: virbr1
docker
  interfaces: docker0
drop
  sources: ipset:banned
"""


def _zones(place: Path, text: str) -> list[str]:
    """Zones with rules, by now and for the next boot."""
    (place / "zones").write_text(text)
    _run(place, _TEN, firewall_cmd=_FIREWALLD)
    assert _run(place, _TEN, firewall_cmd=_FIREWALLD).stdout == "changes=\n"
    found = []
    for path in sorted(place.glob("running*")):
        rules = _lines(path)
        assert rules == _lines(path.with_name(path.name.replace("running", "permanent"))), path
        if rules:
            assert rules == _TEN_RULES
            found.append(path.name.removeprefix("running"))
    return found


def test_every_zone_lets_in_by_which_a_host_is_reached(tmp_path: Path) -> None:
    """Not what libvirt and Docker keep for guests, nor a list of those who are banned."""
    assert _zones(tmp_path, _ZONES) == ["", "-control", "-storage"]
    assert _zones(tmp_path, _ZONES.replace(" 192.0.2.0/24", "")) == ["", "-storage"]
    assert _run(tmp_path, None, firewall_cmd=_FIREWALLD).stdout == "changes=here\n"
    assert [_lines(path) for path in tmp_path.glob("*-*")] == [[]] * len(list(tmp_path.glob("*-*")))
    assert _lines(tmp_path / "running") == _lines(tmp_path / "made") == []


def test_a_zone_that_drops_by_itself_is_one_by_which_a_host_is_reached(tmp_path: Path) -> None:
    assert _zones(tmp_path, "drop\n  interfaces: eth0\n  sources: ipset:more\n") == ["", "-drop"]


def test_rules_in_the_record_without_a_zone_are_those_of_the_default_one(tmp_path: Path) -> None:
    """As an earlier program noted them: they stay open, and still are ours."""
    for name in ("running", "permanent", "made"):
        kind = "firewalld " if name == "made" else ""
        (tmp_path / name).write_text("".join(f"{kind}{rule}\n" for rule in _TEN_RULES))
    calls = _run(tmp_path, _TEN, firewall_cmd=_FIREWALLD).stdout
    assert calls == "changes=\n"
    assert _lines(tmp_path / "running") == _TEN_RULES
    assert not [line for line in _lines(tmp_path / "calls") if "--remove" in line]
    noted = [f"firewalld public {rule}" for rule in _TEN_RULES]
    assert sorted(_lines(tmp_path / "made")) == sorted(["firewall firewalld", *noted])
    (tmp_path / "made").write_text("".join(f"firewalld {rule}\n" for rule in _TEN_RULES))
    _run(tmp_path, None, firewall_cmd=_FIREWALLD)
    assert _lines(tmp_path / "running") == _lines(tmp_path / "made") == []


def test_a_zone_that_is_gone_has_no_rule_of_ours(tmp_path: Path) -> None:
    (tmp_path / "zones").touch()
    (tmp_path / "made").write_text(f"firewalld gone {_TEN_RULES[0]}\n")
    assert _run(tmp_path, None, firewall_cmd=_FIREWALLD).stdout == "changes=\n"
    assert _lines(tmp_path / "made") == []


@pytest.mark.parametrize(
    ("sources", "networks"),
    [
        (("0.0.0.0/0",), ["{port}/tcp"]),
        (
            ("10.0.0.5/32", "192.0.2.0/24"),
            ["from 10.0.0.5 to any port {port} proto tcp", "from 192.0.2.0/24 to any port {port} proto tcp"],
        ),
    ],
)
def test_ufw_has_the_rules_of_the_configuration_once(
    tmp_path: Path, sources: tuple[str, ...], networks: list[str]
) -> None:
    theirs = ["ufw allow 22/tcp", "ufw allow from 10.9.0.0/16 to any port 5900:32767 proto tcp comment 'ours'"]
    (tmp_path / "ufw").write_text("".join(f"{line}\n" for line in theirs))
    _run(tmp_path, Firewall(sources=("10.9.0.0/16", "172.16.0.0/12")), ufw=_UFW)
    assert _run(tmp_path, Firewall(sources=sources), ufw=_UFW).stdout == "changes=here\n"
    found = _lines(tmp_path / "ufw")
    assert found[:2] == theirs
    wanted = [
        f"ufw allow {network.format(port=port)} comment 'opennebula'"
        for port in ("22", "5900:32767")
        for network in networks
    ]
    assert found[2:] == [line for line in wanted if not line.startswith("ufw allow 22/tcp")]
    assert _run(tmp_path, Firewall(sources=sources), ufw=_UFW).stdout == "changes=\n"
    assert _run(tmp_path, None, ufw=_UFW).stdout == "changes=here\n"
    assert _lines(tmp_path / "ufw") == theirs
    assert _lines(tmp_path / "made") == []


def test_where_nothing_was_opened_and_nothing_is_managed_nothing_is_demanded(tmp_path: Path) -> None:
    """Such as a container without the right to look at its rules."""
    done = _run(
        tmp_path,
        None,
        ufw="exit 1",
        nft="echo 'Operation not permitted' >&2; exit 1",
        firewall_cmd="exit 252",
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "changes=\n", "")


def test_where_something_was_opened_a_firewall_that_does_not_tell_is_told(tmp_path: Path) -> None:
    _run(tmp_path, _TEN, ufw=_UFW)
    done = _run(tmp_path, None, ufw="echo 'ERROR: no rules' >&2; exit 1", check=False)
    assert "ufw show added does not tell its rules: ERROR: no rules" in done.stderr
    assert "firewall ufw" in _lines(tmp_path / "made")


def test_another_firewall_than_before_opens_and_the_former_one_is_shut(tmp_path: Path) -> None:
    _run(tmp_path, _TEN, ufw=_UFW)
    _run(tmp_path, _TEN, ufw=_UFW, firewall_cmd=_FIREWALLD)
    assert _lines(tmp_path / "ufw") == []
    assert _lines(tmp_path / "running") == _TEN_RULES


def test_ssh_on_its_own_port_is_opened_for_the_same_networks(tmp_path: Path) -> None:
    """This script may have come by a bastion: the control plane and the other hosts do not."""
    _run(tmp_path, Firewall(sources=("10.0.0.0/8",), ssh_port=2222), kind="kvm", firewall_cmd=_FIREWALLD)
    assert _lines(tmp_path / "running") == [_rule("10.0.0.0/8", port) for port in ("2222", "5900-32767", "49152-49215")]


_DROPS = "-P INPUT DROP\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"
_REJECTS = "-P INPUT ACCEPT\n-A INPUT -i lo -j ACCEPT\n-A INPUT -j REJECT --reject-with icmp-host-prohibited"
_BANS = "-P INPUT ACCEPT\n-A INPUT -s 192.0.2.1/32 -j DROP\n-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd"
_BY_HAND = '-A INPUT -s 10.0.0.0/8 -p tcp -m comment --comment "opennebula-by-hand" -j ACCEPT'


def _iptables(rules: str) -> str:
    return f"case $* in -V) echo 'iptables v1.8.9 (nf_tables)' ;; '-w 10 -S INPUT') cat <<'END'\n{rules}\nEND\n;; *) exit 2 ;; esac"


@pytest.mark.parametrize("rules", [_DROPS, _REJECTS])
def test_rules_of_iptables_that_nobody_keeps_are_told_with_the_command(tmp_path: Path, rules: str) -> None:
    done = _run(tmp_path, _TEN, "firewall_preflight", kind="kvm", iptables=_iptables(rules), check=False)
    assert "rules of iptables drop what comes in, and they are not kept by this program" in done.stderr
    assert "--dports 22,5900:32767,49152:49215 -m comment --comment opennebula-by-hand -j ACCEPT" in done.stderr
    unnamed = _run(tmp_path, Firewall(), "firewall_preflight", iptables=_iptables(rules), check=False)
    assert "iptables is at work, and the config names no network" in unnamed.stderr


@pytest.mark.parametrize(
    ("firewall", "rules"), [(_TEN, _BANS), (_TEN, f"{_DROPS}\n{_BY_HAND}"), (None, _DROPS), (_TEN, "-P INPUT ACCEPT")]
)
def test_rules_of_iptables_that_stand_in_nobodys_way_are_no_matter(
    tmp_path: Path, firewall: Firewall | None, rules: str
) -> None:
    assert _run(tmp_path, firewall, "firewall_preflight; firewall", iptables=_iptables(rules)).stdout == "changes=\n"


@pytest.mark.parametrize(("tables", "asked"), [("", False), ("nat\n", False), ("nat\nfilter\n", True)])
def test_the_old_iptables_is_asked_only_where_its_table_is(tmp_path: Path, tables: str, asked: bool) -> None:
    """Asking would make it."""
    legacy = "case $* in -V) echo 'iptables v1.8.9 (legacy)' ;; *) echo -P INPUT ACCEPT ;; esac"
    if tables:
        (tmp_path / "tables").write_text(tables)
    call = f"FIREWALL_TABLES={tmp_path}/tables; firewall_preflight"
    _run(tmp_path, _TEN, call, iptables=legacy, iptables_legacy=legacy)
    programs = ("iptables", "iptables-legacy")
    rules = {f"{name} -w 10 -S INPUT" for name in programs} if asked else set()
    assert set(_lines(tmp_path / "calls")) == {f"{name} -V" for name in programs} | rules


def _header(**changes: Any) -> str:
    return next(line for line in render(plan(**changes)).splitlines() if line.startswith("PLAN_SOURCES="))


def test_networks_are_written_in_one_way() -> None:
    spellings = [("10.1.0.0/16", "192.0.2.0/24", "10.0.0.0/8"), ("192.0.2.128/25", "10.0.0.0/8", "192.0.2.0/25")]
    assert {_header(firewall=Firewall(sources=each)) for each in spellings} == {
        "PLAN_SOURCES='10.0.0.0/8 192.0.2.0/24'"
    }
