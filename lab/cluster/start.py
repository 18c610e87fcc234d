"""The order in which the cluster comes up, with a limit on every wait.

Idempotent: each step first looks whether its result is there. Images are put in place while the API server starts:
neither needs the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from lab.box import NODE, Box
from lab.cluster import addons, certificates, control_plane, kubeconfig, node, policy, runtime, store
from lab.cluster.api import Api
from lab.cluster.daemons import Daemons
from lab.errors import LabError, tail
from lab.oci import Image
from lab.paths import Instance

Phase = Callable[[str, float], None]  # name of a finished phase, and its seconds

_API_LIMIT = 90.0
_NODE_LIMIT = 60.0
_ADDON_LIMIT = 90.0
_POLICY_LIMIT = 30.0


@dataclass(frozen=True)
class Start:
    """One start of one lab."""

    instance: Instance
    box: Box
    daemons: Daemons
    phase: Phase

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.phase(name, time.monotonic() - began)

    def run(self, built: Mapping[str, Image], hosts: Mapping[str, IPv4Address] | None) -> None:
        instance, daemons = self.instance, self.daemons
        with self.timed("box"):
            self.box.start()
            if hosts is not None or not names_file(instance).exists():
                write_hosts(instance, hosts or {})
            pki = certificates.ensure(instance)
            kubeconfig.write_admin(instance, pki)
        api = Api(instance, pki)
        daemons.ensure(control_plane.etcd(instance))
        daemons.ensure(control_plane.apiserver(instance, pki))
        with ThreadPoolExecutor(max_workers=1) as pool:
            imported = pool.submit(self._images, built)
            with self.timed("API server"):
                daemons.wait("kube-apiserver", api.ready, limit=_API_LIMIT, what="the API server")
            daemons.ensure(control_plane.controller_manager(instance, pki))
            daemons.ensure(control_plane.scheduler(instance, pki))
            daemons.ensure(node.proxy(instance, pki))
            daemons.ensure(policy.controller(instance, pki))
            imported.result()  # the kubelet ends at once when it finds no containerd
        daemons.ensure(node.kubelet(instance, pki))
        with self.timed("node"):
            daemons.wait("kubelet", lambda: node_ready(api), limit=_NODE_LIMIT, what="the node")
        with self.timed("DNS and storage"):
            self._addons(api, built)
            daemons.wait(
                policy.NAME, lambda: policy.in_force(instance), limit=_POLICY_LIMIT, what="the policy controller"
            )

    def _images(self, built: Mapping[str, Image]) -> None:
        wanted = list(built.values())
        with self.timed("images"):
            store.place(self.box, wanted)
            self.daemons.ensure(node.containerd(self.instance, built["pause"].reference))
            self.daemons.wait("containerd", lambda: runtime.answers(self.box), limit=30, what="containerd")
            runtime.bring(self.box, wanted)

    def _addons(self, api: Api, built: Mapping[str, Image]) -> None:
        manifests = [
            *addons.dns(self.instance, built["coredns"].reference),
            *addons.storage(self.instance, built["provisioner"].reference),
        ]
        for manifest in manifests:
            api.apply(manifest)
        deadline = time.monotonic() + _ADDON_LIMIT
        for manifest in manifests:
            if manifest["kind"] != "Deployment":
                continue
            name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
            while not deployment_available(api, namespace, name):
                for part in ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "containerd"):
                    self.daemons.require(part)
                if time.monotonic() > deadline:
                    raise LabError(
                        f"{name} of the lab was not available after {_ADDON_LIMIT:.0f} s",
                        cause=tail(self.daemons.log("kubelet")),
                        fix=f"KUBECONFIG={self.instance.kubeconfig} kubectl --namespace {namespace} describe pods",
                    )
                time.sleep(0.1)


def names_file(instance: Instance) -> Path:
    """The hosts file of the cluster's DNS."""
    return Path(addons.dns_directory(instance)) / "hosts"


def write_hosts(instance: Instance, hosts: Mapping[str, IPv4Address]) -> None:
    """Tell the cluster's DNS these names; it reads the file again within a second."""
    file = names_file(instance)
    file.parent.mkdir(parents=True, exist_ok=True)
    text = addons.hosts_file(hosts)
    if file.exists() and file.read_text() == text:
        return
    draft = file.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(file)


def node_ready(api: Api) -> bool:
    found = api.get(f"/api/v1/nodes/{NODE}")
    conditions = found["status"].get("conditions", []) if found else []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def deployment_available(api: Api, namespace: str, name: str) -> bool:
    """Has the newest version of a Deployment as many available pods as it wants?"""
    found = api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
    if found is None:
        return False
    status, wanted = found.get("status", {}), found["spec"]["replicas"]
    current = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
    complete: bool = current and status.get("updatedReplicas", 0) == status.get("availableReplicas", 0) == wanted
    return complete
