"""Network policies of the cluster in force: kube-router's policy controller, beside kube-proxy on the node.

The bridge plugin connects all pods and knows no policies. The controller watches pods, namespaces and policies and keeps
rules for them in the box's packet filter, so that they end with the box. Like the node agents of real clusters it lets
the pods' own node in: the kubelet's probes and port-forwards come from there. What it blocks it rejects (ICMP port
unreachable), which clients see as a refused connection.

Limits, all upstream's: a new pod is open until its address is known and its rules are written; how long was not measured
(a change of a policy was in force after 0.20 to 0.25 s, five tries). A port given by a name that no selected pod has opens
all ports, and an egress rule to everybody opens the named port's number to everybody: policies here should say numbers.
IPv4 only, as the lab is.
"""

from __future__ import annotations

from pathlib import Path

from lab.box import NODE
from lab.cluster.certificates import Pki
from lab.cluster.daemons import Daemon
from lab.cluster.kubeconfig import render
from lab.paths import Instance
from lab.toolchain import tool

NAME = "policy"

# The controller writes back the whole filter table that it has read before. What kube-proxy changed in between would be
# lost, such as the end of a Service's refusal when its first pod is ready. With the older tables it has a table of its own,
# which the kernel asks besides kube-proxy's.
_OWN_TABLES = """
mkdir -p "$0"
for each in iptables iptables-save iptables-restore; do
  ln -sf "$(command -v xtables-legacy-multi)" "$0/$each"
done
PATH="$0:$PATH" exec "$@"
"""


def ready_file(instance: Instance) -> Path:
    """Written by the controller once the rules of all policies are in the kernel; emptied when it is started."""
    return instance.state / "etc" / "policy.ready"


def in_force(instance: Instance) -> bool:
    """Has the running controller put its first complete set of rules into the kernel?"""
    file = ready_file(instance)
    return file.exists() and file.stat().st_size > 0


def controller(instance: Instance, pki: Pki) -> Daemon:
    """It waits by itself for the kubelet to register the node."""
    kubeconfig = instance.state / "etc" / "policy.kubeconfig"
    return Daemon(
        name=NAME,
        argv=(
            *("sh", "-c", _OWN_TABLES, "/run/policy-tables"),
            str(tool("policy")),
            f"--kubeconfig={kubeconfig}",
            f"--node={NODE}",
            f"--services={instance.services}",
            f"--ready={ready_file(instance)}",
        ),
        files={
            # The built-in roles have none for this; it runs as root of the node, where the administrator's key lies.
            kubeconfig: render("https://127.0.0.1:6443", pki, "admin"),
            ready_file(instance): "",
        },
    )
