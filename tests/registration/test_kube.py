"""What is read of a cluster, over the real Kubernetes client; the port-forward itself is tried on a real cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from components.registration.access import PodDialer, SecretCredential
from components.registration.errors import AccessError
from components.registration.exec import in_pod
from components.registration.forward import ForwardChannel, ForwardedSocket, forward
from components.registration.kube import Cluster, PodPort
from components.registration.transport import NotSent
from tests.registration.kubeapi import NAMESPACE, KubeApi, pod
from tests.registration.servers import PASSWORD, SESSION

websocket: Any = pytest.importorskip("websocket")


@pytest.fixture
def api() -> KubeApi:
    return KubeApi()


@pytest.fixture
def cluster(api: KubeApi, tmp_path: Path) -> Iterator[Cluster]:
    with api.running(tmp_path) as kubeconfig:
        yield Cluster(kubeconfig=kubeconfig, context=None, namespace=NAMESPACE)


def test_the_credential_is_read_once_and_shown_nowhere(api: KubeApi, cluster: Cluster) -> None:
    credential = SecretCredential(cluster)
    assert credential.known() == ()
    assert credential.session() == credential.session() == SESSION
    assert len(api.requests) == 1
    assert credential.known() == (SESSION, PASSWORD)
    assert PASSWORD not in repr(credential)
    assert credential.renewed() is False
    api.secrets["oned-oneadmin"]["one_auth"] = "oneadmin:another\n"
    assert credential.renewed() is True
    assert credential.session() == "oneadmin:another"


@pytest.mark.parametrize("secrets", [{}, {"oned-oneadmin": {}}, {"oned-oneadmin": {"other": "x"}}])
def test_a_missing_secret_is_an_error_with_the_next_command(
    api: KubeApi, cluster: Cluster, secrets: dict[str, dict[str, str]]
) -> None:
    api.secrets = secrets
    with pytest.raises(
        AccessError, match=r"no key 'one_auth' in Secret opennebula/oned-oneadmin.*kubectl .*get secret"
    ):
        SecretCredential(cluster).session()


@pytest.mark.parametrize("target", ["xmlrpc", 2633])
def test_the_ready_pod_is_chosen_and_its_port_found(api: KubeApi, cluster: Cluster, target: int | str) -> None:
    api.target_port = target
    leaving = pod("oned-0")
    leaving["metadata"]["deletionTimestamp"] = "2026-11-22T00:00:00Z"
    api.pods = [leaving, pod("oned-1", ready=False), pod("oned-2")]
    assert cluster.pod_behind("oned", 2633) == PodPort(pod="oned-2", port=2633)


def test_no_ready_pod_says_why(api: KubeApi, cluster: Cluster) -> None:
    api.pods = [pod("oned-0", ready=False, waiting="CrashLoopBackOff")]
    with pytest.raises(
        NotSent, match=r"no pod behind Service oned is ready: oned-0 is Running and not ready \(container oned: Crash"
    ):
        cluster.pod_behind("oned", 2633)
    api.pods = []
    with pytest.raises(NotSent, match="it has no pods"):
        cluster.pod_behind("oned", 2633)
    api.refuse = lambda _verb, _path: 404
    with pytest.raises(NotSent, match="there is no Service oned in namespace opennebula"):
        cluster.pod_behind("oned", 2633)


def test_a_pod_that_cannot_be_forwarded_to_is_not_kept(api: KubeApi, cluster: Cluster) -> None:
    """The server on loopback does not speak WebSocket, so every forward fails."""
    dialer = PodDialer(cluster)
    for _ in range(2):
        with pytest.raises(NotSent, match="port-forward to pod opennebula/oned-0"):
            dialer.dial(2)
    assert sum("/pods" in request and "portforward" not in request for request in api.requests) == 2


WAYS: Mapping[str, tuple[str, Callable[[Cluster], object]]] = {
    "portforward": ("port-forward to pod opennebula/oned-0", lambda it: forward(it, PodPort(pod="oned-0", port=1), 5)),
    "exec": ("run cat in container hem of pod opennebula/oned-0", lambda it: in_pod(it, "oned-0", "hem", ("cat",))),
}


@pytest.mark.parametrize("status", [401, 403, 500])
@pytest.mark.parametrize("permission", WAYS)
def test_a_way_into_a_pod_that_is_not_allowed_is_told_with_the_permission(
    api: KubeApi, cluster: Cluster, permission: str, status: int
) -> None:
    what, opened = WAYS[permission]
    api.refuse = lambda _verb, _path: status
    with pytest.raises((AccessError, NotSent)) as caught:
        opened(cluster)
    text = str(caught.value)
    assert f"{what}: the Kubernetes API answers {status}" in text
    assert isinstance(caught.value, AccessError) is (status < 500)
    assert (f"auth can-i create pods/{permission}`" in text) is (status < 500)
    assert api.requests == [f"GET /api/v1/namespaces/opennebula/pods/oned-0/{permission}"]


@pytest.mark.parametrize("status", [401, 403])
def test_forbidden_is_not_waited_for(api: KubeApi, cluster: Cluster, status: int) -> None:
    api.refuse = lambda _verb, _path: status
    with pytest.raises(AccessError, match=f"answers {status}"):
        SecretCredential(cluster).session()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_api_server_is(api: KubeApi, cluster: Cluster, status: int) -> None:
    api.refuse = lambda _verb, _path: status
    with pytest.raises(NotSent):
        SecretCredential(cluster).session()


def test_no_api_server_is_waited_for_and_no_kubeconfig_is_not(tmp_path: Path) -> None:
    gone = Cluster(kubeconfig=str(tmp_path / "missing"), context=None, namespace=NAMESPACE)
    with pytest.raises(AccessError, match=r"the kubeconfig cannot be used.*KUBECONFIG"):
        gone.secret("oned-oneadmin", "one_auth")
    with KubeApi().running(tmp_path) as kubeconfig:
        pass
    with pytest.raises(NotSent, match="does not answer"):
        Cluster(kubeconfig=kubeconfig, context=None, namespace=NAMESPACE).secret("oned-oneadmin", "one_auth")
    with pytest.raises(AccessError, match="the kubeconfig cannot be used"):
        Cluster(kubeconfig=kubeconfig, context="elsewhere", namespace=NAMESPACE).secret("oned-oneadmin", "one_auth")


class Frames:
    """A WebSocket that plays back frames; an exception class among them is raised."""

    def __init__(self, *frames: Any) -> None:
        self.frames = list(frames)
        self.sent: list[bytes] = []

    def recv_data(self) -> tuple[int, bytes]:
        frame = self.frames.pop(0) if self.frames else websocket.WebSocketConnectionClosedException("closed")
        if isinstance(frame, Exception):
            raise frame
        return frame if isinstance(frame, tuple) else (2, frame)

    def send_binary(self, data: bytes) -> int:
        self.sent.append(data)
        return len(data)

    def settimeout(self, seconds: float) -> None:
        pass

    def shutdown(self) -> None:
        pass


PORT = (2633).to_bytes(2, "little")


def read_all(socket: ForwardedSocket) -> bytes:
    data = b""
    buffer = bytearray(7)
    while count := socket.recv_into(memoryview(buffer)):
        data += buffer[:count]
    return data


def test_the_forward_protocol() -> None:
    frames = Frames(b"\0" + PORT, b"\1" + PORT, b"\0hello ", b"", b"\0world, this is oned")
    socket = ForwardedSocket(frames)
    socket.sendall(b"request")
    assert frames.sent == [b"\0request"]
    assert read_all(socket) == b"hello world, this is oned"


def test_a_closing_frame_is_the_end() -> None:
    assert read_all(ForwardedSocket(Frames(b"\0" + PORT, b"\0x", (8, b"\x03\xe8"), b"\0never"))) == b"x"


def test_a_refused_connection_in_the_pod_was_never_sent() -> None:
    channel = ForwardChannel(
        Frames(b"\0" + PORT, b"\1" + PORT, b"\1failed to connect to localhost:2633: connection refused")
    )
    assert read_all(channel.socket) == b""
    assert "connection refused" in channel.refusal()


def test_an_error_later_may_have_been_executed() -> None:
    channel = ForwardChannel(
        Frames(b"\0" + PORT, b"\1" + PORT, b"\1error copying from remote stream: connection reset")
    )
    assert read_all(channel.socket) == b""
    assert channel.refusal() == ""


def test_websocket_errors_are_socket_errors() -> None:
    with pytest.raises(TimeoutError):
        read_all(ForwardedSocket(Frames(websocket.WebSocketTimeoutException("slow"))))
    with pytest.raises(ConnectionError):
        read_all(ForwardedSocket(Frames(websocket.WebSocketProtocolException("bad"))))
    with pytest.raises(ConnectionError):
        ForwardedSocket(Closed()).sendall(b"x")


class Closed(Frames):
    def send_binary(self, data: bytes) -> int:
        raise websocket.WebSocketConnectionClosedException(f"{len(data)} bytes too late")
