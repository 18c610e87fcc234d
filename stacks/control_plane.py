"""The wiring: settings and secrets in, components out. With `stacks/web_daemons.py` the only place that knows what feeds what.

Order follows data. The database, oned and the hosts' preparation start side by side: oned waits for its database by
itself and so does OneFlow for oned, a host's preparation needs only a key. Only what is declared in oned waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_kubernetes

from components import hem, naming
from components.authentication import Authentication, AuthenticationArgs, auth_entries, egress_rules
from components.clusters import Clusters, ClustersArgs
from components.credentials import Credentials, CredentialsArgs
from components.datastores import Datastores, DatastoresArgs
from components.drivers import remote_files
from components.egress import download_rules, further_rules
from components.hosts import Hosts, HostsArgs, host_files, reachable
from components.ingress import Ingress, IngressArgs, backends
from components.ingress_settings import urls
from components.manifests import content_hash
from components.mariadb import MariaDB, MariaDBArgs
from components.namespace import Namespace, NamespaceArgs
from components.oned import Oned, OnedArgs
from components.onegate_settings import proxy, vm_endpoint
from components.placement import Placement
from components.registration.hem_gate import HemConfigured
from components.registration.reachable import ReachableHosts
from components.ssh_identity import SshIdentity, SshIdentityArgs
from components.storage import Storage, StorageArgs
from stacks import web_daemons
from stacks.exports import Exports
from stacks.secrets import Secrets
from stacks.settings import StackSettings
from stacks.tiers import TIERS

# Both daemons open one more than they keep; the rest is for backups, upgrades and people.
SPARE_CONNECTIONS = 60
FIELD_MANAGER = "opennebula-on-kubernetes"


class ControlPlane(pulumi.ComponentResource):
    """OpenNebula of one environment."""

    def __init__(self, settings: StackSettings, secrets: Secrets, opts: pulumi.ResourceOptions | None = None) -> None:
        marked = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(transformations=[owned_by_the_program]))
        super().__init__("opennebula:index:ControlPlane", naming.PROJECT, None, marked)
        self._settings = settings
        self._urls = urls(settings.ingress)
        cluster = kubernetes_provider(settings, self)
        child = pulumi.ResourceOptions(parent=self, providers=[cluster])
        sizing = TIERS[settings.tier]
        images = settings.images
        onegate_url = vm_endpoint(settings.onegate, self._urls.get(naming.ONEGATE))
        onegate_proxy = proxy(settings.onegate, settings.drivers.tproxy)

        self._namespace = Namespace(
            "namespace",
            NamespaceArgs(name=settings.kubernetes.namespace, retain=settings.storage.retain),
            opts=child,
        )
        namespace = self._namespace.name
        place = Placement(
            namespace=namespace,
            namespace_name=settings.kubernetes.namespace,
            image_pull_policy=images.pull_policy,
            image_pull_secrets=images.pull_secrets,
            scheduling=settings.scheduling,
        )
        credentials = Credentials(
            "credentials",
            CredentialsArgs(
                oneadmin=secrets.oneadmin_password,
                serveradmin=secrets.serveradmin_password,
                database=secrets.database_password,
                fireedge=secrets.fireedge_key,
            ),
            opts=child,
        )
        authentication = Authentication(
            "authentication",
            AuthenticationArgs(
                settings=settings.authentication,
                placement=place,
                passwords=secrets.ldap_passwords,
                fireedge_host=settings.ingress.hosts.fireedge if settings.ingress.enabled else None,
            ),
            opts=child,
        )
        self._identity = SshIdentity(
            "ssh",
            SshIdentityArgs(oneadmin_key=secrets.oneadmin_ssh_key, frontend_host_key=secrets.frontend_host_key),
            opts=child,
        )
        storage = Storage("storage", StorageArgs(settings=settings.storage, namespace=namespace), opts=child)
        database = MariaDB(
            "mariadb",
            MariaDBArgs(
                settings=settings.database,
                namespace=namespace,
                image=images.mariadb,
                image_pull_policy=images.pull_policy,
                image_pull_secrets=images.pull_secrets,
                claim=storage.database,
                password=credentials.database,
                resources=sizing.mariadb,
                buffer_pool=settings.database.buffer_pool or sizing.buffer_pool,
                max_connections=settings.database.connections + settings.monitoring.connections + SPARE_CONNECTIONS,
                scheduling=settings.scheduling,
            ),
            opts=child,
        )
        self._oned = Oned(
            "oned",
            OnedArgs(
                settings=settings.oned,
                monitoring=settings.monitoring,
                namespace=namespace,
                namespace_name=settings.kubernetes.namespace,
                image=images.oned,
                image_pull_policy=images.pull_policy,
                image_pull_secrets=images.pull_secrets,
                database=database.handle,
                home_claim=storage.home,
                datastores_claim=storage.datastores,
                oneadmin_password=credentials.oneadmin,
                serveradmin_password=credentials.serveradmin,
                oneadmin_key=self._identity.oneadmin,
                host_files=ReachableHosts("reachable-hosts", reachable(settings.hosts), child).entries.apply(
                    host_files
                ),
                hypervisors=settings.network.hypervisors,
                ssh_ports=tuple(sorted({host.port for host in settings.hosts} or {naming.PORT_SSH})),
                api_clients=settings.network.api_clients,
                resources=sizing.oned,
                version=settings.version,
                scheduling=settings.oned.scheduling or settings.scheduling,
                scheduler=settings.scheduler,
                drivers=settings.drivers,
                hem=settings.hem,
                way_back=settings.way_back,
                frontend_host_key=self._identity.frontend_host,
                monitor_key=secrets.monitor_key,
                uploads_claim=storage.uploads,
                onegate_endpoint=onegate_url,
                onegate_proxy=onegate_proxy,
                auth_entries=auth_entries(settings.authentication, settings.version),
                auth_secret=authentication.secret,
                extra_egress=(
                    *egress_rules(settings.authentication),
                    *download_rules(settings.network.downloads, internet=settings.network.internet),
                    *further_rules(settings.network.egress),
                ),
            ),
            opts=child,
        )
        if settings.hem.enabled:
            # Not a part of oned: nothing else waits for hooks.
            done = pulumi.ResourceOptions(parent=self, depends_on=[self._oned])
            HemConfigured("hem", hem.config(settings.hem), done)
        self._daemons = web_daemons.declare(
            settings,
            web_daemons.Feeds(
                placement=place,
                serveradmin_password=credentials.serveradmin,
                fireedge_key=credentials.fireedge,
                uploads_claim=storage.uploads,
                host_files=self._oned.host_files,
                onegate_url=onegate_url,
            ),
            child,
        )
        if settings.ingress.enabled:
            Ingress(
                "ingress",
                IngressArgs(
                    settings=settings.ingress,
                    placement=place,
                    backends=backends(settings.ingress),
                    key=secrets.ingress_key,
                ),
                opts=child,
            )
        # What is registered here leaves oned again in a destroy, and till then its database and network must be there: they are no
        # dependencies of oned's own, which starts beside them, and a host that stops the destroy keeps what it depends on alone.
        answering = (self._oned, database, self._namespace)
        self._datastores: pulumi.Input[dict[str, int]] = {}
        cluster_name: Callable[[str], pulumi.Input[str]] = str
        if settings.clusters:
            cluster_name = Clusters(
                "clusters", ClustersArgs(clusters=settings.clusters, oned=answering), opts=child
            ).name_of
        if settings.datastores:
            self._datastores = Datastores(
                "datastores",
                DatastoresArgs(
                    datastores=settings.datastores, version=settings.version, oned=answering, cluster=cluster_name
                ),
                opts=child,
            ).datastores
        self._hosts = Hosts(
            "hosts",
            HostsArgs(
                hosts=settings.hosts,
                ssh=settings.ssh,
                packages=settings.packages,
                preparation=settings.preparation,
                fleet=settings.fleet,
                version=settings.version,
                monitoring=settings.monitoring,
                way_back=settings.way_back,
                private_key=secrets.ssh_private_key,
                oneadmin_public_key=self._identity.oneadmin.public,
                frontend_name=settings.oned.frontend_name,
                frontend_host_public_key=self._identity.frontend_host.public,
                oned=answering,
                monitor_key=self._oned.monitor_key,
                namespace_name=settings.kubernetes.namespace,
                cluster=cluster_name,
                # The scripts come with the image; what is configured of them is put beside them when the pod starts.
                remotes=content_hash(images.oned, *remote_files(settings.drivers, onegate_proxy).values()),
            ),
            opts=child,
        )
        self.register_outputs({})

    def exports(self) -> Exports:
        """The stack's outputs."""
        monitoring = self._settings.monitoring
        secret = f"kubectl -n {self._settings.kubernetes.namespace} get secret {naming.ONEADMIN_SECRET}"
        return Exports(
            version=self._settings.version.value,
            namespace=self._namespace.name,
            endpoints={
                "oned": self._oned.endpoint,
                "monitord": f"{monitoring.address}:{monitoring.port}",
                **self._daemons,
                **self._urls,
            },
            hosts=self._hosts.hosts,
            datastores=self._datastores,
            password_command=f"{secret} -o jsonpath='{{.data.{naming.ONE_AUTH_KEY}}}' | base64 -d",
            oneadmin_public_key=self._identity.oneadmin.public,
        )


