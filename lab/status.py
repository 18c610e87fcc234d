"""`make status`: endpoints, other parts, hosts, pods, as they are now. Asks the cluster, oned and the URLs themselves, not
the state file."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components import naming
from components.ingress_settings import EXPOSURES, urls
from components.registration.errors import OnedError
from components.registration.forward import forward
from components.registration.kube import Cluster, PodPort
from components.versions import RELEASES
from lab import ca, configfile, reach
from lab.errors import LabError
from lab.rehearsal import Options, check_kubeconfig, stack_file
from lab.stackfile import encrypted
from stacks.host_list import assemble
from stacks.problems import enabled_daemons
from stacks.settings import StackSettings

MISSING = "MISSING"
_LIMIT = 10  # seconds a question to the cluster may take
_SILENCE = 0.7  # seconds in which a port that nobody listens on is refused


def collect(options: Options) -> dict[str, Any]:
    """`endpoints` (name, url, ready, why), `parts` (name, ready), `hosts` (name, kind, state, id), `pods` (name, ready).

    A host that is declared and not in oned is MISSING and has no id. `ready` of an endpoint is null where this machine cannot
    tell; `why` says what is wrong. Raises LabError.
    """
    config = _config(options)
    if options.existing:
        check_kubeconfig({f"{naming.PROJECT}:kubernetes": config.get("kubernetes")})
    # The client library looks at KUBECONFIG once, at its import; here the present one counts.
    file = (config.get("kubernetes") or {}).get("kubeconfig") or os.environ.get("KUBECONFIG")
    kubernetes = {**(config.get("kubernetes") or {}), **({"kubeconfig": file} if file else {})}
    config = {**config, "kubernetes": kubernetes}
    if not options.existing and not options.instance.kubeconfig.exists():
        raise LabError("the lab is not running", fix="make up")
    namespace = kubernetes.get("namespace", "opennebula")
    pods = _pods(kubernetes, namespace)
    oned_ready = any(pod["name"] == f"{naming.ONED}-0" and pod["ready"] for pod in pods)
    settings = _settings(config)
    return {
        "endpoints": _endpoints(settings, namespace, pods, kubernetes, _way_in(options)),
        "parts": list(parts(settings, pods)),
        "hosts": with_missing(_hosts(config), settings) if oned_ready else [],
        "pods": [{"name": pod["name"], "ready": pod["ready"]} for pod in pods],
        "namespace": namespace,
        "password": f"{_kubectl(options)} -n {namespace} get secret {naming.ONEADMIN_SECRET} "
        f"-o jsonpath='{{.data.{naming.ONE_AUTH_KEY}}}' | base64 -d",
        "kubeconfig": kubernetes.get("kubeconfig", ""),
    }


def _kubectl(options: Options) -> str:
    """The lab brings its own, which is on no PATH."""
    if options.existing or shutil.which("kubectl"):
        return "kubectl"
    from lab.toolchain import tool

    return str(tool("kubectl"))


def _settings(config: Mapping[str, Any]) -> StackSettings:
    """The stack's settings; secrets, which this needs none of, stay out. Raises LabError."""
    plain = {key: value for key, value in config.items() if not encrypted(value)}
    try:
        return StackSettings.model_validate_json(json.dumps(assemble(plain).raw))
    except ValidationError as error:
        raise LabError(
            f"{error.error_count()} problems in the stack's configuration", fix="`make up` names each of them"
        ) from None


def _way_in(options: Options) -> dict[str, Any]:
    """The lab's names are in no DNS and its authority is in no browser; a cluster of the operator's has both."""
    if options.existing:
        return {}
    return {"address": str(options.instance.node_ip), "authority": ca.ensure(options.instance).authority_file}


