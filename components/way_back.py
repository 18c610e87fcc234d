"""The way back: a restricted sshd of the control plane for the datastore drivers that copy to and from the front-end.

`tm/local` and `tm/ssh` run parts of their work by ssh on the host that oned calls HOSTNAME, from the hosts and from
oned itself. Here stand the settings and the texts: sshd_config, the one authorized key, the pinned host key. The
container `way-back` of the oned pod is built in `components/oned_pod.py`. Deliberately not here: the hosts' own ssh
configuration (components/bootstrap, HostPlan.frontend_*).

Nobody else gets in: one user, one key, no password, no terminal, no tunnel. Agent forwarding works for oned's own
sessions alone (`tm/local/clone` runs `ssh` to itself and from there to the host); a host never lends its agent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import Field

from components import naming
from components.domain import Address, Network, Port, Section, nowhere
from components.load_balancer import LoadBalancerClass, ServiceAnnotations, balanced, class_problem
from components.manifests import Manifest, cidr_peer, policy_ports
from components.monitoring import ONE_NODE, Exposure

DIRECTORY: Final = "/etc/one-way-back"
HOST_KEY_DIRECTORY: Final = "/run/secrets/one/way-back"
HOST_KEY: Final = "host_key"


class WayBackSettings(Section):
    """ssh from the hosts to the control plane, for datastores whose drivers copy to and from it."""

    enabled: bool = Field(default=False, description="run it; local and ssh datastores need it, shared ones do not")
    address: Address | None = Field(
        default=None,
        description="where the hosts reach it: the load balancer's or a node's. Required, unless this exposure and monitoring's "
        "are both nodePort: then it is monitoring.address when left out",
    )
    port: Port = Field(
        default=naming.PORT_WAY_BACK, description="port that the hosts use; 30000-32767 with exposure nodePort"
    )
    exposure: Exposure = Field(
        default=Exposure.LOAD_BALANCER,
        description=f"Service type towards the hosts: loadBalancer, or nodePort. {ONE_NODE}",
    )
    service_annotations: ServiceAnnotations = Field(default={})
    load_balancer_class: LoadBalancerClass = Field(default=None)
    max_sessions: int = Field(
        default=200, ge=10, le=2000, description="connections at once that have not logged in yet"
    )


def problems(settings: WayBackSettings) -> Iterator[tuple[str, str]]:
    """(path below `wayBack`, sentence). Whether it needs an address of its own is asked of monitoring too: `address_problem`."""
    if settings.enabled and settings.exposure is Exposure.NODE_PORT and not 30000 <= settings.port <= 32767:
        yield "port", "must be 30000 to 32767 with exposure nodePort"
    if settings.address is not None and nowhere(settings.address):
        yield "address", "hosts cannot connect there; give the load balancer's or a node's address"
    if settings.enabled and (text := class_problem(settings.load_balancer_class, settings.exposure)):
        yield "loadBalancerClass", text


def address_problem(settings: WayBackSettings, monitoring: Exposure) -> str | None:
    """Why monitoring's address, which is at a Service of its own with the exposure `monitoring`, does not do, as a sentence.

    One pod is behind both, so their node ports are at the same node. Load balancers are one for each Service unless both
    ask to share (MetalLB's page on usage, "IP address sharing": with the policy Local, as here, where both select the same pods).
    """
    if not settings.enabled or settings.address is not None:
        return None
    if settings.exposure is Exposure.LOAD_BALANCER:
        return (
            "is required with exposure loadBalancer: a load balancer of its own has an address of its own. Where both Services "
            "are to share one, ask for that in both serviceAnnotations (MetalLB: metallb.io/allow-shared-ip, one and the same "
            "value) and repeat monitoring.address here"
        )
    if monitoring is Exposure.LOAD_BALANCER:
        return (
            "is required with exposure nodePort beside monitoring.exposure loadBalancer: a node port is at its node's address, "
            "not at the load balancer's"
        )
    return None


def files(settings: WayBackSettings, *, name: str, oneadmin_key: str, host_key: str) -> dict[str, str]:
    """Everything of the ConfigMap; both keys are public halves as `type base64`, `name` is the front-end's."""
    return {
        "sshd_config": sshd_config(settings),
        # `restrict` also covers what a later OpenSSH may invent.
        "authorized_keys": f"restrict,agent-forwarding {oneadmin_key} oneadmin\n",
        "known_hosts": f"{name} {host_key}\n",
        "ssh_config": client_config(name),
    }


def sshd_config(settings: WayBackSettings) -> str:
    """Configuration of an sshd that runs as oneadmin and therefore can serve nobody else."""
    start = settings.max_sessions
    return f"""\
Port {naming.PORT_WAY_BACK}
HostKey {HOST_KEY_DIRECTORY}/{HOST_KEY}
PidFile none
AllowUsers oneadmin
AuthenticationMethods publickey
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
AuthorizedKeysFile {DIRECTORY}/authorized_keys
# The mounted file belongs to root and nobody can write it; what StrictModes dislikes is the mode of a volume's directory.
StrictModes no
PermitTTY no
X11Forwarding no
AllowTcpForwarding no
AllowStreamLocalForwarding no
GatewayPorts no
PermitTunnel no
PermitUserRC no
PermitUserEnvironment no
AllowAgentForwarding no
# A thousand VMs that start at once open a connection each.
MaxStartups {start}:30:{2 * start}
MaxSessions 100
LoginGraceTime 30
ClientAliveInterval 15
ClientAliveCountMax 8
LogLevel INFO
# oned's own sessions to itself go on from here to a host, with the agent of the pod.
Match Address 127.0.0.1
    AllowAgentForwarding yes
"""


def client_config(name: str) -> str:
    """How oned's ssh reaches the front-end's name: its own pod, with the host key that hosts pin too."""
    return f"""\
Host {name}
    HostName 127.0.0.1
    Port {naming.PORT_WAY_BACK}
    HostKeyAlias {name}
    UserKnownHostsFile {DIRECTORY}/known_hosts
"""


def service(settings: WayBackSettings) -> Manifest:
    """Towards the hosts, with the sender's address kept (the network policy looks at it)."""
    port: Manifest = {"name": "ssh", "protocol": "TCP", "port": settings.port, "targetPort": naming.PORT_WAY_BACK}
    if settings.exposure is Exposure.NODE_PORT:
        port["nodePort"] = settings.port
    return {
        **({"type": "NodePort"} if settings.exposure is Exposure.NODE_PORT else balanced(settings.load_balancer_class)),
        "externalTrafficPolicy": "Local",
        "selector": naming.selector(naming.ONED),
        "ports": [port],
    }


def network_policy(hypervisors: tuple[Network, ...]) -> Manifest:
    """From the hosts' networks, and from nowhere else: an empty `from` would mean everybody."""
    ports = policy_ports(("TCP", naming.PORT_WAY_BACK))
    rules = [{"from": [cidr_peer(str(network))], "ports": ports} for network in hypervisors]
    return {
        "podSelector": {"matchLabels": naming.selector(naming.ONED)},
        "policyTypes": ["Ingress"],
        "ingress": rules,
    }
