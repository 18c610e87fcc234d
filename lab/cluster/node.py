"""The node's processes: containerd, kubelet and kube-proxy, with the bridge network for pods.

They live in the box and keep their state with the lab. The kubelet makes its cgroups under the lab's own subtree. The
container runtime is told that it may not lower OOM scores, which the root of many a CI system cannot.
"""

from __future__ import annotations

import json

from lab.box import NODE
from lab.cluster.certificates import Pki
from lab.cluster.daemons import Daemon
from lab.cluster.kubeconfig import render
from lab.packages import CNI_PLUGINS, system_program
from lab.paths import Instance
from lab.toolchain import tool

SOCKET = "/run/containerd/containerd.sock"  # in the box, which has a /run of its own
_API = "https://127.0.0.1:6443"


def containerd(instance: Instance, pause: str) -> Daemon:
    """`pause` is the reference of the sandbox image; it must be imported, there is no registry."""
    etc = instance.state / "etc"
    network = etc / "cni" / "10-onelab.conflist"
    config = f"""
version = 2
root = "{instance.state / "containerd"}"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{network.parent}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""
    program = system_program("containerd")
    path = f"{program.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return Daemon(
        name="containerd",
        argv=(str(program), "--config", str(etc / "containerd.toml"), "--log-level", "info"),
        files={etc / "containerd.toml": config, network: json.dumps(_pod_network(instance), indent=1)},
        environment={"PATH": path},  # it finds its shim and runc there
    )


def _pod_network(instance: Instance) -> dict[str, object]:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/cni",
            "ranges": [[{"subnet": str(instance.pods)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return {
        "cniVersion": "0.4.0",
        "name": "onelab",
        "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}],
    }


def kubelet(instance: Instance, pki: Pki) -> Daemon:
    etc = instance.state / "etc"
    state = instance.state / "kubelet"
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki.ca)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki.certificate("kubelet-server")),
        "tlsPrivateKeyFile": str(pki.key("kubelet-server")),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{instance.cgroup}/kube",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [str(instance.dns_ip)],
        "clusterDomain": "cluster.local",
        "resolvConf": "",  # nothing outside resolves: a name that the cluster does not know fails at once
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,  # an image that is collected cannot be pulled again
        "imageMaximumGCAge": "0s",
        "podLogsDir": str(instance.state / "pod-logs"),
        "volumePluginDir": str(state / "volume-plugins"),
        "protectKernelDefaults": True,  # the box shows it the values it wants; the machine's own stay untouched
        "seccompDefault": True,
        "serializeImagePulls": False,
        "enableDebuggingHandlers": True,
        "readOnlyPort": 0,
    }
    return Daemon(
        name="kubelet",
        argv=(
            str(tool("kubelet")),
            f"--config={etc / 'kubelet.json'}",
            f"--kubeconfig={etc / 'kubelet.kubeconfig'}",
            f"--root-dir={state}",
            f"--hostname-override={NODE}",
            f"--node-ip={instance.node_ip}",
        ),
        files={
            etc / "kubelet.json": json.dumps(config, indent=1),
            etc / "kubelet.kubeconfig": render(_API, pki, "kubelet"),
        },
    )


def proxy(instance: Instance, pki: Pki) -> Daemon:
    etc = instance.state / "etc"
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(etc / "kube-proxy.kubeconfig")},
        "hostnameOverride": NODE,
        "mode": "iptables",
        # Traffic to a service from outside of the pods, which is how the root namespace comes, must return this way.
        "detectLocalMode": "ClusterCIDR",
        "clusterCIDR": str(instance.pods),
        "iptables": {"minSyncPeriod": "0.1s"},
        # Sizes of the connection table belong to the machine, not to a network namespace.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s"},
    }
    return Daemon(
        name="kube-proxy",
        argv=(str(tool("kube-proxy")), f"--config={etc / 'kube-proxy.json'}"),
        files={
            etc / "kube-proxy.json": json.dumps(config, indent=1),
            etc / "kube-proxy.kubeconfig": render(_API, pki, "kube-proxy"),
        },
    )
