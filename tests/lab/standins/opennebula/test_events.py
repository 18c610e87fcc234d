"""one_hm publishes what happens, under the real one's keys; without python3-zmq oned does not start."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from lab.standins.opennebula.local import LocalOned, OnedError
from tests.contract.endpoint import Endpoint

pytestmark = pytest.mark.database

# Debian's Python has python3-zmq; the tests' own has not.
_SUBSCRIBER = """
import base64, json, sys, zmq
socket = zmq.Context().socket(zmq.SUB)
socket.connect(f"tcp://127.0.0.1:{sys.argv[1]}")
socket.setsockopt(zmq.SUBSCRIBE, b"EVENT")
print("ready", flush=True)
while True:
    key, body = socket.recv_multipart()
    print(json.dumps([key.decode(), base64.b64decode(body).decode()]), flush=True)
"""
_REPLY = """
import sys, zmq
socket = zmq.Context().socket(zmq.REQ)
socket.connect(f"tcp://127.0.0.1:{sys.argv[1]}")
socket.send_string(sys.argv[2])
print(socket.recv_string())
"""


@pytest.fixture
def listener(oned: LocalOned) -> Iterator[subprocess.Popen[str]]:
    oned.start()
    process = subprocess.Popen(
        ["/usr/bin/python3", "-c", _SUBSCRIBER, str(oned.events_port)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()


def test_calls_and_states(oned: LocalOned, listener: subprocess.Popen[str]) -> None:
    api = Endpoint(oned.endpoint, oned.session, own=True)
    assert listener.stdout is not None
    keys: dict[str, str] = {}
    while "EVENT API one.host.rename 0" not in keys:  # a subscription takes a moment to arrive
        api.call("host.rename", 12345, "nowhere")
        api.call("host.info", 12345)
        key, body = json.loads(listener.stdout.readline())
        keys[key] = body
    oid = api.ok("vm.allocate", 'CPU = 1\nMEMORY = 64\nSERVICE_ID = "7"', True)
    api.ok("vm.action", "terminate", oid)
    last = "EVENT API one.vm.action 1"
    while last not in keys:
        key, body = json.loads(listener.stdout.readline())
        keys[key] = body
    assert {
        f"EVENT VM {oid}/HOLD/LCM_INIT ", f"EVENT STATE VM/HOLD/LCM_INIT/{oid} ", f"EVENT VM {oid}/DONE/LCM_INIT ",
        f"EVENT STATE VM/DONE/LCM_INIT/{oid} ", "EVENT SERVICE 7 ", "EVENT API one.vm.allocate 1",
    } <= keys.keys()  # fmt: skip
    assert not any(".info" in key for key in keys)
    done = keys[f"EVENT STATE VM/DONE/LCM_INIT/{oid} "]
    assert done.startswith("<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>DONE</STATE>")
    assert "<SERVICE_ID>7</SERVICE_ID>" in done


def test_without_its_library_the_driver_is_not_there(oned: LocalOned, tmp_path_factory: pytest.TempPathFactory) -> None:
    hidden = tmp_path_factory.mktemp("hidden")
    (hidden / "zmq.py").write_text("raise ImportError('no ZeroMQ here')\n")
    oned.environment["PYTHONPATH"] = str(hidden)
    with pytest.raises(OnedError, match="Could not start the Hook Manager"):
        oned.start()
    assert "Driver initialization failed, expected INIT SUCCESS message" in oned.log()


def hook(**attributes: str) -> str:
    """A hook's template, with some attributes replaced."""
    given = {"NAME": "told", "TYPE": "api", "CALL": "one.host.rename", "COMMAND": "/bin/true"} | attributes
    return "\n".join(f'{name} = "{value}"' for name, value in given.items() if value)


def test_a_result_of_a_hook_is_kept_with_it(oned: LocalOned) -> None:
    """As the hook execution manager replies: `<code> <hook> <XML in base64>`."""
    oned.start()
    api = Endpoint(oned.endpoint, oned.session, own=True)
    number = int(api.ok("hook.allocate", hook()))
    assert [found.findtext("NAME") for found in api.xml("hookpool.info", -1, -1, -1).iter("HOOK")] == ["told"]
    body = "<ARGUMENTS>a</ARGUMENTS><EXECUTION_RESULT><CODE>3</CODE></EXECUTION_RESULT>"
    for said in (
        f"3 {number} {base64.b64encode(body.encode()).decode()}",
        f"0 {number} {base64.b64encode(b'<a>').decode()}",
    ):
        done = subprocess.run(
            ["/usr/bin/python3", "-c", _REPLY, str(oned.replies_port), said], capture_output=True, text=True, check=True
        )
        assert done.stdout == "ACK\n"
    records = "HOOKLOG/HOOK_EXECUTION_RECORD"
    deadline = time.monotonic() + 10
    while api.xml("hook.info", number).find(records) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (record,) = api.xml("hook.info", number).findall(records)
    assert record.findtext("EXECUTION_RESULT/CODE") == "3", "what is no XML is not kept"
    assert record.findtext("HOOK_ID") == str(number)
    api.ok("hook.delete", number)
    assert api.call("hook.info", number)[:1] == [False]


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"TYPE": "sometimes"}, "Invalid Hook type: sometimes"),
        ({"NAME": ""}, "Invalid name."),
        ({"COMMAND": ""}, "No COMMAND in template for Hook."),
        ({"CALL": "one.host.info"}, "API call does not exist or is not supported: one.host.info"),
    ],
)
def test_hooks_that_are_refused(oned: LocalOned, changed: dict[str, str], refusal: str) -> None:
    oned.start()
    api = Endpoint(oned.endpoint, oned.session, own=True)
    answer = api.call("hook.allocate", hook(**changed))
    assert answer[0] is False and str(answer[1]).endswith(refusal)
