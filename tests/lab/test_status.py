"""What `make status` makes of pods and answers."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes.config
import pytest

import lab.__main__ as main
from lab import reach, rehearsal, status
from lab.errors import LabError
from lab.rehearsal import Options
from stacks.settings import StackSettings
from tests.program.test_program import lab_like, lts_like, stack_config

OUTSIDE = {"fireedge": "https://cloud.example/fireedge/sunstone", "api": "https://api.example/RPC2"}


OPTIONS = Options.from_environment({})


def pod(role: str, ready: bool = True, **containers: bool) -> dict[str, Any]:
    named = {name.replace("_", "-"): state for name, state in containers.items()}
    return {"name": f"{role}-0", "role": role, "ready": ready, "containers": named}


def settings(values: Mapping[str, str], **changes: Any) -> StackSettings:
    raw: dict[str, Any] = {}
    for key, text in values.items():
        name = key.removeprefix("opennebula:")
        if name in {str(field.alias) for field in StackSettings.model_fields.values()}:
            raw[name] = text if name in ("version", "tier") else json.loads(text)
    return StackSettings.model_validate_json(json.dumps(raw | changes))


def told(monkeypatch: pytest.MonkeyPatch, answer: reach.Answer) -> list[str]:
    """Every URL is answered like this; the ones that are asked."""
    asked: list[str] = []

    def ask_all(urls: Mapping[str, str], **_: object) -> dict[str, reach.Answer]:
        asked.extend(urls)
        return dict.fromkeys(urls, answer)

    monkeypatch.setattr(reach, "ask_all", ask_all)
    return asked


def test_ready_pods_behind_a_url_that_does_not_answer_are_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = told(monkeypatch, reach.Answer(False, "answers 503"))
    found = status.outside_answers(OUTSIDE, {"fireedge": True, "oned": True})
    assert asked == ["fireedge", "api"]
    assert found["api"] == {"name": "api", "url": OUTSIDE["api"], "ready": False, "why": "answers 503"}


def test_what_this_machine_cannot_tell_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, reach.Answer(None, "the name is not known"))
    found = status.outside_answers(OUTSIDE, {"fireedge": True, "oned": True})
    assert (found["api"]["ready"], found["api"]["why"]) == (None, "the name is not known; its pods are ready")


def test_nobody_asks_for_a_daemon_whose_pods_are_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = told(monkeypatch, reach.Answer(True))
    found = status.outside_answers(OUTSIDE, {"fireedge": True, "oned": False})
    assert asked == ["fireedge"]
    assert found["fireedge"]["ready"] is True
    assert (found["api"]["ready"], found["api"]["why"]) == (False, "its pods are not ready")


def test_parts_are_what_the_settings_run() -> None:
    pods = [
        pod("mariadb", mariadb=True),
        pod("oned", oned=True, hem=True, way_back=False),
        pod("fireedge", fireedge=True, guacd=True),
        pod("fireedge", fireedge=True, guacd=False),
    ]
    dev = settings(stack_config("dev"))
    assert list(status.parts(dev, pods)) == [
        {"name": "mariadb", "ready": True},
        {"name": "hem", "ready": True},
        {"name": "way back", "ready": False},
        {"name": "guacd", "ready": False},
    ]
    less = settings(stack_config("dev"), wayBack={"enabled": False}, hem={"enabled": False})
    assert [part["name"] for part in status.parts(less, pods)] == ["mariadb", "guacd"]
    lts = settings(lts_like())
    names = [part["name"] for part in status.parts(lts, [])]
    assert names == ["mariadb", "scheduler", "hem", "way back", "guacd", "novnc"]
    assert not any(part["ready"] for part in status.parts(lts, []))


def test_the_table_says_what_is_wrong() -> None:
    endpoints = [
        {"name": "oned", "url": "http://oned.one.svc:2633/RPC2", "ready": True, "why": ""},
        {"name": "fireedge", "url": OUTSIDE["fireedge"], "ready": False, "why": "answers 503"},
        {"name": "api", "url": OUTSIDE["api"], "ready": None, "why": "the name is not known; its pods are ready"},
    ]
    text = status.table(
        {
            "endpoints": endpoints,
            "parts": [{"name": "mariadb", "ready": True}, {"name": "guacd", "ready": False}],
            "hosts": [],
            "pods": [],
            "kubeconfig": "k",
            "password": "kubectl -n one get",
            "namespace": "one",
        }
    )
    assert text.startswith(
        "ENDPOINT  READY    URL\n"
        "oned      yes      http://oned.one.svc:2633/RPC2\n"
        "fireedge  no       https://cloud.example/fireedge/sunstone\n"
        "api       unknown  https://api.example/RPC2\n"
        "fireedge: answers 503\n"
        "api: the name is not known; its pods are ready\n"
        "\n"
        "PART     READY\n"
        "mariadb  yes\n"
        "guacd    no\n"
    )


def test_a_host_that_oned_does_not_have_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An up goes by the state and says that nothing changes; it must not end well for all that."""
    declared = settings(lab_like())
    names = [host.name for host in declared.hosts]
    registered = [
        {"name": name, "kind": "kvm", "state": "MONITORED", "id": 7} for name in [*names[1:], "somebody-elses"]
    ]
    found = status.with_missing(registered, declared)
    assert {item["name"]: (item["state"], item["id"]) for item in found} == {
        names[0]: ("MISSING", None),
        **dict.fromkeys([*names[1:], "somebody-elses"], ("MONITORED", 7)),
    }
    assert status.with_missing(found, declared) == found

    whole = {
        "endpoints": [],
        "parts": [],
        "pods": [],
        "hosts": found,
        "kubeconfig": "k",
        "password": "p",
        "namespace": "n",
    }
    monkeypatch.setattr(rehearsal, "up", lambda _options: None)
    monkeypatch.setattr(status, "collect", lambda _options: whole)
    with pytest.raises(LabError, match=f"not in oned though declared: {names[0]}") as told_of:
        main._up(OPTIONS)
    assert "make refresh" in told_of.value.fix
    whole["hosts"] = [item for item in found if item["state"] != "MISSING"]
    main._up(OPTIONS)


def test_a_kubeconfig_of_somebody_else_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab's is root's alone."""
    with pytest.raises(LabError, match="cannot be read") as told_of:
        status._pods({"kubeconfig": str(tmp_path)}, "one")  # a directory: no file for root either
    assert "Is a directory" in str(told_of.value)

    def closed(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/somewhere/kubeconfig")

    monkeypatch.setattr(kubernetes.config, "new_client_from_config", closed)
    with pytest.raises(LabError, match="/somewhere/kubeconfig cannot be read") as told_of:
        status._pods({"kubeconfig": "/somewhere/kubeconfig"}, "one")
    assert "Permission denied" in str(told_of.value) and "sudo" in told_of.value.fix


def test_secrets_inside_a_value_are_left_out_as_well() -> None:
    """`pulumi config set --secret --path opennebula:ldapPasswords.main`, as the guide has it."""
    plain = {key.removeprefix("opennebula:"): value for key, value in lab_like().items()}
    del plain["sshPrivateKey"]
    config = {key: json.loads(value) if value[:1] in "[{" else value for key, value in plain.items()}
    secure = {
        "sshPrivateKey": {"secure": "v1:z"},
        "ldapPasswords": {"main": {"secure": "v1:x"}},
        "databasePassword": {"secure": "v1:y"},
    }
    assert status._settings(config | secure) == status._settings(config)
