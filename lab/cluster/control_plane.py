"""etcd, API server, controller manager and scheduler: their commands, as a cluster of one node needs them.

Admission is what counts for the programs tested here and is as strict as upstream makes it: Pod Security, service
accounts, RBAC and node restriction are on. etcd does not wait for the disk: a lab's state is thrown away with the lab.
"""

from __future__ import annotations

from lab.cluster.certificates import Pki
from lab.cluster.daemons import Daemon
from lab.cluster.kubeconfig import render
from lab.packages import system_program
from lab.paths import Instance
from lab.toolchain import tool

_ETCD = "http://127.0.0.1:2379"
_API = "https://127.0.0.1:6443"
# The default limit of 20 requests a second makes the controllers take four seconds to start, one after the other.
_UNHURRIED = ("--kube-api-qps=500", "--kube-api-burst=1000")


def etcd(instance: Instance) -> Daemon:
    return Daemon(
        name="etcd",
        argv=(
            *(
                str(system_program("etcd")),
                "--name=onelab",
                f"--data-dir={instance.state / 'etcd'}",
                "--unsafe-no-fsync",
            ),
            *(f"--listen-client-urls={_ETCD}", f"--advertise-client-urls={_ETCD}"),
            *("--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380"),
            *("--initial-cluster=onelab=http://127.0.0.1:2380", "--log-level=warn", "--logger=zap"),
        ),
    )


def apiserver(instance: Instance, pki: Pki) -> Daemon:
    return Daemon(
        name="kube-apiserver",
        argv=(
            str(tool("kube-apiserver")),
            f"--advertise-address={instance.node_ip}",
            f"--etcd-servers={_ETCD}",
            f"--service-cluster-ip-range={instance.services}",
            "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction,PodSecurity,ServiceAccount",
            f"--client-ca-file={pki.ca}",
            f"--tls-cert-file={pki.certificate('apiserver')}",
            f"--tls-private-key-file={pki.key('apiserver')}",
            f"--kubelet-certificate-authority={pki.ca}",
            f"--kubelet-client-certificate={pki.certificate('apiserver-kubelet')}",
            f"--kubelet-client-key={pki.key('apiserver-kubelet')}",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki.key('service-accounts')}",
            f"--service-account-signing-key-file={pki.key('service-accounts')}",
            # Nothing aggregates API servers here, but the controllers complain every second without an authority.
            f"--requestheader-client-ca-file={pki.ca}",
            "--requestheader-allowed-names=front-proxy",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--profiling=false",
        ),
    )


def controller_manager(instance: Instance, pki: Pki) -> Daemon:
    kubeconfig = instance.state / "etc" / "controller-manager.kubeconfig"
    return Daemon(
        name="kube-controller-manager",
        argv=(
            str(tool("kube-controller-manager")),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            *_UNHURRIED,
            f"--root-ca-file={pki.ca}",
            f"--service-account-private-key-file={pki.key('service-accounts')}",
            "--use-service-account-credentials=true",
            f"--cluster-cidr={instance.pods}",
            f"--service-cluster-ip-range={instance.services}",
            f"--flex-volume-plugin-dir={instance.state / 'kubelet' / 'volume-plugins'}",
            "--profiling=false",
        ),
        files={kubeconfig: render(_API, pki, "kube-controller-manager")},
    )


def scheduler(instance: Instance, pki: Pki) -> Daemon:
    kubeconfig = instance.state / "etc" / "scheduler.kubeconfig"
    return Daemon(
        name="kube-scheduler",
        argv=(
            str(tool("kube-scheduler")),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            *_UNHURRIED,
            "--profiling=false",
        ),
        files={kubeconfig: render(_API, pki, "kube-scheduler")},
    )