def _endpoints(
    settings: StackSettings,
    namespace: str,
    pods: Sequence[Mapping[str, Any]],
    kubernetes: Mapping[str, Any],
    way_in: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Every way in with its state. A daemon inside is as ready as its pods, whose probes ask it itself; a URL of the ingress
    is asked as well."""
    inside = {
        naming.ONED: (naming.PORT_XMLRPC, "/RPC2"),
        naming.FIREEDGE: (naming.PORT_FIREEDGE, ""),
        naming.SUNSTONE: (naming.PORT_SUNSTONE, ""),
        naming.ONEFLOW: (naming.PORT_ONEFLOW, ""),
        naming.ONEGATE: (naming.PORT_ONEGATE, ""),
    }
    ready = {role: bool(mine := [pod["ready"] for pod in pods if pod["role"] == role]) and all(mine) for role in inside}
    runs = {naming.ONED: True, **enabled_daemons(settings)}
    outside = outside_answers(urls(settings.ingress), ready, **way_in)
    found = []
    for role, (port, path) in inside.items():
        if role in outside:
            found.append(outside.pop(role))
        elif runs.get(role):
            found.append(_endpoint(role, f"http://{naming.service_dns(role, namespace)}:{port}{path}", ready[role]))
    found += outside.values()
    monitoring = settings.monitoring
    listens = ready[naming.ONED] and _listens(kubernetes, namespace, monitoring.port)
    found.append(_endpoint("monitord", f"udp+tcp://{monitoring.address}:{monitoring.port}", listens))
    return found


def outside_answers(
    outside: Mapping[str, str],
    ready: Mapping[str, bool],
    *,
    address: str | None = None,
    authority: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Endpoints of the ingress by name. One whose pods are not ready is not asked: what answers then says nothing new."""
    behind = {name: ready[EXPOSURES[name].service] for name in outside}
    asked = {name: url for name, url in outside.items() if behind[name]}
    answers = reach.ask_all(asked, address=address, authority=authority)
    found = {}
    for name, url in outside.items():
        answer = answers.get(name, reach.Answer(False, "its pods are not ready"))
        why = f"{answer.why}; its pods are ready" if answer.ready is None else answer.why
        found[name] = _endpoint(name, url, answer.ready, why)
    return found


def _endpoint(name: str, url: str, ready: bool | None, why: str = "") -> dict[str, Any]:
    return {"name": name, "url": url, "ready": ready, "why": why}


def parts(settings: StackSettings, pods: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """What runs without a way in of its own: the database, and containers beside the daemons."""
    wanted = (
        ("mariadb", naming.MARIADB, "mariadb", True),
        ("scheduler", naming.ONED, "scheduler", RELEASES[settings.version].scheduler_daemon),
        ("hem", naming.ONED, "hem", settings.hem.enabled),
        ("way back", naming.ONED, "way-back", settings.way_back.enabled),
        ("guacd", naming.FIREEDGE, "guacd", settings.fireedge.enabled),
        ("novnc", naming.SUNSTONE, "novnc", settings.sunstone.enabled),
    )
    for name, role, container, runs in wanted:
        if runs:
            states = [pod["containers"].get(container, False) for pod in pods if pod["role"] == role]
            yield {"name": name, "ready": bool(states) and all(states)}


def _listens(kubernetes: Mapping[str, Any], namespace: str, port: int) -> bool:
    """Whether somebody takes connections on this port in oned's pod. By port-forward: only hosts may come by the Service."""
    cluster = Cluster(kubeconfig=kubernetes.get("kubeconfig"), context=kubernetes.get("context"), namespace=namespace)
    try:
        channel = forward(cluster, PodPort(pod=f"{naming.ONED}-0", port=port), _LIMIT)
    except (OnedError, OSError):
        return False
    try:
        channel.socket.settimeout(_SILENCE)
        channel.socket.recv_into(bytearray(1))
    except TimeoutError:
        return True  # it waits for us to speak
    except OSError:
        return False
    finally:
        channel.close()
    return False


def table(status: Mapping[str, Any]) -> str:
    """The same for people."""
    rows: list[tuple[str, ...]] = [("ENDPOINT", "READY", "URL")]
    rows += [(item["name"], _yes(item["ready"]), item["url"]) for item in status["endpoints"]]
    text = [
        _columns(rows),
        *(f"{item['name']}: {item['why']}" for item in status["endpoints"] if item["why"]),
        "",
        _columns([("PART", "READY"), *((item["name"], _yes(item["ready"])) for item in status["parts"])]),
        "",
        _columns([("HOST", "KIND", "STATE", "ID"), *(_host_row(item) for item in status["hosts"])]),
    ]
    text += ["", _columns([("POD", "READY"), *((item["name"], _yes(item["ready"])) for item in status["pods"])])]
    text += ["", f"export KUBECONFIG={status['kubeconfig']}", f"oneadmin's login, NAME:PASSWORD: {status['password']}"]
    text += [f"logs: {status['password'].split(' -n ')[0]} -n {status['namespace']} logs oned-0 -c oned (or -c keeper)"]
    return "\n".join(text)


def _host_row(host: Mapping[str, Any]) -> tuple[str, ...]:
    return (host["name"], host["kind"], host["state"], "-" if host["id"] is None else str(host["id"]))


def with_missing(registered: Sequence[Mapping[str, Any]], settings: StackSettings) -> list[dict[str, Any]]:
    """oned's hosts, and the declared ones that it does not have: somebody deleted or renamed them."""
    known = {item["name"] for item in registered}
    missing = [
        {"name": host.name, "kind": host.kind.value, "state": MISSING, "id": None}
        for host in settings.hosts
        if host.name not in known
    ]
    return sorted([*map(dict, registered), *missing], key=lambda item: _natural(item["name"]))


def _yes(value: bool | None) -> str:
    return "unknown" if value is None else "yes" if value else "no"


def _columns(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _config(options: Options) -> dict[str, Any]:
    file = stack_file(options.stack)
    if not file.exists():
        raise LabError(f"{file.name} does not exist: nothing was brought up", fix="make up")
    prefix = f"{naming.PROJECT}:"
    return {key.removeprefix(prefix): value for key, value in configfile.config(file).items() if key.startswith(prefix)}


def _natural(name: str) -> list[tuple[int, str]]:
    """Order in which kvm-2 comes before kvm-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _pods(kubernetes: Mapping[str, Any], namespace: str) -> list[dict[str, Any]]:
    from kubernetes import client, config
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        api = config.new_client_from_config(kubernetes.get("kubeconfig"), kubernetes.get("context"))
        answer = client.CoreV1Api(api).list_namespaced_pod(namespace, _request_timeout=_LIMIT)
    except (ApiException, HTTPError, config.ConfigException) as error:
        cause = getattr(error, "reason", None) or str(error)
        raise LabError(
            "the cluster does not answer", cause=str(cause), fix="make up, or check KUBECONFIG and kubernetes.context"
        ) from None
    except OSError as error:
        raise LabError(
            f"{error.filename or 'the kubeconfig'} cannot be read",
            cause=error.strerror or str(error),
            fix="the lab's belongs to root: run the same command with sudo; else check KUBECONFIG and kubernetes.kubeconfig",
        ) from None
    found = []
    for pod in answer.items:
        states = pod.status.container_statuses or []
        sidecars = pod.status.init_container_statuses or []
        if pod.metadata.deletion_timestamp is not None:
            continue  # on its way out, with another one in its place
        found.append(
            {
                "name": pod.metadata.name,
                "ready": bool(states) and all(state.ready for state in states),
                "containers": {state.name: bool(state.ready) for state in (*sidecars, *states)},
                "role": (pod.metadata.labels or {}).get("app.kubernetes.io/name", ""),
            }
        )
    return sorted(found, key=lambda pod: str(pod["name"]))


def _hosts(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    from components.registration.runtime import runtime
    from components.registration.settings import ProviderSettings

    texts = {
        f"{naming.PROJECT}:{key}": json.dumps(value) for key, value in config.items() if key in ("kubernetes", "api")
    }
    try:
        records = runtime(ProviderSettings.read(texts.get)).client.hosts()
    except OnedError as error:
        raise LabError("oned does not answer", cause=str(error), fix=f"kubectl logs {naming.ONED}-0 -c oned") from None
    return [
        {
            "name": record.name,
            "kind": "lxc" if record.vm_mad == "lxc" else "kvm",
            "state": record.state_name,
            "id": record.id,
        }
        for record in records
    ]
