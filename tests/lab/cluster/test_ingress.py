"""The real ingress controller on the real cluster: the program's own Ingress objects in front of two tiny backends."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPSConnection, RemoteDisconnected
from pathlib import Path
from typing import Any

import pytest
import websocket

from components.ingress import Backend, ingress_annotations, ingress_spec
from components.ingress_annotations import COOKIE
from components.ingress_settings import IngressSettings
from lab import ca, cluster, ingress
from lab.ca import ServerCertificate
from lab.paths import Instance
from tests.kubectl import Kubectl

pytestmark = pytest.mark.engine

INSTANCE = Instance(name="ingresstest", index=22)
kubectl = Kubectl(INSTANCE.kubeconfig)
NAMESPACE = "try"
FIREEDGE, ONEFLOW, STRANGE = "fireedge.lab.test", "oneflow.lab.test", "strange.lab.test"
LIMIT = 20.0

# Answers with its own name, its pod and what it was asked. A WebSocket is greeted in one write with the 101, then echoed.
SERVER = r"""
require "socket"
require "digest/sha1"
def frame(data) = [0x81, data.bytesize].pack("CC") + data
server = TCPServer.new("0.0.0.0", 8080)
loop do
  Thread.new(server.accept) do |client|
    while (line = client.gets)
      heads = {}
      while (text = client.gets) && text != "\r\n"
        key, value = text.chomp.split(": ", 2)
        heads[key.downcase] = value
      end
      if heads["upgrade"]
        seal = [Digest::SHA1.digest(heads["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")].pack("m0")
        client.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
                     "Sec-WebSocket-Accept: #{seal}\r\n\r\n" + frame(ENV["HOSTNAME"]))
        loop do
          kind, length = client.read(2).unpack("CC")
          mask = client.read(4).bytes
          data = client.read(length & 127).bytes.each_with_index.map { |byte, at| byte ^ mask[at % 4] }.pack("C*")
          break client.close if kind == 0x88
          client.write(frame(data))
        end
      end
      words = [ENV["NAME"], ENV["HOSTNAME"], line.split[1], heads["host"], heads["x-forwarded-proto"]]
      body = words.join(" ")
      client.write("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n" \
                   "Content-Length: #{body.bytesize}\r\n\r\n#{body}")
    end
  rescue StandardError
    client.close
  end
end
"""


def backend(name: str, image: str, replicas: int) -> list[dict[str, Any]]:
    """A Deployment and its Service."""
    labels = {"app": name}
    container = {
        "name": name,
        "image": image,
        "command": ["ruby", "-e", SERVER],
        "env": [{"name": "NAME", "value": name}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 9869, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    meta = {"name": name, "namespace": NAMESPACE}
    template = {"metadata": {"labels": labels}, "spec": pod}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": labels, "ports": [{"port": 2616, "targetPort": 8080}]},
        },
    ]


def program_ingress(name: str, host: str, *, class_name: str = ingress.CLASS, sticky: bool = False) -> dict[str, Any]:
    """An Ingress as the program writes it."""
    settings = IngressSettings.model_validate(
        {
            "enabled": True,
            "class_name": class_name,
            "controller": ingress.CONTROLLER,
            "controller_namespace": ingress.NAMESPACE,
            "tls": {"kind": "secret", "name": "ingress-tls"},
        },
        strict=False,
    )
    behind = Backend(name=name, host=host, service=name, port=2616, websocket=sticky, uploads=True, sticky=sticky)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": host.partition(".")[0],
            "namespace": NAMESPACE,
            "annotations": ingress_annotations(settings, behind),
        },
        "spec": ingress_spec(settings, behind, "ingress-tls"),
    }


@pytest.fixture(scope="module")
def images() -> Iterator[dict[str, str]]:
    cluster.stop(INSTANCE)
    found = cluster.start(INSTANCE, ingress.hosts(INSTANCE))
    ingress.apply(INSTANCE, found)
    yield found
    cluster.stop(INSTANCE)
    shutil.rmtree(INSTANCE.state, ignore_errors=True)


@pytest.fixture(scope="module")
def server(images: dict[str, str]) -> ServerCertificate:
    """Two backends behind Ingress objects, and a third Ingress of a class that is not ours."""
    pair = ca.ensure(INSTANCE)
    items = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        ingress.tls_secret(NAMESPACE, "ingress-tls", pair.certificate, pair.key),
        *backend("web", images["oned"], 2),
        *backend("flow", images["oned"], 1),
        program_ingress("web", FIREEDGE, sticky=True),
        program_ingress("flow", ONEFLOW),
        program_ingress("flow", STRANGE, class_name="not-ours"),
    ]
    kubectl("apply", "-f", "-", manifest={"apiVersion": "v1", "kind": "List", "items": items})
    for name in ("web", "flow"):
        kubectl(f"--namespace={NAMESPACE}", "rollout", "status", f"deployment/{name}", "--timeout=60s", limit=70)
    until(lambda: answers(pair, FIREEDGE) and answers(pair, ONEFLOW))
    # Both pods: the controller may have read the list of endpoints when only one was ready.
    until(lambda: len({ask(pair, FIREEDGE)[0][1] for _ in range(20)}) == 2)
    return pair


def until(good: Any) -> None:
    deadline = time.monotonic() + LIMIT
    while not good():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def answers(server: ServerCertificate, host: str) -> bool:
    try:
        return bool(ask(server, host))
    except (OSError, AssertionError):
        return False


class Connection(HTTPSConnection):
    """TLS to the node's address, for a name: what a client does whose DNS knows the name."""

    def __init__(self, server: ServerCertificate, host: str) -> None:
        self.context = ssl.create_default_context(cadata=server.authority)
        super().__init__(host, 443, timeout=10, context=self.context)

    def connect(self) -> None:
        plain = socket.create_connection((str(INSTANCE.node_ip), 443), timeout=10)
        self.sock = self.context.wrap_socket(plain, server_hostname=self.host)


