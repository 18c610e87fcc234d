"""OpenSSH's client, told everything: no file of the user or the system decides how a host is reached, or whom to trust.

Every hop is pinned to one key under a name of our own, so that neither address, port nor DNS matters. Nobody is asked
anything: a key that is not the pinned one, or a login that is refused, ends the attempt before anything is sent.
"""

from __future__ import annotations

import os

from components.preparing.values import Endpoint, Target, Way

TARGET, BASTION = "target", "bastion"
_ALIVE_PROBES = 4
# A pinned RSA key signs with SHA-2; every other type names its own algorithm.
_ALGORITHMS = {"ssh-rsa": "rsa-sha2-512,rsa-sha2-256"}

_EVERYWHERE = """\
Host *
  BatchMode yes
  PreferredAuthentications publickey
  IdentityFile none
  StrictHostKeyChecking yes
  GlobalKnownHostsFile none
  CheckHostIP no
  UpdateHostKeys no
  VerifyHostKeyDNS no
  ConnectionAttempts 1
  ControlMaster no
  ControlPath none
  ForwardAgent no
  ForwardX11 no
  PermitLocalCommand no
  RequestTTY no
  EscapeChar none
  LogLevel INFO
"""


def write_files(folder: str, target: Target, way: Way) -> list[str]:
    """Put ssh's configuration and the pinned keys into `folder`; the words that connect, a command to be added.

    `folder` must hold no character that ssh_config or a shell reads as anything but itself.
    """
    config = os.path.join(folder, "config")
    hops = [(TARGET, target.endpoint), *([(BASTION, way.bastion)] if way.bastion else [])]
    through = f"  ConnectTimeout {way.connect}\n"
    if way.bastion:
        # Twice: a bastion that does not answer must be found out by its own hop, which says so in its own log.
        through = f"  ConnectTimeout {2 * way.connect}\n"
        through += f"  ProxyCommand ssh -F {config} -E {bastion_log(folder)} -W %h:%p {BASTION}\n"
    text = "".join(
        [
            *(
                _stanza(name, hop) + (through if name == TARGET else f"  ConnectTimeout {way.connect}\n")
                for name, hop in hops
            ),
            _EVERYWHERE,
            f"  ServerAliveInterval {max(1, way.silence // _ALIVE_PROBES)}\n",
            f"  ServerAliveCountMax {_ALIVE_PROBES}\n",
            f"  UserKnownHostsFile {os.path.join(folder, 'known_hosts')}\n",
        ]
    )
    _write(config, text)
    _write(os.path.join(folder, "known_hosts"), "".join(f"{name} {hop.host_key}\n" for name, hop in hops))
    return ["ssh", "-F", config, TARGET]


def bastion_log(folder: str) -> str:
    """Where the hop to the bastion says what is wrong with it, apart from the host's own hop."""
    return os.path.join(folder, "bastion.log")


def _stanza(name: str, hop: Endpoint) -> str:
    kind = hop.host_key.split(maxsplit=1)[0]
    return (
        f"Host {name}\n  HostName {hop.address}\n  Port {hop.port}\n  User {hop.user}\n"
        f"  HostKeyAlias {name}\n  HostKeyAlgorithms {_ALGORITHMS.get(kind, kind)}\n"
    )


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
