"""The placement script of the `rank` scheduler: base64 of the pools on stdin, a plan on stdout, its log in
rank_sched.log, which every call begins anew.

Reads etc/schedulers/rank.conf. Source: OpenNebula 7.4.0 src/schedm_mad/remotes/rank (the log: Scheduler.cc, parse_config).
"""

from __future__ import annotations

import base64
import sys
from typing import Final
from xml.etree import ElementTree

from standin.config import ConfigError, load_rank
from standin.locations import Locations
from standin.log import Log
from standin.placement import Place, Policy, Waiting, plan

_FAILED: Final = 255


def place() -> int:
    """The exit code of `place`."""
    locations = Locations.from_environment()
    try:
        config = load_rank(locations.etc / "schedulers" / "rank.conf")
        path = locations.log / "rank_sched.log"
        log = Log(config.log_system(), config.log_level(3), path, "place", anew=True)
        root = ElementTree.fromstring(base64.b64decode(sys.stdin.read()))
    except (ConfigError, RuntimeError, ValueError, ElementTree.ParseError) as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return _FAILED
    machines = [Waiting.of(each) for each in root.iterfind("VM_POOL/VM")]
    places = [Place.of(each) for each in root.iterfind("HOST_POOL/HOST")]
    made = plan(machines, places, root.iterfind("DATASTORE_POOL/DATASTORE"), Policy.of(config))
    for oid, (host, store) in made.moves.items():
        log.info("SCHED", f"VM {oid}: host {host}, system datastore {store}")
    for oid, why in made.refused.items():
        log.info("SCHED", f"VM {oid}: {why}")
    actions = "".join(
        f"<ACTION><VM_ID>{oid}</VM_ID><OPERATION>deploy</OPERATION><HOST_ID>{host}</HOST_ID><DS_ID>{store}</DS_ID></ACTION>"
        for oid, (host, store) in made.moves.items()
    )
    print(f"<PLAN><ID>-1</ID>{actions}</PLAN>")
    return 0
