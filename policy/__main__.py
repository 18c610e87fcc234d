"""The rules as a Pulumi policy pack: `pulumi preview --policy-pack policy`, after `pulumi install` in this folder.

The engine's language host starts it as `python -u -m pulumi.policy ADDRESS FOLDER` in this folder, with the interpreter of
`PulumiPolicy.yaml`; `PolicyPack` serves until it is ended. Each rule of `policy/rules.py` is one policy, mandatory unless
`--policy-pack-config` says otherwise.

The pack may stand on any stack. It judges what this program's components made, by the URN and not by a label, which
could be forgotten; of other resources only Services and Ingresses that lead to oned. A rule that meets a value which
only the update brings is left to the update: Pulumi says so as an advice. It belongs to a checkout of this project: it
imports `policy` from beside it.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from policy.resource import Rule, kind_of, ours, said
from policy.rules import OF_EVERYBODY, RULES, unbudgeted


def _named(rule: Any) -> dict[str, str]:
    return {"name": rule.__name__.replace("_", "-"), "description": " ".join((inspect.getdoc(rule) or "").split())}


def _policy(rule: Rule) -> ResourceValidationPolicy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        if rule in OF_EVERYBODY or ours(args.urn):
            for sentence in said(rule, args.resource_type, args.name, args.props):
                report(sentence, None)

    return ResourceValidationPolicy(validate=validate, **_named(rule))


def _budgets(args: StackValidationArgs, report: ReportViolation) -> None:
    found = [
        (each.resource_type, each.name, each.props)
        for each in args.resources
        if ours(each.urn) or kind_of(each.resource_type) == "PodDisruptionBudget"
    ]
    for sentence in said(lambda *_: unbudgeted(found), "", "stack", {}):
        report(sentence, None)


PolicyPack(
    name="opennebula-on-kubernetes",
    enforcement_level=EnforcementLevel.MANDATORY,
    policies=[*(_policy(rule) for rule in RULES), StackValidationPolicy(validate=_budgets, **_named(unbudgeted))],
)
