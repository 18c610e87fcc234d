"""Network policies and worlds for tests: written by hand, and any that hypothesis can think of."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Any

from hypothesis import strategies as st

from policy.edges import Place, Pod, World


def policy(spec: Mapping[str, Any], name: str = "p", namespace: str = "a") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": dict(spec)}


def pod(name: str, namespace: str = "a", **labels: str) -> Pod:
    return Pod(name=name, namespace=namespace, labels=labels, ports={("TCP", "http"): 8080, ("UDP", "http"): 9090})


KEYS, VALUES, NAMES = ("k", "l"), ("1", "2"), ("web", "db")
labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
selectors = st.builds(
    lambda exact, expressions: {
        **({"matchLabels": exact} if exact else {}),
        **({"matchExpressions": expressions} if expressions else {}),
    },
    labels,
    st.lists(
        st.one_of(
            st.fixed_dictionaries(
                {
                    "key": st.sampled_from(KEYS),
                    "operator": st.sampled_from(["In", "NotIn"]),
                    "values": st.lists(st.sampled_from(VALUES), min_size=1),
                }
            ),
            st.fixed_dictionaries(
                {"key": st.sampled_from(KEYS), "operator": st.sampled_from(["Exists", "DoesNotExist"])}
            ),
        ),
        max_size=1,
    ),
)
BLOCKS = [str(net) for length in (29, 30, 31, 32) for net in IPv4Network("10.0.0.0/29").subnets(new_prefix=length)]
blocks = st.builds(
    lambda cidr, holes: {"ipBlock": {"cidr": cidr, "except": holes} if holes else {"cidr": cidr}},
    st.sampled_from([*BLOCKS, "0.0.0.0/0"]),
    st.lists(st.sampled_from(BLOCKS), max_size=2),
)
peers = st.one_of(
    blocks,
    st.fixed_dictionaries({"podSelector": selectors}),
    st.fixed_dictionaries({"namespaceSelector": selectors}),
    st.fixed_dictionaries({"podSelector": selectors, "namespaceSelector": selectors}),
)


@st.composite
def port_entries(draw: st.DrawFn) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    if draw(st.booleans()):
        entry["protocol"] = draw(st.sampled_from(["TCP", "UDP"]))
    kind = draw(st.sampled_from(["any", "number", "range", "name"]))
    if kind == "name":
        entry["port"] = draw(st.sampled_from(NAMES))
    elif kind != "any":
        entry["port"] = draw(st.integers(1, 6))
        if kind == "range":
            entry["endPort"] = draw(st.integers(entry["port"], 8))
    return entry


def rules(side: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    rule = st.fixed_dictionaries(
        {}, optional={side: st.lists(peers, max_size=2), "ports": st.lists(port_entries(), max_size=2)}
    )
    return st.lists(rule, max_size=2)


policies_of_any_kind = st.lists(
    st.builds(
        lambda namespace, spec: policy(spec, namespace=namespace),
        st.sampled_from(["a", "b"]),
        st.fixed_dictionaries(
            {"podSelector": selectors},
            optional={
                "policyTypes": st.lists(st.sampled_from(["Ingress", "Egress"]), unique=True),
                "ingress": rules("from"),
                "egress": rules("to"),
            },
        ),
    ),
    max_size=3,
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    ports = st.dictionaries(
        st.tuples(st.sampled_from(["TCP", "UDP"]), st.sampled_from(NAMES)), st.integers(1, 8), max_size=2
    )
    pods = tuple(
        Pod(
            name=f"pod{number}",
            namespace=draw(st.sampled_from(["a", "b"])),
            labels=draw(labels),
            ports=draw(ports),
            address=draw(st.none() | st.sampled_from(list(IPv4Network("10.0.0.0/29")))),
        )
        for number in range(draw(st.integers(1, 3)))
    )
    networks = st.sampled_from([IPv4Network(block) for block in BLOCKS])
    places = (
        Place(name="place", network=draw(networks)),
        Place(name="node", network=IPv4Network("10.0.0.7"), node=True),
    )
    return World(pods=pods, places=places, namespaces={"a": draw(labels)})