def ask(
    server: ServerCertificate, host: str, path: str = "/", *, cookie: str = "", headers: dict[str, str] | None = None
) -> tuple[list[str], str]:
    """(the words of a backend's answer, the cookie that was set)."""
    connection = Connection(server, host)
    try:
        connection.request("GET", path, headers={**(headers or {}), **({"Cookie": cookie} if cookie else {})})
        answer = connection.getresponse()
        body = answer.read().decode()
        assert answer.status == 200, body
        return body.split(), answer.getheader("Set-Cookie") or ""
    finally:
        connection.close()


def test_each_host_name_leads_to_its_own_daemon(server: ServerCertificate) -> None:
    for host, name in ((FIREEDGE, "web"), (ONEFLOW, "flow")):
        words, _ = ask(server, host, "/fireedge/sunstone?a=b")
        assert (words[0], words[2], words[3], words[4]) == (name, "/fireedge/sunstone?a=b", host, "https")


def test_a_client_cannot_claim_to_have_come_without_tls(server: ServerCertificate) -> None:
    words, _ = ask(server, FIREEDGE, headers={"X-Forwarded-Proto": "http"})
    assert words[4] == "https"


def test_the_certificate_is_of_the_labs_authority_and_checked_by_name(server: ServerCertificate) -> None:
    other = ca.ensure(Instance(name="ingresstest-stranger", index=23))
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(other, FIREEDGE)
    shutil.rmtree(Instance(name="ingresstest-stranger", index=23).state)
    trusting = ssl.create_default_context(cadata=server.authority)
    plain = socket.create_connection((str(INSTANCE.node_ip), 443), timeout=10)
    with trusting.wrap_socket(plain, server_hostname=FIREEDGE) as secured:
        presented = secured.getpeercert(binary_form=True)
    assert presented is not None
    sent = ssl.PEM_cert_to_DER_cert(server.certificate)
    assert hashlib.sha256(presented).hexdigest() == hashlib.sha256(sent).hexdigest()


@pytest.mark.parametrize("host", [STRANGE, "nobody.lab.test"])
def test_names_of_other_classes_and_of_nobody_are_not_served(server: ServerCertificate, host: str) -> None:
    with pytest.raises((ssl.SSLError, RemoteDisconnected, ConnectionResetError)):
        ask(server, host)
    # Nor by way of a name that is served.
    connection = Connection(server, FIREEDGE)
    connection.request("GET", "/", headers={"Host": host})
    assert connection.getresponse().status == 404
    connection.close()


@pytest.mark.parametrize("host", [FIREEDGE, ONEFLOW])
def test_http2_takes_the_answers_of_node(server: ServerCertificate, host: str, tmp_path: Path) -> None:
    """Browsers speak HTTP/2 to the controller and break off at Keep-Alive, which Node puts into every answer."""
    authority = tmp_path / "ca.crt"
    authority.write_text(server.authority)
    where = ("--cacert", str(authority), "--resolve", f"{host}:443:{INSTANCE.node_ip}", f"https://{host}/")
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--http2", "--include", "--max-time", "10", *where],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stdout.startswith("HTTP/2 200"), done.stderr
    assert "keep-alive" not in done.stdout.lower()


