"""XML-RPC values to and from XML: strings, integers, booleans, doubles and arrays, which is all the API uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree

Param = str | int | bool | float | list["Param"]

INTERNAL_FAULT: Final = -500
PARSE_FAULT: Final = -503
NO_METHOD_FAULT: Final = -506
TYPE_FAULT: Final = -501
_INT_LIMIT: Final = 2**31


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Fault(Exception):
    """A call that is answered by a fault; numbers as xmlrpc-c gives them."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def read_call(body: bytes) -> tuple[str, list[Param]]:
    """Method name and parameters of a request.

    :raises Fault: for anything that is not a methodCall.
    """
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise Fault(PARSE_FAULT, f"Call XML not a proper XML-RPC call. {error}") from None
    method = root.findtext("methodName")
    if root.tag != "methodCall" or not method:
        raise Fault(PARSE_FAULT, "Call XML not a proper XML-RPC call. No <methodName> in a <methodCall>")
    return method.strip(), [_read(value) for value in root.iterfind("params/param/value")]


def write_response(values: Sequence[Param]) -> bytes:
    """A response whose one parameter is an array."""
    inner = "".join(_write(value) for value in values)
    return _document(f"<params><param><value><array><data>{inner}</data></array></value></param></params>")


def write_fault(fault: Fault) -> bytes:
    return _document(
        "<fault><value><struct>"
        f"<member><name>faultCode</name><value><i4>{fault.code}</i4></value></member>"
        f"<member><name>faultString</name><value><string>{escape(str(fault))}</string></value></member>"
        "</struct></value></fault>"
    )


def _document(inner: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\r\n<methodResponse>{inner}</methodResponse>\r\n'.encode()


def _read(value: ElementTree.Element) -> Param:
    if not len(value):
        return value.text or ""
    kind = value[0]
    content = kind.text or ""
    try:
        if kind.tag == "string":
            return content
        if kind.tag in ("int", "i4", "i8"):
            return int(content)
        if kind.tag == "boolean":
            return {"0": False, "1": True}[content.strip()]
        if kind.tag == "double":
            return float(content)
        if kind.tag == "array":
            return [_read(item) for item in kind.iterfind("data/value")]
    except (ValueError, KeyError):
        raise Fault(PARSE_FAULT, f"'{content}' is not a value of XML-RPC type {kind.tag}") from None
    raise Fault(TYPE_FAULT, f"XML-RPC type {kind.tag} is used by no call of this API")


def _write(value: Param) -> str:
    if isinstance(value, bool):
        return f"<value><boolean>{int(value)}</boolean></value>"
    if isinstance(value, int):
        kind = "i4" if -_INT_LIMIT <= value < _INT_LIMIT else "i8"
        return f"<value><{kind}>{value}</{kind}></value>"
    if isinstance(value, float):
        return f"<value><double>{value}</double></value>"
    if isinstance(value, list):
        return f"<value><array><data>{''.join(_write(item) for item in value)}</data></array></value>"
    return f"<value><string>{escape(value)}</string></value>"
