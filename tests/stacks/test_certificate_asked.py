"""The cluster is asked for a certificate that only it has, before anything is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stacks.settings import ConfigError, certificate_problems, parse
from tests.examples import config
from tests.registration.kubeapi import KubeApi
from tests.stacks.test_ldap_asked import loaded


def test_a_certificate_that_the_cluster_does_not_have_is_a_problem_of_the_configuration(tmp_path: Path) -> None:
    ingress = {
        "enabled": True,
        "className": "nginx",
        "controllerNamespace": "ingress-nginx",
        "tls": {"kind": "secret", "name": "one-tls"},
        "hosts": {"api": "api.example"},
    }
    with KubeApi().running(tmp_path) as kubeconfig:
        values = config() | {
            "ingress": json.dumps(ingress),
            "kubernetes": json.dumps({"kubeconfig": kubeconfig}),
        }
        with pytest.raises(ConfigError) as caught:
            loaded(values)
    (problem,) = caught.value.problems
    assert problem.path == "ingress.tls.name" and "there is no Secret one-tls" in problem.text
    # Without a cluster there is nothing to see, and nothing is refused.
    assert certificate_problems(parse(values)) == []
