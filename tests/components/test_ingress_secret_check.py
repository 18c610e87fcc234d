"""The certificate of kind secret, asked of a Kubernetes API on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.ingress_secret_check import check_secret
from components.registration.kube import Cluster
from tests.components.ingress_examples import NOW, pair, settings
from tests.registration.kubeapi import NAMESPACE, KubeApi

NAMES = ("cloud.example", "api.example")


@pytest.fixture
def api() -> KubeApi:
    return KubeApi()


@pytest.fixture
def cluster(api: KubeApi, tmp_path: Path) -> Iterator[Cluster]:
    with api.running(tmp_path) as kubeconfig:
        yield Cluster(kubeconfig=kubeconfig, context=None, namespace=NAMESPACE)


def looked(cluster: Cluster, **changes: Any) -> tuple[dict[str, str], list[str]]:
    """(problems by path, what could not be seen)."""
    unseen: list[str] = []
    return dict(check_secret(settings(**changes), cluster, unseen.append, NOW)), unseen


def secret(*names: str, **dates: int) -> dict[str, str]:
    certificate, key = pair(*names, **dates)
    return {"tls.crt": certificate, "tls.key": key}


def test_a_certificate_for_the_names_is_fine(api: KubeApi, cluster: Cluster) -> None:
    api.secrets["one-tls"] = secret(*NAMES)
    assert looked(cluster) == ({}, [])


def test_a_missing_secret_is_refused_with_the_command_that_makes_it(cluster: Cluster) -> None:
    found, unseen = looked(cluster)
    assert unseen == [] and list(found) == ["ingress.tls.name"]
    assert "there is no Secret one-tls in namespace opennebula" in found["ingress.tls.name"]
    assert "create secret tls one-tls" in found["ingress.tls.name"]


def test_a_namespace_that_this_run_makes_is_no_mistake(api: KubeApi, cluster: Cluster) -> None:
    api.namespaces = set()
    found, (unseen,) = looked(cluster)
    assert found == {} and "not there yet" in unseen and "create secret tls" in unseen


def test_a_namespace_that_may_not_be_read_is_taken_to_be_there(api: KubeApi, cluster: Cluster) -> None:
    api.refuse = lambda _verb, path: 403 if path.endswith(f"/namespaces/{NAMESPACE}") else 0
    found, unseen = looked(cluster)
    assert list(found) == ["ingress.tls.name"] and unseen == []


def test_names_that_it_does_not_cover_dates_and_keys_are_told(api: KubeApi, cluster: Cluster) -> None:
    api.secrets["one-tls"] = secret("cloud.example")
    found, _ = looked(cluster)
    assert found == {"ingress.hosts.api": "the certificate does not cover api.example; it is for cloud.example"}
    api.secrets["one-tls"] = secret(*NAMES, begins=-30, ends=-2)
    assert "expired on" in looked(cluster)[0]["ingress.tls.name"]
    api.secrets["one-tls"] = secret(*NAMES) | {"tls.key": pair(*NAMES, ends=31)[1]}
    text = looked(cluster)[0]["ingress.tls.name"]
    assert "is not the key of the certificate" in text and "PRIVATE KEY" not in text


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"password": "x"}, "has no tls.crt and no tls.key"),
        ({"tls.crt": "nonsense", "tls.key": "nonsense"}, "must be PEM"),
    ],
)
def test_a_secret_of_another_kind_is_told(api: KubeApi, cluster: Cluster, data: dict[str, str], says: str) -> None:
    api.secrets["one-tls"] = data
    found, unseen = looked(cluster)
    assert list(found) == ["ingress.tls.name"] and says in found["ingress.tls.name"] and unseen == []


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_cluster_that_does_not_tell_is_no_mistake(api: KubeApi, cluster: Cluster, status: int) -> None:
    api.refuse = lambda _verb, _path: status
    found, (unseen,) = looked(cluster)
    assert found == {} and "could not be looked at" in unseen and str(status) in unseen


def test_no_cluster_and_no_kubeconfig_are_no_mistakes(tmp_path: Path, api: KubeApi) -> None:
    with api.running(tmp_path) as kubeconfig:
        pass
    for path in (kubeconfig, str(tmp_path / "missing")):
        found, (unseen,) = looked(Cluster(kubeconfig=path, context=None, namespace=NAMESPACE))
        assert found == {} and "could not be looked at" in unseen


@pytest.mark.parametrize(
    "changes",
    [
        {"enabled": False},
        {"tls": {"kind": "secret", "name": "one-tls", "check": False}},
        {"tls": {"kind": "certManager", "issuer": "mine"}},
    ],
)
def test_nobody_is_asked_for_other_kinds_or_when_the_settings_say_so(
    changes: dict[str, Any], cluster: Cluster, api: KubeApi
) -> None:
    assert looked(cluster, **changes) == ({}, [])
    assert api.requests == []
