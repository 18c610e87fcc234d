"""What is allowed and seldom meant: told as warnings of a preview and of an up, refused by neither.

For what depends on something that the configuration does not say: datastores made by hand, programs installed by hand.
Pure. What cannot work in any case is a rule of `stacks/problems.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from components import datastore_rules
from components.authentication_files import ACS_PATH
from components.datastore_settings import CephDatastore
from stacks.problem import Problem

if TYPE_CHECKING:
    from stacks.settings import StackSettings


def advice(settings: StackSettings) -> Iterator[Problem]:
    """For settings that are sound."""
    yield from _way_back(settings)
    yield from _ceph_clients(settings)
    yield from _acs(settings)


def _way_back(settings: StackSettings) -> Iterator[Problem]:
    if settings.way_back.enabled or not settings.hosts:
        return
    if copied := datastore_rules.copied_through_the_control_plane(settings.datastores):
        names = " and ".join(copied)
        text = (
            f"is false, so VMs with disks cannot start from the datastores that oned makes at its first boot ({names}): their "
            f"images are copied by ssh to and from the control plane. Set it to true, or declare {names} with kind nfs or ceph"
        )
        yield Problem("wayBack.enabled", text)


def _ceph_clients(settings: StackSettings) -> Iterator[Problem]:
    clients = {host.name for host in settings.hosts if host.ceph}
    for index, item in enumerate(settings.datastores):
        if not isinstance(item, CephDatastore):
            continue
        for number, name in enumerate(item.bridge_list):
            if name not in clients:
                text = f"{name} has no ceph: true; unless Ceph's client programs are installed there by hand, oned cannot work on it"
                yield Problem(f"datastores[{index}].bridgeList[{number}]", text)


def _acs(settings: StackSettings) -> Iterator[Problem]:
    saml = settings.authentication.saml
    if saml is None or saml.acs_url is None:
        return
    found, host = urlsplit(saml.acs_url), settings.ingress.hosts.fireedge if settings.ingress.enabled else None
    if found.path != ACS_PATH or (host is not None and found.hostname != host):
        text = (
            f"FireEdge takes logins at https://{host or 'HOST'}{ACS_PATH} and the driver refuses an assertion that is for another "
            "address; set it so unless a proxy of yours leads there"
        )
        yield Problem("authentication.saml.acsUrl", text)
