"""nftables and iptables for real, in a network of their own: opened where they drop, once, whatever the networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from components.bootstrap.script import Firewall
from tests.engine.bootstrap.families.roots import Root, start

pytestmark = pytest.mark.engine

_INPUT = "type filter hook input priority 0; policy drop; tcp dport 22 accept;"
_ONE = f"table inet filter {{ chain input {{ {_INPUT} }}; }}"


@contextmanager
def _host(rules: str) -> Iterator[Root]:
    """Prepared but for its firewall, with these rules at work and in the file of the next boot."""
    with start("almalinux:9", network=True) as root:
        root.with_recorded("systemctl", "virsh")
        for name in ("nftables", "libvirtd"):
            (root.path / f"var/lib/recorded/units/{name}.service").write_text("enabled active\n")
        root.prepare(firewall=None)
        root.root(f"echo '{rules}' >/etc/nftables.conf; nft -f /etc/nftables.conf")
        yield root


def test_the_second_run_changes_nothing_whatever_the_networks() -> None:
    with _host(_ONE) as root:
        for sources in (
            ("10.0.0.0/8",),
            ("192.0.2.0/24", "10.1.0.0/16", "10.0.0.0/8", "172.16.0.0/12"),
            ("10.0.0.9/32", "10.0.0.5/32"),
            ("10.128.0.0/9", "10.0.0.0/9"),
            ("0.0.0.0/0",),
        ):
            opened = Firewall(sources=sources)
            assert root.prepare(firewall=opened).facts["changes"] == ["firewall"], sources
            assert root.prepare(firewall=opened).facts["changes"] == [], sources
        chain = root.root("nft list chain inet filter input")
        for ports in ("22", "5900-32767", "49152-49215"):
            assert f"ip saddr 0.0.0.0/0 tcp dport {ports} accept" in chain
        assert chain.count("opennebula") == 3
        assert "10." not in chain


def test_containers_have_consoles_alone_and_the_second_run_changes_nothing() -> None:
    with start("almalinux:9", network=True) as root:
        root.with_recorded("systemctl")
        (root.path / "var/lib/recorded/units/nftables.service").write_text("enabled active\n")
        root.root(f"echo '{_ONE}' >/etc/nftables.conf; nft -f /etc/nftables.conf")
        opened = Firewall(sources=("10.0.0.0/8",))
        assert "firewall" in root.prepare(kind="lxc", firewall=opened).facts["changes"]
        assert root.prepare(kind="lxc", firewall=opened).facts["changes"] == []
        assert root.root("nft list chain inet filter input").count("opennebula") == 2


def test_the_next_boot_and_narrower_networks_and_none() -> None:
    with _host(_ONE) as root:
        before = root.root("nft list ruleset; cat /etc/nftables.conf")
        root.root('nft add rule inet filter input tcp dport 80 accept comment \\"opennebula too\\"')
        root.prepare(firewall=Firewall(sources=("0.0.0.0/0",)))
        opened = Firewall(sources=("10.0.0.0/8",))
        assert root.prepare(firewall=opened).facts["changes"] == ["firewall"]
        now = root.root("nft list chain inet filter input")
        assert "0.0.0.0/0" not in now + root.root("cat /etc/nftables.conf")
        assert 'tcp dport 80 accept comment "opennebula too"' in now
        root.root("nft flush ruleset; nft -f /etc/nftables.conf")
        assert root.root("nft list chain inet filter input").count("10.0.0.0/8") == 3
        assert root.prepare(firewall=opened).facts["changes"] == []
        assert root.prepare(firewall=None).facts["changes"] == ["firewall"]
        assert root.root("nft list ruleset; cat /etc/nftables.conf") == before
        assert root.prepare(firewall=None).facts["changes"] == []


def test_every_chain_that_drops_ipv4_is_opened_and_no_other() -> None:
    six = "table ip6 filter { chain INPUT { type filter hook input priority 0; policy drop; }; };"
    four = f"table ip filter {{ chain INPUT {{ {_INPUT} }}; chain FORWARD {{ type filter hook forward priority 0; policy drop; }}; }};"
    with _host(six + four + _ONE) as root:
        opened = Firewall(sources=("10.0.0.0/8", "192.0.2.0/24"))
        assert root.prepare(firewall=opened).facts["changes"] == ["firewall"]
        for family, many in (("ip", 6), ("inet", 6), ("ip6", 0)):
            assert root.root(f"nft list ruleset {family}").count("opennebula") == many, family
        assert root.prepare(firewall=opened).facts["changes"] == []
        root.root("nft flush ruleset; nft -f /etc/nftables.conf")
        assert root.prepare(firewall=opened).facts["changes"] == []


def test_a_chain_that_the_file_does_not_make_does_not_keep_it_from_being_read_at_boot() -> None:
    with _host(_ONE) as root:
        root.root(f"nft 'table ip other {{ chain in {{ {_INPUT} }}; }}'")
        opened = Firewall(sources=("10.0.0.0/8",))
        first = root.prepare(firewall=opened)
        assert (
            "/etc/nftables.conf does not make the chain ip other in: our rules in it last until the next boot"
            in first.stdout
        )
        assert root.root("nft list table ip other").count("opennebula") == 3
        root.root("nft flush ruleset; nft -f /etc/nftables.conf")
        assert root.root("nft list ruleset").count("opennebula") == 3


def test_a_rule_of_before_gives_way_to_ours_of_now() -> None:
    with _host(_ONE) as root:
        root.root(
            'nft insert rule inet filter input ip saddr 0.0.0.0/0 tcp dport 5900-32767 accept comment \\"opennebula\\"'
        )
        root.prepare(firewall=Firewall(sources=("10.0.0.0/8",)))
        assert "0.0.0.0/0" not in root.root("nft list chain inet filter input")


def test_what_somebody_took_out_comes_back() -> None:
    with _host(_ONE) as root:
        opened = Firewall(sources=("10.0.0.0/8",))
        root.prepare(firewall=opened)
        root.root("nft flush chain inet filter input")
        assert root.prepare(firewall=opened).facts["changes"] == ["firewall"]
        assert root.root("nft list chain inet filter input").count("opennebula") == 3


def test_rules_that_iptables_keeps_by_itself_are_asked_for_by_hand_and_seen() -> None:
    opened = Firewall(sources=("10.0.0.0/8",))
    with start("debian:13", network=True) as root:
        root.root("iptables -A INPUT -p tcp --dport 22 -j ACCEPT; iptables -A INPUT -j REJECT")
        refused = root.prepare(kind="lxc", firewall=opened).complaint
        assert "rules of iptables drop what comes in" in refused
        root.assert_untouched()
        command = refused[refused.index("iptables -I") : refused.index(", and keep that")]
        assert "--dports 22,5900:32767 " in command
        root.root(command.replace("NETWORK", "10.0.0.0/8"))
        before = root.root("iptables -S")
        assert root.prepare(kind="lxc", firewall=opened).facts["firewall"] == "iptables"
        assert root.prepare(kind="lxc", firewall=opened).facts["changes"] == []
        assert root.root("iptables -S") == before


def test_a_chain_of_iptables_beside_nftables_is_opened_and_iptables_still_reads_it() -> None:
    opened = Firewall(sources=("10.0.0.0/8", "192.0.2.0/24"))
    with start("debian:13", network=True) as root:
        root.with_recorded("systemctl")
        (root.path / "var/lib/recorded/units/nftables.service").write_text("enabled active\n")
        root.root("iptables -P INPUT DROP; iptables -A INPUT -p tcp -m multiport --dports 22,80 -j ACCEPT")
        first = root.prepare(kind="lxc", firewall=opened)
        assert "firewall" in first.facts["changes"]
        assert "-A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 5900:32767" in root.root("iptables -S INPUT")
        assert root.prepare(kind="lxc", firewall=opened).facts["changes"] == []
