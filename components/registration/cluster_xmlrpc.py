"""`ClusterClient` over XML-RPC, on the calls and limits of `XmlRpcClient`. Layout as of 7.4 and 6.10 (Cluster::to_xml)."""

from __future__ import annotations

from collections.abc import Mapping

from components.registration import template
from components.registration.cluster_client import ClusterDetails
from components.registration.records import Leaves, each_record, ids_at, number_at, text_at
from components.registration.transport import AnswerBroken
from components.registration.xmlrpc import APPEND, XmlRpcClient, new_id


class XmlRpcClusters:
    """Thread-safe."""

    def __init__(self, client: XmlRpcClient) -> None:
        self._client = client

    def all_clusters(self) -> tuple[ClusterDetails, ...]:
        return self._client.read("list the clusters", parse_clusters, "clusterpool.info")

    def cluster(self, cluster_id: int) -> ClusterDetails:
        return self._client.read(f"read cluster {cluster_id}", parse_cluster, "cluster.info", cluster_id)

    def allocate(self, name: str, *, within: float) -> int:
        what = f"make cluster {name!r}"
        return self._client.call(what, "cluster.allocate", name, convert=new_id, writes=True, within=within)

    def update(self, cluster_id: int, attributes: Mapping[str, str]) -> None:
        text = template.render(attributes)
        self._client.write(f"update cluster {cluster_id}", "cluster.update", cluster_id, text, APPEND)

    def rename(self, cluster_id: int, name: str) -> None:
        self._client.write(f"rename cluster {cluster_id} to {name!r}", "cluster.rename", cluster_id, name)

    def delete(self, cluster_id: int) -> None:
        self._client.write(f"delete cluster {cluster_id}", "cluster.delete", cluster_id)


def parse_clusters(xml: str) -> tuple[ClusterDetails, ...]:
    return each_record(xml, "CLUSTER_POOL/CLUSTER", _cluster)


def parse_cluster(xml: str) -> ClusterDetails:
    found = each_record(xml, "CLUSTER", _cluster)
    if len(found) != 1:
        raise AnswerBroken(f"{len(found)} clusters where one was asked for")
    return found[0]


def _cluster(leaves: Leaves) -> ClusterDetails:
    inside = {path.removeprefix("TEMPLATE/"): texts for path, texts in leaves.items() if path.startswith("TEMPLATE/")}
    return ClusterDetails(
        id=number_at(leaves, "ID"),
        name=text_at(leaves, "NAME"),
        hosts=ids_at(leaves, "HOSTS/ID"),
        datastores=ids_at(leaves, "DATASTORES/ID"),
        networks=ids_at(leaves, "VNETS/ID"),
        template={name: texts[0] for name, texts in inside.items() if "/" not in name},
    )
