"""onemonitord's key pair: its formats, and that what the public half encrypts the private half reads."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from components.generated.keys import monitor_public_half, new_monitor_key_pair

RSA = Path("lab/standins/opennebula/root/usr/lib/one/standin/monitord/rsa.py")


def standin_reader() -> Any:
    spec = importlib.util.spec_from_file_location("standin_rsa", RSA)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["standin_rsa"] = module
    spec.loader.exec_module(module)
    return module


def test_formats_are_those_that_each_side_looks_for() -> None:
    pair = new_monitor_key_pair()
    assert pair.public_key.startswith("-----BEGIN RSA PUBLIC KEY-----\n"), "the agents look for these words"
    assert pair.private_key.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert monitor_public_half(pair.private_key) == pair.public_key


def test_a_message_in_blocks_comes_back(tmp_path: Path) -> None:
    pair = new_monitor_key_pair()
    public = serialization.load_pem_public_key(pair.public_key.encode())
    assert isinstance(public, rsa.RSAPublicKey)
    message = b'HOSTNAME="kvm-1"\n' * 40
    size = public.key_size // 8 - 11
    sent = b"".join(public.encrypt(message[at : at + size], padding.PKCS1v15()) for at in range(0, len(message), size))
    file = tmp_path / "private.pem"
    file.write_text(pair.private_key)
    assert standin_reader().PrivateKey.load(file).decrypt(sent) == message


@pytest.mark.skipif(shutil.which("ruby") is None, reason="needs ruby")
def test_ruby_takes_the_public_half_as_the_agent_rebuilds_it(tmp_path: Path) -> None:
    (tmp_path / "public.pem").write_text(new_monitor_key_pair().public_key)
    script = (
        "require 'openssl'; t = File.read(ARGV[0]).tr(\"\\n\", ' ');"
        "m = t.match(/(-+BEGIN RSA PUBLIC KEY-+)([^-]*)(-+END RSA PUBLIC KEY-+)/);"
        'k = OpenSSL::PKey::RSA.new("-----BEGIN RSA PUBLIC KEY-----\\n#{m[2].strip.tr(\' \', "\\n")}\\n-----END RSA PUBLIC KEY-----");'
        "print k.n.num_bytes"
    )
    done = subprocess.run(
        ["ruby", "-e", script, str(tmp_path / "public.pem")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "256"


def _pem(key: Any, encryption: Any = None) -> str:
    encoded: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption or serialization.NoEncryption()
    )
    return encoded.decode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("MARKER no key", "not an RSA private key"),
        (_pem(ec.generate_private_key(ec.SECP256R1())), "not an RSA key"),
        (_pem(rsa.generate_private_key(65537, 1024)), "1024 bits"),  # noqa: S505
        (_pem(rsa.generate_private_key(65537, 2048), serialization.BestAvailableEncryption(b"x")), "passphrase"),
    ],
    ids=["text", "elliptic", "short", "passphrase"],
)
def test_other_keys_are_refused_and_never_quoted(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        monitor_public_half(text)
    assert "MARKER" not in str(caught.value)
