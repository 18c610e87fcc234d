"""A small oned in memory for the web daemons' tests: users, sessions of serveradmin, hosts, VMs, templates, documents.

It checks sessions as the real one does (core and server_cipher) and answers in its shapes. A virtual machine changes its
state only when a test says so.
"""

from __future__ import annotations

import hashlib
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import Any, Self
from xml.sax.saxutils import escape
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from lab.standins.opennebula.services import SERVERADMIN_PASSWORD

AUTHENTICATION = 0x100
NO_EXISTS = 0x400
ACTION = 0x800
PENDING, ACTIVE, DONE = 1, 3, 6
RUNNING, BOOT_FAILURE = 3, 36

Answer = list[Any]


class Refused(Exception):
    """Answered as [False, text, code]."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class User:
    oid: int
    name: str
    password: str  # as stored: a hash
    driver: str = "core"
    template: dict[str, str] = field(default_factory=lambda: {"TOKEN_PASSWORD": sha256("token password")})

    def xml(self) -> str:
        return (
            f"<USER><ID>{self.oid}</ID><GID>0</GID><GROUPS><ID>0</ID></GROUPS><GNAME>oneadmin</GNAME><NAME>{self.name}</NAME>"
            f"<PASSWORD>{self.password}</PASSWORD><AUTH_DRIVER>{self.driver}</AUTH_DRIVER><ENABLED>1</ENABLED>"
            f"<TEMPLATE>{elements(self.template)}</TEMPLATE></USER>"
        )


@dataclass
class Vm:
    oid: int
    name: str
    owner: User
    user_template: dict[str, str]
    state: int = PENDING
    lcm_state: int = 0
    stime: int = field(default_factory=lambda: int(time.time()))
    hostname: str = ""
    port: int = 5900

    def xml(self) -> str:
        history = f"<HISTORY><HOSTNAME>{self.hostname}</HOSTNAME></HISTORY>" if self.hostname else ""
        return (
            f"<VM><ID>{self.oid}</ID><UID>{self.owner.oid}</UID><GID>0</GID><UNAME>{self.owner.name}</UNAME>"
            f"<GNAME>oneadmin</GNAME><NAME>{escape(self.name)}</NAME><STATE>{self.state}</STATE>"
            f"<LCM_STATE>{self.lcm_state}</LCM_STATE><STIME>{self.stime}</STIME><TEMPLATE>"
            f"<CREATED_BY><![CDATA[{self.owner.oid}]]></CREATED_BY><GRAPHICS><TYPE>VNC</TYPE><PORT>{self.port}</PORT>"
            f"</GRAPHICS><NIC><IP>10.0.0.{self.oid + 2}</IP><MAC>02:00:0a:00:00:0{self.oid}</MAC><BRIDGE>br0</BRIDGE></NIC>"
            f"</TEMPLATE><USER_TEMPLATE>{elements(self.user_template)}</USER_TEMPLATE>"
            f"<HISTORY_RECORDS>{history}</HISTORY_RECORDS></VM>"
        )


def elements(values: dict[str, str]) -> str:
    return "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in values.items())


def attributes(text: str) -> dict[str, str]:
    """NAME="value" lines."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip().upper(): value.strip().strip('"') for name, _, value in pairs}


class _Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/RPC2",)
    protocol_version = "HTTP/1.1"


class _Server(ThreadingMixIn, SimpleXMLRPCServer):
    daemon_threads = True
    block_on_close = False  # clients keep their connections


