"""Terraform as a contender: what its program is asked, with one in its place that keeps a record and makes the calls."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from bench.hosts import terraform, work
from bench.hosts.__main__ import by_terraform
from bench.hosts.endpoints import Fleet, Host
from bench.hosts.oned import DRIVER, Oned
from bench.hosts.run import Bench
from bench.hosts.terraform import Binaries, Terraform
from components.preparing.values import Endpoint
from lab.standins.opennebula.local import LocalOned
from tests.bench.paper_oned import PaperOned, paper_oned

STUB = r"""#!{python}
import json, os, pathlib, re, sys, xmlrpc.client
record, state = pathlib.Path({record!r}), pathlib.Path("terraform.tfstate")
found = json.loads(pathlib.Path("main.tf.json").read_text())
settings = pathlib.Path(os.environ["TF_CLI_CONFIG_FILE"]).read_text()
override = re.search('dev_overrides {{ "(.+)" = "(.+)" }}', settings)
plugin = pathlib.Path(override[2], "terraform-provider-opennebula").read_text()
with record.open("a") as file:
    seen = dict(words=sys.argv[1:], found=found, source=override[1], plugin=plugin, place=os.getcwd())
    file.write(json.dumps(seen | dict(logs=os.environ.get("TF_LOG"))) + "\n")
if "broken" in found["locals"]["hosts"]:
    sys.exit("Error: the provider produced an unexpected new value")
at = found["provider"]["opennebula"]
one = xmlrpc.client.ServerProxy(at["endpoint"]).one
session = at["username"] + ":" + at["password"]
have = json.loads(state.read_text()) if state.exists() else {{}}
wanted = {{}} if sys.argv[1] == "destroy" else found["locals"]["hosts"]
mads = found["resource"]["opennebula_host"]["host"]["custom"]
for name in wanted.keys() - have:
    have[name] = one.host.allocate(session, name, mads["information"], mads["virtualization"], -1)[1]
for name in have.keys() - wanted:
    one.host.delete(session, have.pop(name))
state.write_text(json.dumps(have))
"""


@pytest.fixture
def oned() -> Iterator[PaperOned]:
    with paper_oned() as served:
        yield served


@pytest.fixture
def binaries(tmp_path: Path) -> Binaries:
    for name, text in (
        ("terraform", STUB.format(python=sys.executable, record=str(tmp_path / "record"))),
        ("provider-by-another-name", "the provider"),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    found = terraform.given(
        {"TERRAFORM": str(tmp_path / "terraform"), "TERRAFORM_PROVIDER": str(tmp_path / "provider-by-another-name")}
    )
    assert found is not None
    return found


def record(binaries: Binaries) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (binaries.terraform.parent / "record").read_text().splitlines()]


def host(name: str) -> Host:
    return Host(name, Endpoint("root", "127.1.0.1", 2022, "ssh-ed25519 AAAA"), Path("/nowhere"))


def at(binaries: Binaries, oned: PaperOned, place: Path) -> Terraform:
    place.mkdir()
    return Terraform(binaries, place, oned.endpoint, oned.session, parallel=7)


def test_hosts_come_stay_and_go(
    binaries: Binaries, oned: PaperOned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_LOG", "trace")
    stack = at(binaries, oned, tmp_path / "place")
    look = Oned(oned.endpoint, oned.session)
    hosts = [host("a"), host("b")]
    stack.up(hosts)
    ids = look.hosts()
    assert sorted(ids.values()) == ["a", "b"]
    stack.up(hosts)
    assert look.hosts() == ids
    stack.destroy()
    assert look.hosts() == {}
    asked = record(binaries)
    assert [each["words"][0] for each in asked] == ["apply", "apply", "destroy"]
    for each in asked:
        assert {"-auto-approve", "-input=false", "-parallelism=7"} <= set(each["words"])
        assert (each["source"], each["plugin"]) == ("OpenNebula/opennebula", "the provider")
        assert (each["place"], each["logs"]) == (str(tmp_path / "place"), None)
        assert "terraform_data" not in each["found"]["resource"], "nothing is prepared that was not asked for"
        assert each["found"]["resource"]["opennebula_host"]["host"]["custom"]["virtualization"] == DRIVER


def test_hosts_are_prepared_first_by_the_script_of_all_and_with_their_pins(
    binaries: Binaries, oned: PaperOned, tmp_path: Path
) -> None:
    key_file = tmp_path / "key"
    fleet = Fleet(tmp_path, [host("a")], "PRIVATE", key_file)
    at(binaries, oned, tmp_path / "place").up(fleet.hosts, fleet=fleet, seconds=2)
    (asked,) = record(binaries)
    resources = asked["found"]["resource"]
    assert resources["opennebula_host"]["host"]["depends_on"] == ["terraform_data.prepared"]
    prepared = resources["terraform_data"]["prepared"]
    assert prepared["provisioner"] == [{"remote-exec": {"inline": [work.script(2)]}}]
    assert "${" not in work.script(2) and "%{" not in work.script(2), "or Terraform would read it as its own"
    assert prepared["connection"]["host_key"] == "${each.value.key}"
    assert prepared["connection"]["private_key"] == f'${{file("{key_file}")}}'
    assert asked["found"]["locals"]["hosts"]["a"] == {
        "user": "root",
        "address": "127.1.0.1",
        "port": 2022,
        "key": "ssh-ed25519 AAAA",
        "own": "/",
    }
    assert prepared["connection"]["script_path"].startswith("${each.value.own}/"), "nothing is left on this machine"


def test_a_failure_is_told_in_terraforms_words(binaries: Binaries, oned: PaperOned, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="terraform apply: Error: the provider produced an unexpected new value"):
        at(binaries, oned, tmp_path / "place").up([host("broken")])


def test_it_is_measured_at_its_default_and_tuned(binaries: Binaries, oned: PaperOned, tmp_path: Path) -> None:
    bench = Bench(tmp_path, cast(LocalOned, oned), 1)
    bench.results["registration"] = {"100": {}}
    by_terraform(bench, binaries)
    found = bench.results["registration"]["100"]
    assert list(found) == ["Terraform, parallelism 10", "Terraform, parallelism 100"]
    assert all(set(each) == {"create", "no-op", "destroy"} for each in found.values())
    assert [each["words"][-1] for each in record(binaries)] == ["-parallelism=10"] * 3 + ["-parallelism=100"] * 3


def test_what_is_not_there_at_the_end_does_not_count(binaries: Binaries, oned: PaperOned, tmp_path: Path) -> None:
    oned.add("bench-0000")
    bench = Bench(tmp_path, cast(LocalOned, oned), 1)
    with pytest.raises(RuntimeError, match="not as declared afterwards: bench-0000"):
        by_terraform(bench, binaries)
