"""What the provider reads of the configuration."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.registration.access import PodDialer, SecretCredential, UrlDialer
from components.registration.errors import AccessError, SettingsError
from components.registration.lease import LeaseLocks, ProcessLocks
from components.registration.runtime import known_secrets, runtime
from components.registration.settings import ProviderSettings
from components.registration.xmlrpc import Limits


def read(**sections: Any) -> ProviderSettings:
    texts = {
        f"opennebula:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in sections.items()
    }
    return ProviderSettings.read(texts.get)


def test_nothing_configured_means_the_kubeconfig_and_the_usual_limits() -> None:
    settings = read()
    assert (settings.kubernetes, settings.kubeconfig, settings.context, settings.url) == (True, None, None, None)
    assert settings.namespace == "opennebula"
    assert settings.limits == Limits()


def test_everything_configured() -> None:
    settings = read(
        kubernetes={"kubeconfig": "/k", "context": "c", "namespace": "one"},
        api={
            "url": "http://one:2633/RPC2",
            "connectTimeout": 1,
            "readTimeout": 2.5,
            "waitSeconds": 3,
            "maxConnections": 4,
            "requestsPerSecond": 5,
        },
        apiPassword="secret-password",
    )
    assert settings == ProviderSettings(
        kubernetes=False,
        kubeconfig="/k",
        context="c",
        namespace="one",
        url="http://one:2633/RPC2",
        password="secret-password",
        limits=Limits(connect=1, read=2.5, wait=3, connections=4, per_second=5),
    )
    assert "secret-password" not in repr(settings)


@pytest.mark.parametrize("value", [0, -1, True, "soon", [], "inf"])
def test_times_must_be_numbers_above_zero(value: object) -> None:
    with pytest.raises(SettingsError, match=r"opennebula:api\.waitSeconds: must be a number above 0"):
        read(api={"waitSeconds": value})


def test_by_port_forward_with_leases_unless_told_otherwise() -> None:
    made = runtime(read(kubernetes={"namespace": "a"}))
    assert isinstance(made.client._dialer, PodDialer)  # type: ignore[attr-defined]
    assert isinstance(made.credential, SecretCredential)
    assert isinstance(made.registrar._locks, LeaseLocks)
    assert runtime(read(kubernetes={"namespace": "a"})) is made, "both providers share one"
    assert runtime(read(kubernetes={"namespace": "b"})) is not made


def test_by_url_with_the_clusters_secret() -> None:
    made = runtime(read(api={"url": "http://one:2633/RPC2"}))
    assert isinstance(made.client._dialer, UrlDialer)  # type: ignore[attr-defined]
    assert isinstance(made.credential, SecretCredential)
    assert isinstance(made.registrar._locks, LeaseLocks)


def test_by_url_and_password_no_cluster_is_needed_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    settings = read(api={"url": "http://two:2633/RPC2"}, apiPassword="secret-password")
    made = runtime(settings)
    assert isinstance(made.registrar._locks, ProcessLocks)
    runtime(settings)
    assert caplog.text.count("no cluster for Leases") == 1
    assert known_secrets(settings) == ("oneadmin:secret-password", "secret-password")
    assert made.credential.session() == "oneadmin:secret-password"


@pytest.mark.parametrize("url", ["one:2633", "ftp://one/RPC2", "http://"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(AccessError, match="oned's URL cannot be used"):
        runtime(read(api={"url": url}, apiPassword="secret-password"))