def test_plain_http_fails(server: ServerCertificate) -> None:
    with socket.create_connection((str(INSTANCE.node_ip), 443), timeout=10) as plain:
        plain.sendall(f"GET / HTTP/1.1\r\nHost: {FIREEDGE}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: plain.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.0 400")
    assert b"web" not in answer
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((str(INSTANCE.node_ip), 80), timeout=10)


def open_websocket(server: ServerCertificate, host: str, path: str, cookie: str = "") -> websocket.WebSocket:
    connection = Connection(server, host)
    connection.connect()
    return websocket.create_connection(f"wss://{host}{path}", socket=connection.sock, cookie=cookie or None, timeout=10)


@pytest.mark.parametrize(
    "path",
    ["/fireedge/guacamole", "/fireedge/external-guacamole", "/fireedge/websockets/hooks?EIO=4&transport=websocket"],
)
def test_websockets_pass_both_ways(server: ServerCertificate, path: str) -> None:
    for _ in range(20):  # what the daemon says at once must never be lost
        socket_ = open_websocket(server, FIREEDGE, path)
        assert str(socket_.recv()).startswith("web-")
        socket_.send("4.sync,8.12345678;")
        assert socket_.recv() == "4.sync,8.12345678;"
        socket_.close()


def test_a_request_to_upgrade_may_be_answered_in_plain(server: ServerCertificate) -> None:
    """A name without a backend: the refusal comes through instead of a connection that hangs."""
    connection = Connection(server, FIREEDGE)
    connection.request("GET", "/", headers={"Host": "nobody.lab.test", "Connection": "Upgrade", "Upgrade": "websocket"})
    assert connection.getresponse().status == 404
    connection.close()


def test_a_browser_stays_with_one_pod(server: ServerCertificate) -> None:
    pods = set()
    for _ in range(12):
        (_, pod, *_rest), header = ask(server, FIREEDGE)
        found = re.fullmatch(rf"({COOKIE}=[^;]+); Path=/; Secure; HttpOnly; SameSite=Lax", header)
        assert found is not None, header
        cookie = found.group(1)
        again = [ask(server, FIREEDGE, cookie=f"other=1; {cookie}") for _ in range(8)]
        assert {words[1] for words, _ in again} == {pod}
        assert all(kept.startswith(f"{cookie};") for _, kept in again)
        console = open_websocket(server, FIREEDGE, "/fireedge/guacamole", cookie)
        assert console.recv() == pod
        console.close()
        pods.add(pod)
    assert len(pods) == 2
    assert ask(server, ONEFLOW)[1] == ""


def test_pods_reach_it_by_name_too(server: ServerCertificate) -> None:
    script = f'require "socket"; TCPSocket.new("{FIREEDGE}", 443).close; puts "open"'
    assert kubectl(f"--namespace={NAMESPACE}", "exec", "deployment/flow", "--", "ruby", "-e", script) == "open"


def test_the_controllers_account_may_list_and_nothing_else(server: ServerCertificate) -> None:
    account = f"--as=system:serviceaccount:{ingress.NAMESPACE}:{ingress.CONTROLLER}"

    def may(verb: str, what: str) -> bool:
        return kubectl("auth", "can-i", verb, what, "--all-namespaces", account, check=False) == "yes"

    assert may("list", "secrets") and may("list", "ingresses.networking.k8s.io")
    assert not any(may(verb, "secrets") for verb in ("get", "watch", "create", "update", "delete"))
    assert not may("list", "pods") and not may("list", "configmaps") and not may("create", "pods")


def test_it_comes_back_after_a_second_apply_and_goes_whole(images: dict[str, str], server: ServerCertificate) -> None:
    where = ("get", "pods", f"--namespace={ingress.NAMESPACE}", "-o", "jsonpath={.items[*].metadata.uid}")
    before = kubectl(*where)
    ingress.apply(INSTANCE, images)
    assert kubectl(*where) == before
    ingress.remove(INSTANCE)
    kinds = "namespaces,ingressclasses,clusterroles,clusterrolebindings"
    names = kubectl("get", kinds, "-o", "name").splitlines()
    assert not [name for name in names if name.endswith(("/ingress", "/lab", "onelab:ingress"))]
    ingress.remove(INSTANCE)  # and again, with nothing to remove
    ingress.apply(INSTANCE, images)
    until(lambda: answers(server, FIREEDGE))
