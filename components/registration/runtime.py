"""The parts put together, once in a process: all providers share connections, pace, patience, locks and the pool.

The dynamic provider host makes one provider object for each class and serves four operations at once; what limits the
load on oned must therefore be one for all of them.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field

from components.registration import names
from components.registration.access import GivenCredential, PodDialer, SecretCredential, UrlDialer
from components.registration.client import OnedClient
from components.registration.cluster_reconcile import ClusterRegistrar
from components.registration.cluster_xmlrpc import XmlRpcClusters
from components.registration.datastore_reconcile import DatastoreRegistrar
from components.registration.datastore_xmlrpc import XmlRpcDatastores
from components.registration.errors import AccessError
from components.registration.kube import Cluster
from components.registration.lease import LeaseLocks, Locks, ProcessLocks
from components.registration.pool import Listing, Pool
from components.registration.reconcile import Registrar
from components.registration.settings import ProviderSettings
from components.registration.transport import Dialer, NotSent
from components.registration.xmlrpc import Credential, XmlRpcClient

log = logging.getLogger("opennebula.registration")

_guard = threading.Lock()
_made: dict[ProviderSettings, Runtime] = {}


@dataclass(frozen=True, kw_only=True)
class Runtime:
    client: OnedClient
    registrar: Registrar
    datastores: DatastoreRegistrar
    clusters: ClusterRegistrar
    credential: Credential
    cluster: Cluster | None = None
    _first: threading.Lock = field(default_factory=threading.Lock)

    def before_registering(self) -> None:
        """Once a process: hosts of this run are pinned in a ConfigMap that the pod may not have seen yet.

        A first probe without the pin fails, and monitord repeats it only after its interval. The wait for the fleet mends
        that, but it does not come when another host of the run has failed.
        """
        if self._first.acquire(blocking=False):
            self.refresh_pod_files()

    def refresh_pod_files(self) -> None:
        """Bring the present known_hosts into oned's pod now. Without that right, it comes by itself within two minutes."""
        if self.cluster is None:
            return
        try:
            self.cluster.touch_pod_behind(names.ONED_SERVICE, names.XMLRPC_PORT)
        except (AccessError, NotSent) as error:
            log.info("known_hosts reaches oned's pod a little later: %s", error)


def runtime(settings: ProviderSettings) -> Runtime:
    """The process's runtime for these settings. Makes it with the first call; connects to nothing."""
    with _guard:
        if settings not in _made:
            _made[settings] = _assemble(settings)
        return _made[settings]


def known_secrets(settings: ProviderSettings) -> tuple[str, ...]:
    """What must not appear in any text that leaves this process. No I/O."""
    with _guard:
        made = _made.get(settings)
    return made.credential.known() if made else ()


def _assemble(settings: ProviderSettings) -> Runtime:
    dialer: Dialer
    credential: Credential
    locks: Locks
    datastore_locks: Locks
    cluster_locks: Locks
    cluster: Cluster | None = None
    if settings.url and settings.password:
        dialer, credential = UrlDialer(settings.url), GivenCredential(settings.password)
        locks, datastore_locks, cluster_locks = ProcessLocks(), ProcessLocks(), ProcessLocks()
        log.warning("no cluster for Leases: two stacks that register one name at the same moment are not kept apart")
    else:
        cluster = Cluster(kubeconfig=settings.kubeconfig, context=settings.context, namespace=settings.namespace)
        dialer = UrlDialer(settings.url) if settings.url else PodDialer(cluster)
        credential = SecretCredential(cluster)
        locks, datastore_locks = LeaseLocks(cluster), LeaseLocks(cluster, kind="datastore")
        cluster_locks = LeaseLocks(cluster, kind="cluster")
    client = XmlRpcClient(dialer, credential, settings.limits)
    registrar = Registrar(client, Pool(client), locks)
    datastores = XmlRpcDatastores(client)
    clusters = XmlRpcClusters(client)
    return Runtime(
        client=client,
        registrar=registrar,
        datastores=DatastoreRegistrar(datastores, Listing(datastores.datastores), datastore_locks),
        clusters=ClusterRegistrar(clusters, Listing(clusters.all_clusters), cluster_locks),
        credential=credential,
        cluster=cluster,
    )
