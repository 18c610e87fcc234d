"""What is measured, and what it should be: contenders, aims, and figures of others that are quoted and not measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

TERRAFORM = "Terraform"
"""What the names of its contenders begin with."""


@dataclass(frozen=True)
class Aim:
    """`figure` is a path into the results; `limit` what it should not exceed, or reach at `least`. `what` for people."""

    what: str
    figure: str
    limit: float
    unit: str = "s"
    least: bool = False

    def met(self, found: float) -> bool:
        return found >= self.limit if self.least else found <= self.limit


AIMS = (
    Aim("register 100, create", "registration.100.ours.create", 8),
    Aim("register 100, no-op", "registration.100.ours.no-op", 3.5),
    Aim("register 100, destroy", "registration.100.ours.destroy", 8),
    Aim("register 1,000, create", "registration.1000.ours, no checkpoints.create", 60),
    Aim("register 1,000, no-op", "registration.1000.ours, no checkpoints.no-op", 12),
    Aim("register 1,000, destroy", "registration.1000.ours, no checkpoints.destroy", 40),
    Aim("growth, 50 to 400, create", "growth", 1.15, "exponent"),
    Aim("oned's calls at 100 hosts, over two a host", "oned.without.calls over 2 a host", 5, "calls"),
    Aim("the same, a label on each", "oned.with labels.calls over 2 a host", 5, "calls"),
    Aim("connections to oned at once", "oned.with labels.connections", 8, "connections"),
    Aim("prepare and register, less start, to floor", "prepared.ratios.floor", 2, "times"),
    Aim("Ansible forks 5, the same steps, to ours", "prepared.ratios.Ansible, forks 5", 10, "times", least=True),
    Aim(
        "Ansible forks 5, five of the steps, to ours",
        "prepared.ratios.Ansible, forks 5, five of the steps",
        10,
        "times",
        least=True,
    ),
    Aim("with B: to half as much again as the waves, and 30 s", "prepared.waiting", 1, "times"),
    Aim("no-op, prepared and registered", "operations.samples.no-op", 10),
    Aim("one host more", "operations.samples.one host more", 12),
    Aim("one host in twenty dead, over a plain create", "operations.dead over create", 60),
    Aim("resume after a kill at half, to a create", "operations.resume to create", 0.6, "times"),
    Aim("state a host, all resources", "prepared.state", 4096, "bytes"),
    Aim("resources a host", "prepared.resources", 2, "resources"),
    Aim("memory a host, 1,000 over 100", "memory", 0.5, "MiB"),
    Aim("Terraform's default to ours, register 100", "terraform.default to ours", 3, "times", least=True),
    Aim("ours to Terraform tuned, register 100", "terraform.ours to tuned", 1.3, "times"),
)

# Measured on another day on the same kind of machine, with a real oned 7.4.0 (facts of the project). Registration only. Those of
# Terraform are not shown beside what a run has measured of it.
QUOTED: dict[str, dict[str, Any]] = {
    "Terraform provider 1.5.0, default": {"hosts": 100, "create": 103.0, "no-op": 1.7, "destroy": 103.0},
    "Terraform provider 1.5.0, parallelism 100": {"hosts": 100, "create": 13.5, "no-op": 1.9, "destroy": 15.1},
    "`onehost create` loop": {"hosts": 100, "create": 41.0},
}

_ANSIBLE = "no state, no preview of registration, no drift"
_TERRAFORM = "no adoption after a kill, no look for duplicates; the script is not run again when it changes"
LACKS = {
    "floor": "no state, no preview, no drift, no retry, no adoption",
    "ssh and XML-RPC loop": "the same, and one host after the other",
    "Terraform, parallelism 10": _TERRAFORM,
    "Terraform, parallelism 100": _TERRAFORM,
    "Ansible, forks 5": _ANSIBLE,
    "Ansible, forks 5, five of the steps": f"{_ANSIBLE}; does less than all others here",
    "Ansible, forks 50, five of the steps": f"{_ANSIBLE}; does less than all others here",
    "Ansible, forks 50, the script as one task": f"{_ANSIBLE}; nothing that Ansible's modules look after",
}


def quoted(contenders: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What is to be shown beside these contenders of a registration."""
    measured = any(name.startswith(TERRAFORM) for name in contenders)
    return {name: each for name, each in QUOTED.items() if not (measured and name.startswith(TERRAFORM))}
