"""/etc/hosts of the containers that open consoles."""

from __future__ import annotations

from typing import Any

from components.domain import Kind
from components.host_addresses import text
from components.host_settings import LxcHost

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


def host(name: str, address: str | None) -> Any:
    return LxcHost(name=name, address=address, host_key=KEY, kind=Kind.LXC)


def test_names_of_oned_at_their_addresses() -> None:
    assert text(()).splitlines() == ["127.0.0.1 localhost", "::1 localhost"]
    hosts = [host("kvm-1", "192.0.2.1"), host("Kvm_2.example.com", "192.0.2.2"), host("six", "2001:db8::6")]
    assert text(hosts).splitlines()[2:] == ["192.0.2.1 kvm-1", "192.0.2.2 Kvm_2.example.com", "2001:db8::6 six"]


def test_names_that_dns_knows_are_left_to_it() -> None:
    assert len(text([host("known.example.com", None), host("other", "other.example.com")]).splitlines()) == 2
