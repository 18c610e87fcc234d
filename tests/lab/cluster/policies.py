"""Network policies to try on real packets: examples, and any that the lab's pods can tell apart."""

from __future__ import annotations

import random
from typing import Any

from tests.lab.cluster.packets import INSTANCE


def rule(name: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def deny(namespace: str) -> dict[str, Any]:
    return rule("deny-all", namespace, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})


X = {"podSelector": {"matchLabels": {"app": "x"}}}
BOTH = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "both directions, sending allowed": [rule("both", "a", {**BOTH, "egress": [{"ports": [{"port": 80}]}]})],
    "both directions, receiving allowed": [rule("both", "a", {**BOTH, "ingress": [{"ports": [{"port": 80}]}]})],
    "both ends": [
        deny("a"),
        rule(
            "out",
            "a",
            {
                **X,
                "policyTypes": ["Egress"],
                "egress": [{"to": [{"podSelector": {}}], "ports": [{"port": 80}, {"port": 81}]}],
            },
        ),
        rule(
            "in",
            "a",
            {"podSelector": {"matchLabels": {"app": "y"}}, "ingress": [{"from": [X], "ports": [{"port": 81}]}]},
        ),
    ],
    "named port": [rule("in", "a", {**X, "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": "web"}]}]})],
    "named port of udp": [rule("in", "a", {**X, "ingress": [{"ports": [{"protocol": "UDP", "port": "web-udp"}]}]})],
    "range": [rule("in", "a", {**X, "ingress": [{"ports": [{"port": 81, "endPort": 8999}]}]})],
    "other namespace": [
        rule("in", "a", {**X, "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "blue"}}}]}]})
    ],
    "one pod of another namespace": [
        rule(
            "out",
            "b",
            {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"namespaceSelector": {}, **X}]}]},
        )
    ],
    "expression": [
        rule(
            "in",
            "a",
            {
                "podSelector": {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]},
                "ingress": [{"from": [{"podSelector": {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}}]}],
            },
        )
    ],
    "block": [rule("in", "a", {**X, "ingress": [{"from": [{"ipBlock": {"cidr": f"{INSTANCE.root_ip}/32"}}]}]})],
    "block with a hole": [
        rule(
            "out",
            "a",
            {
                **X,
                "policyTypes": ["Egress"],
                "egress": [
                    {
                        "to": [
                            {
                                "ipBlock": {
                                    "cidr": "10.0.0.0/8",
                                    "except": [str(INSTANCE.pods), str(INSTANCE.hypervisors)],
                                }
                            }
                        ]
                    }
                ],
            },
        )
    ],
}


def any_policy(chance: random.Random, number: int) -> dict[str, Any]:
    """One policy of one or both directions, made of everything that the lab's pods can tell apart."""
    selectors = [{}, {"matchLabels": {"app": "x"}}, {"matchLabels": {"app": "y"}}, {"matchLabels": {"tier": "front"}}]

    def rules(side: str) -> list[dict[str, Any]]:
        peers = [
            {"podSelector": chance.choice(selectors)},
            {"namespaceSelector": chance.choice([{}, {"matchLabels": {"team": "blue"}}])},
            {"namespaceSelector": {}, "podSelector": chance.choice(selectors)},
            {"ipBlock": {"cidr": chance.choice([f"{INSTANCE.root_ip}/32", str(INSTANCE.hypervisors)])}},
        ]
        ports = [
            {"port": chance.choice([80, 81, 8080])},
            {"port": 80, "endPort": chance.choice([81, 9000])},
            {"protocol": "UDP", "port": chance.choice([53, 80])},
        ]
        found = []
        for _ in range(chance.randint(0, 2)):
            each = {side: chance.sample(peers, chance.randint(1, 2))} if chance.random() < 0.8 else {}
            if chance.random() < 0.7:
                # Upstream's limit, said in lab/cluster/policy.py.
                named = [{"port": "web"}] if side in each else []
                each["ports"] = chance.sample([*ports, *named], chance.randint(1, 2))
            found.append(each)
        return found

    types = chance.choice([["Ingress"], ["Egress"], ["Ingress", "Egress"]])
    spec: dict[str, Any] = {"podSelector": chance.choice(selectors), "policyTypes": types}
    spec |= {"ingress": rules("from")} if "Ingress" in types else {}
    spec |= {"egress": rules("to")} if "Egress" in types else {}
    return rule(f"any-{number}", chance.choice(["a", "a", "b"]), spec)
