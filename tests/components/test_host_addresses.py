"""/etc/hosts of the containers that open consoles."""

from __future__ import annotations

from components.host_addresses import text


def test_names_of_oned_at_their_addresses() -> None:
    assert text({}).splitlines() == ["127.0.0.1 localhost", "::1 localhost"]
    addresses = {"kvm-1": "192.0.2.1", "Kvm_2.example.com": "192.0.2.2", "six": "2001:db8::6"}
    assert text(addresses).splitlines()[2:] == ["192.0.2.1 kvm-1", "192.0.2.2 Kvm_2.example.com", "2001:db8::6 six"]


def test_names_that_dns_knows_are_left_to_it() -> None:
    assert len(text({"known.example.com": "known.example.com", "other": "other.example.com"}).splitlines()) == 2
