"""Small servers on loopback: peers that misbehave byte by byte, and oned's XML-RPC in front of `MemoryOned`."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import xmlrpc.client
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from xml.sax.saxutils import escape

from components.registration.access import GivenCredential, UrlDialer
from components.registration.client import AdminState, HostRecord, MachineRecord
from components.registration.errors import ActionRefused, NameTaken, NotFound
from components.registration.xmlrpc import Limits, XmlRpcClient
from tests.registration.memory import MemoryOned

PASSWORD = "correct-horse-battery"
SESSION = f"oneadmin:{PASSWORD}"


QUICK = Limits(connect=0.5, read=0.4, wait=0.8, per_second=10_000)


def client_of(url: str, limits: Limits = QUICK, password: str = PASSWORD) -> XmlRpcClient:
    return XmlRpcClient(UrlDialer(url), GivenCredential(password), limits)


@contextlib.contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[str]:
    """A TCP server on loopback, a thread for each connection; yields its URL without a path."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(5)


@contextlib.contextmanager
def peer(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """A TCP server that hands each connection to `behave`; yields its URL."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):  # the client has gone, which is what most of these peers provoke
                behave(self.request)

    with serving(Handler) as url:
        yield f"{url}/RPC2"


def request_of(connection: socket.socket) -> bytes:
    """One whole HTTP request."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(connection)
    head, body = data.split(b"\r\n\r\n", 1)
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += _received(connection)
    return body


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionResetError("the client has gone")
    return data


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: text/xml", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answer(value: Any) -> bytes:
    """A good XML-RPC answer."""
    return http(xmlrpc.client.dumps((value,), methodresponse=True).encode())


class OnedServer:
    """one.host.* and one.hostpool.* over HTTP, from a MemoryOned. `after` may break an answer once the call is done."""

    def __init__(self, oned: MemoryOned | None = None) -> None:
        self.oned = oned or MemoryOned()
        self.after: Callable[[str, socket.socket], bool] = lambda _method, _connection: False
        self.instead: Callable[[str], Any] = lambda _method: None
        self.at_once = self.most_at_once = self.requests = 0
        self.sessions: list[str] = []
        self.session = SESSION
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                with outer._lock:
                    outer.requests += 1
                    outer.at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer.at_once)
                try:
                    raw = self.rfile.read(int(self.headers["Content-Length"]))
                    params, method = xmlrpc.client.loads(raw)
                    value = outer.instead(str(method))
                    if value is None:
                        value = outer.call(str(method), params)
                finally:
                    # Before the answer: with it in hand the client may come again at once.
                    with outer._lock:
                        outer.at_once -= 1
                if outer.after(str(method), self.connection):
                    self.close_connection = True
                    return
                body = xmlrpc.client.dumps((value,), methodresponse=True).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                pass

        with serving(Handler) as url:
            yield f"{url}/RPC2"

    def call(self, method: str, params: tuple[Any, ...]) -> list[Any]:
        self.sessions.append(params[0])
        if params[0] != self.session:
            return [False, f"[{method}] User couldn't be authenticated, aborting call.", 0x100, -1, -1]
        try:
            return [True, self._run(method, *params[1:]), 0]
        except NotFound as error:
            return [False, f"[{method}] {error.cause}", 0x400, -1, -1]
        except ActionRefused as error:
            return [False, f"[{method}] {error.cause}", 0x800, -1, -1]
        except NameTaken as error:
            return [False, f"[{method}] Error allocating a new host. {error.cause}", 0x4000, -1, -1]

    def _run(self, method: str, *args: Any) -> Any:
        oned = self.oned
        match method:
            case "one.hostpool.info":
                return f"<HOST_POOL>{''.join(map(host_xml, oned.hosts()))}</HOST_POOL>"
            case "one.host.info":
                return host_xml(oned.host(args[0]))
            case "one.host.allocate":
                return oned.allocate(*args, within=1)
            case "one.host.delete":
                oned.delete(args[0])
            case "one.host.status":
                oned.set_state(args[0], list(AdminState)[args[1]])
            case "one.vmpool.infoset":
                assert args[1] is True, "the short list lacks what a drain looks at"
                wanted = [int(word) for word in args[0].split(",")]
                return f"<VM_POOL>{''.join(map(vm_xml, oned.vms(wanted)))}</VM_POOL>"
            case "one.vm.migrate":
                vm, host_id, live, enforce, datastore, how = args
                assert (enforce, datastore, how) == (True, -1, 0 if live else 1)
                oned.migrate(vm, host_id, live=live)
            case "one.host.update":
                assert args[2] == 1, "never replace the template"
                pairs = (line.split("=", 1) for line in args[1].splitlines())
                oned.update(args[0], {name: value[1:-1].replace('\\"', '"') for name, value in pairs})
            case "one.hostpool.monitoring":
                rows = (
                    f"<MONITORING><TIMESTAMP>{sample.timestamp}</TIMESTAMP><ID>{sample.host_id}</ID>"
                    "<CAPACITY><FREE_CPU>1</FREE_CPU></CAPACITY></MONITORING>"
                    for sample in oned.monitoring(args[0])
                )
                return f"<MONITORING_DATA>{''.join(rows)}</MONITORING_DATA>"
            case _:
                raise AssertionError(method)
        return args[0]


def host_xml(record: HostRecord) -> str:
    template = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in record.template.items())
    return (
        f"<HOST><ID>{record.id}</ID><NAME>{record.name}</NAME><STATE>{record.state}</STATE>"
        f"<IM_MAD>{record.im_mad}</IM_MAD><VM_MAD>{record.vm_mad}</VM_MAD><CLUSTER_ID>{record.cluster_id}</CLUSTER_ID>"
        f"<CLUSTER>{record.cluster}</CLUSTER><HOST_SHARE><RUNNING_VMS>{record.running_vms}</RUNNING_VMS>"
        f"<MAX_CPU>{record.free_cpu + 50}</MAX_CPU><CPU_USAGE>50</CPU_USAGE>"
        f"<MAX_MEM>{record.free_memory + 99}</MAX_MEM><MEM_USAGE>99</MEM_USAGE></HOST_SHARE>"
        f"<VMS>{''.join(f'<ID>{vm}</ID>' for vm in record.vms)}</VMS><TEMPLATE>{template}</TEMPLATE><MONITORING/></HOST>"
    )


def vm_xml(record: MachineRecord) -> str:
    return (
        f"<VM><ID>{record.id}</ID><NAME>{record.name}</NAME><STATE>{record.state}</STATE>"
        f"<LCM_STATE>{record.lcm_state}</LCM_STATE><TEMPLATE><CPU>{record.cpu / 100}</CPU>"
        f"<MEMORY>{record.memory // 1024}</MEMORY></TEMPLATE><USER_TEMPLATE/><HISTORY_RECORDS><HISTORY><HID>9</HID>"
        f"</HISTORY><HISTORY><HID>{record.host_id}</HID></HISTORY></HISTORY_RECORDS></VM>"
    )
