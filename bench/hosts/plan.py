"""What is measured, and what it should be: contenders, aims, and figures of others that are quoted and not measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Aim:
    """`figure` is a path into the results; `limit` what it should not exceed. `what` for people."""

    what: str
    figure: str
    limit: float
    unit: str = "s"


AIMS = (
    Aim("register 100, create", "registration.100.ours.create", 8),
    Aim("register 100, no-op", "registration.100.ours.no-op", 3.5),
    Aim("register 100, destroy", "registration.100.ours.destroy", 8),
    Aim("register 1,000, create", "registration.1000.ours, no checkpoints.create", 60),
    Aim("register 1,000, no-op", "registration.1000.ours, no checkpoints.no-op", 12),
    Aim("register 1,000, destroy", "registration.1000.ours, no checkpoints.destroy", 40),
    Aim("growth, 50 to 400, create", "growth", 1.15, "exponent"),
    Aim("oned's calls at 100 hosts, over two a host", "oned.calls over 2 a host", 5, "calls"),
    Aim("connections to oned at once", "oned.connections", 8, "connections"),
    Aim("prepare and register, less start, to floor", "prepared.ratios.floor", 2, "times"),
    Aim("the same, to Ansible forks 5", "prepared.ratios.Ansible, forks 5", 0.1, "times"),
    Aim(
        "the same, to Ansible with five of the steps",
        "prepared.ratios.Ansible, forks 5, five of the steps",
        0.1,
        "times",
    ),
    Aim("state a host, all resources", "prepared.state", 4096, "bytes"),
    Aim("resources a host", "prepared.resources", 2, "resources"),
    Aim("memory a host, 1,000 over 100", "memory", 0.5, "MiB"),
)

# Measured on another day on the same kind of machine, with a real oned 7.4.0 (facts of the project). Registration only.
QUOTED = {
    "Terraform provider 1.5.0, default": {"hosts": 100, "create": 103.0, "no-op": 1.7, "destroy": 103.0},
    "Terraform provider 1.5.0, parallelism 100": {"hosts": 100, "create": 13.5, "no-op": 1.9, "destroy": 15.1},
    "`onehost create` loop": {"hosts": 100, "create": 41.0},
}

_ANSIBLE = "no state, no preview of registration, no drift"
LACKS = {
    "floor": "no state, no preview, no drift, no retry, no adoption",
    "ssh and XML-RPC loop": "the same, and one host after the other",
    "Ansible, forks 5": _ANSIBLE,
    "Ansible, forks 5, five of the steps": f"{_ANSIBLE}; does less than all others here",
    "Ansible, forks 50, five of the steps": f"{_ANSIBLE}; does less than all others here",
    "Ansible, forks 50, the script as one task": f"{_ANSIBLE}; nothing that Ansible's modules look after",
}