class FakeOned:
    """Serves between `with`. Everything that it was asked is in `calls`."""

    def __init__(self, publish: Callable[[str, str], None] = lambda topic, content: None) -> None:
        self.users = [
            User(0, "oneadmin", sha256("rehearsal")),
            User(1, "serveradmin", sha256(SERVERADMIN_PASSWORD), "server_cipher"),
        ]
        self.hosts = [("node-kvm", 2), ("node-lxc", 3)]
        self.vms: list[Vm] = []
        self.templates: list[str] = []
        self.hooks: list[str] = []
        self.documents: dict[int, tuple[int, User, str, str]] = {}
        self.calls: list[tuple[str, str]] = []  # user, method
        self.publish = publish
        self._lock = threading.RLock()
        self._server = _Server(("127.0.0.1", 0), _Handler, logRequests=False)
        self._server.register_instance(self)
        self.port = int(self._server.server_address[1])
        self.zone_endpoint = self.endpoint
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/RPC2"

    def asked(self, method: str) -> int:
        with self._lock:
            return sum(name == method for _, name in self.calls)

    # --- what happens to virtual machines ---------------------------------------------------------------------------

    def run(self, vm: Vm) -> None:
        self._become(vm, ACTIVE, RUNNING, "ACTIVE", "RUNNING")

    def fail(self, vm: Vm) -> None:
        self._become(vm, ACTIVE, BOOT_FAILURE, "ACTIVE", "BOOT_FAILURE")

    def end(self, vm: Vm) -> None:
        self._become(vm, DONE, 0, "DONE", "LCM_INIT")

    def _become(self, vm: Vm, state: int, lcm_state: int, name: str, lcm_name: str) -> None:
        with self._lock:
            vm.state, vm.lcm_state = state, lcm_state
        message = (
            f"<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>{name}</STATE>"
            f"<LCM_STATE>{lcm_name}</LCM_STATE><RESOURCE_ID>{vm.oid}</RESOURCE_ID>{vm.xml()}</HOOK_MESSAGE>"
        )
        content = b64encode(message.encode()).decode()
        self.publish(f"EVENT VM {vm.oid}/{name}/{lcm_name} ", content)
        self.publish(f"EVENT STATE VM/{name}/{lcm_name}/{vm.oid} ", content)

    # --- the API ----------------------------------------------------------------------------------------------------

    def _dispatch(self, method: str, parameters: tuple[Any, ...]) -> Answer:
        session, *arguments = parameters
        name = method.removeprefix("one.").replace(".", "_")
        with self._lock:
            try:
                user = self._authenticate(str(session))
                self.calls.append((user.name, method))
                handler: Callable[..., Any] | None = getattr(self, f"_{name}", None)
                if handler is None:
                    raise Refused(0x2000, f"Method {method} not defined")
                return [True, handler(user, *arguments), 0]
            except Refused as refusal:
                return [False, f"[{method}] {refusal}", refusal.code]

    def _authenticate(self, session: str) -> User:
        refusal = Refused(AUTHENTICATION, "User couldn't be authenticated, aborting call.")
        name, _, rest = session.partition(":")
        user = next((user for user in self.users if user.name == name), None)
        if user is None:
            raise refusal
        if user.driver == "core":
            if sha256(rest) != user.password:
                raise refusal
            return user
        target, _, token = rest.partition(":")
        try:
            key = user.password[:32].encode()
            decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
            plain = decryptor.update(b64decode(token)) + decryptor.finalize()
            unpadder = padding.PKCS7(128).unpadder()
            owner, whom, expires = (unpadder.update(plain) + unpadder.finalize()).decode().split(":")
        except ValueError:
            raise refusal from None
        if owner != name or whom != target or int(expires) <= time.time():
            raise refusal
        found = next((user for user in self.users if user.name == target), None)
        if found is None:
            raise refusal
        return found

    def _user_info(self, user: User, oid: int, _decrypt: bool = False) -> str:
        if oid == -1:
            return user.xml()
        return next(other for other in self.users if other.oid == oid).xml()

    def _zonepool_info(self, _user: User) -> str:
        return (
            "<ZONE_POOL><ZONE><ID>0</ID><NAME>OpenNebula</NAME><TEMPLATE>"
            f"<ENDPOINT><![CDATA[{self.zone_endpoint}]]></ENDPOINT></TEMPLATE></ZONE></ZONE_POOL>"
        )

    def _hostpool_info(self, _user: User) -> str:
        hosts = "".join(
            f"<HOST><ID>{oid}</ID><NAME>{name}</NAME><STATE>{state}</STATE><VM_MAD>kvm</VM_MAD><CLUSTER>default</CLUSTER>"
            "<HOST_SHARE><TOTAL_MEM>4194304</TOTAL_MEM><TOTAL_CPU>200</TOTAL_CPU><CPU_USAGE>0</CPU_USAGE>"
            "<RUNNING_VMS>0</RUNNING_VMS></HOST_SHARE></HOST>"
            for oid, (name, state) in enumerate(self.hosts)
        )
        return f"<HOST_POOL>{hosts}</HOST_POOL>"

    def _vm_allocate(self, user: User, template: str, _hold: bool) -> int:
        values = attributes(template)
        vm = Vm(len(self.vms), values.pop("NAME", f"one-{len(self.vms)}"), user, values)
        self.vms.append(vm)
        return vm.oid

    def _template_instantiate(self, user: User, oid: int, name: str, _hold: bool, extra: str, _persistent: bool) -> int:
        if not 0 <= oid < len(self.templates):
            raise Refused(NO_EXISTS, f"Error getting virtual machine template [{oid}].")
        return self._vm_allocate(user, f"{self.templates[oid]}\nNAME={name}\n{extra}", False)

    def _vm_info(self, _user: User, oid: int, _decrypt: bool = False) -> str:
        return self._vm(oid).xml()

    def _vmpool_info(self, _user: User, *_filter: int) -> str:
        return f"<VM_POOL>{''.join(vm.xml() for vm in self.vms)}</VM_POOL>"

    def _vm_update(self, _user: User, oid: int, text: str, append: int) -> int:
        vm = self._vm(oid)
        vm.user_template = {**(vm.user_template if append else {}), **attributes(text)}
        value = escape(text)
        message = (
            "<HOOK_MESSAGE><HOOK_TYPE>API</HOOK_TYPE><CALL>one.vm.update</CALL><CALL_INFO><RESULT>1</RESULT><PARAMETERS>"
            f"<PARAMETER><POSITION>2</POSITION><TYPE>IN</TYPE><VALUE>{oid}</VALUE></PARAMETER>"
            f"<PARAMETER><POSITION>3</POSITION><TYPE>IN</TYPE><VALUE>{value}</VALUE></PARAMETER>"
            "</PARAMETERS></CALL_INFO></HOOK_MESSAGE>"
        )
        self.publish("EVENT API one.vm.update 1", b64encode(message.encode()).decode())
        return oid

    def _vm_action(self, _user: User, action: str, oid: int) -> int:
        vm = self._vm(oid)
        if not action.startswith("terminate"):
            raise Refused(ACTION, f'Action "{action}" is not available')
        self.end(vm)
        return oid

    def _vm_recover(self, _user: User, oid: int, _operation: int) -> int:
        return self._vm(oid).oid

    def _hookpool_info(self, _user: User, *_filter: int) -> str:
        return f"<HOOK_POOL>{''.join(self.hooks)}</HOOK_POOL>"

    def _document_allocate(self, user: User, xml: str, kind: int) -> int:
        oid = len(self.documents)
        name = xml.partition("<NAME>")[2].partition("</NAME>")[0]
        self.documents[oid] = (kind, user, name, self._body(xml))
        return oid

    def _document_info(self, _user: User, oid: int, _decrypt: bool = False) -> str:
        return self._document(oid)

    def _document_update(self, _user: User, oid: int, xml: str, _append: int) -> int:
        self._document(oid)
        kind, owner, name, _ = self.documents[oid]
        self.documents[oid] = (kind, owner, name, self._body(xml))
        return oid

    def _document_delete(self, _user: User, oid: int) -> int:
        self._document(oid)
        self.documents[oid] = (-1, *self.documents[oid][1:])
        return oid

    def _documentpool_info(self, _user: User, _filter: int, _start: int, _end: int, kind: int) -> str:
        found = "".join(self._document(oid) for oid, (its, *_) in self.documents.items() if its == kind)
        return f"<DOCUMENT_POOL>{found}</DOCUMENT_POOL>"

    def _body(self, xml: str) -> str:
        return xml.partition("<BODY><![CDATA[")[2].partition("]]></BODY>")[0]

    def _document(self, oid: int) -> str:
        kind, owner, name, body = self.documents.get(oid, (-1, self.users[0], "", ""))
        if kind == -1:
            raise Refused(NO_EXISTS, f"Error getting document [{oid}].")
        return (
            f"<DOCUMENT><ID>{oid}</ID><UID>{owner.oid}</UID><GID>0</GID><UNAME>{owner.name}</UNAME><GNAME>oneadmin</GNAME>"
            f"<NAME>{name}</NAME><TYPE>{kind}</TYPE><TEMPLATE><BODY><![CDATA[{body}]]></BODY></TEMPLATE></DOCUMENT>"
        )

    def _vm(self, oid: int) -> Vm:
        if not 0 <= oid < len(self.vms):
            raise Refused(NO_EXISTS, f"Error getting virtual machine [{oid}].")
        return self.vms[oid]


def onegate_token(vm: Vm) -> str:
    """What oned puts on the context disk: AES of "vmid:stime" under the owner's TOKEN_PASSWORD, all-zero iv."""
    padder = padding.PKCS7(128).padder()
    plain = padder.update(f"{vm.oid}:{vm.stime}".encode()) + padder.finalize()
    key = vm.owner.template["TOKEN_PASSWORD"][:32].encode()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor()
    return b64encode(encryptor.update(plain) + encryptor.finalize()).decode()
