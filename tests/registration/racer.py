"""One of two processes that register the same names: reads a name, registers it under the Lease, writes the id."""

from __future__ import annotations

import sys

from components.registration.access import GivenCredential, UrlDialer
from components.registration.kube import Cluster
from components.registration.lease import LeaseLocks, Locks, ProcessLocks
from components.registration.pool import Pool
from components.registration.reconcile import Registrar
from components.registration.spec import AdoptPolicy, HostSpec
from components.registration.xmlrpc import Limits, XmlRpcClient


def main(url: str, password: str, kubeconfig: str) -> None:
    client = XmlRpcClient(UrlDialer(url), GivenCredential(password), Limits(per_second=10_000))
    locks: Locks = ProcessLocks()
    if kubeconfig:
        locks = LeaseLocks(Cluster(kubeconfig=kubeconfig, context=None, namespace="opennebula"))
    rules = Registrar(client, Pool(client), locks)
    for line in sys.stdin:
        spec = HostSpec(name=line.strip(), im_mad="dummy", vm_mad="dummy")
        try:
            outcome = str(rules.register(spec, AdoptPolicy.MATCHING))
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        print(outcome, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
