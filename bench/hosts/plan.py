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
    Aim("prepare and register, less start, to floor", "prepared.ratio to floor", 2, "times"),
    Aim("prepare and register, to Ansible forks 5", "prepared.ratio to ansible", 0.1, "times"),
    Aim("state a host, both resources", "prepared.state", 4096, "bytes"),
    Aim("memory a host, 1,000 over 100", "memory", 0.5, "MiB"),
)

# Measured on another day on the same kind of machine, with a real oned 7.4.0 (facts of the project). Registration only.
QUOTED = {
    "Terraform provider 1.5.0, default": {"hosts": 100, "create": 103.0, "no-op": 1.7, "destroy": 103.0},
    "Terraform provider 1.5.0, parallelism 100": {"hosts": 100, "create": 13.5, "no-op": 1.9, "destroy": 15.1},
    "`onehost create` loop": {"hosts": 100, "create": 41.0},
}

LACKS = {
    "floor": "no state, no preview, no drift, no retry, no adoption",
    "ssh and XML-RPC loop": "the same, and one host after the other",
    "Ansible, forks 5": "no state, no preview of registration, no drift",
    "Ansible, forks 50": "no state, no preview of registration, no drift",
}