def owned_by_the_program(
    resource: pulumi.ResourceTransformationArgs,
) -> pulumi.ResourceTransformationResult | None:
    """Every object of the cluster belongs to one field manager of a fixed name.

    The provider invents a name for each object and keeps it in the state. After a lost state it would take another one, the
    old one would own the fields as well, and server-side apply would never again take anything out of the object: a
    container that is switched off would stay.
    """
    if not resource.type_.startswith("kubernetes:"):
        return None
    metadata: Any = resource.props["metadata"]  # a plain dictionary in all components
    annotations = {**metadata.get("annotations", {}), "pulumi.com/patchFieldManager": FIELD_MANAGER}
    props = {**resource.props, "metadata": {**metadata, "annotations": annotations}}
    return pulumi.ResourceTransformationResult(props, resource.opts)


def kubernetes_provider(settings: StackSettings, parent: pulumi.Resource) -> pulumi_kubernetes.Provider:
    """One explicit provider for all: nothing ever goes to whatever cluster the shell happens to point at."""
    kubernetes = settings.kubernetes
    return pulumi_kubernetes.Provider(
        "cluster",
        kubeconfig=kubernetes.kubeconfig,
        context=kubernetes.context,
        # ConfigMaps change in place; those whose change must restart a pod carry their content's hash in the name.
        enable_config_map_mutable=True,
        # Volumes and namespace outlive a destroy, and a lost state must heal: an object of our name in our namespace is
        # taken over, and a field that somebody changed by hand is taken back (ADR 1).
        upsert_existing_objects=True,
        enable_patch_force=True,
        opts=pulumi.ResourceOptions(parent=parent),
    )
