"""What the scenarios run on a host: the real bootstrap's common and package parts, with small steps below $ONE_ROOT.

So lock, limits, messages, files by rename and the wait for apt are the program's own, and nothing of this machine is
installed or changed. `hold-STEP` in a host's directory makes that step wait in its middle, `at-STEP` shows that it does,
`go-STEP` lets it go on.
"""

from __future__ import annotations

import shlex
from importlib.resources import files

from bench.hosts.work import FIVE

STEPS = ("preflight", *(path.replace("/", "-").replace(".", "-") for path, *_ in FIVE))
_LOCK_WAIT = 20
_PARTS = ("common", "packages", "debian")
_HOLD = r"""
WORK=$ONE_ROOT/run/work LOCK=$ONE_ROOT/run/lock LOG=$ONE_ROOT/run/work/log FAMILY=debian
mkdir -p "$ONE_ROOT/run"
hold() {
    if [ -e "$ONE_ROOT/hold-$STEP" ]; then
        rm -f "$ONE_ROOT/hold-$STEP"
        : >"$ONE_ROOT/at-$STEP"
        waited=0
        while [ ! -e "$ONE_ROOT/go-$STEP" ] && [ "$waited" -lt 200 ]; do
            sleep 0.1
            waited=$((waited + 1))
        done
    fi
}
preflight() {
    if [ -e "$ONE_ROOT/apt.conf" ]; then
        APT_CONFIG=$ONE_ROOT/apt.conf
        export APT_CONFIG
        await_lock
    fi
    hold
    settle
}
# file PATH MODE TEXT: a draft, a wait that somebody may end, then the file as the bootstrap writes it.
file() {
    mkdir -p "$(dirname "$ONE_ROOT/$1")"
    : >"$ONE_ROOT/$1.draft"
    hold
    put_text "$ONE_ROOT/$1" root:root "$2" "$3"
    rm -f "$ONE_ROOT/$1.draft"
}
"""


def text(name: str, *, edition: str = "1", lock_wait: int = _LOCK_WAIT) -> str:
    """The script of one host. `edition`: another one is another text with the same effect."""
    folder = files("components.bootstrap") / "shell"
    header = f"PLAN_NAME={shlex.quote(name)}\nPLAN_KIND=lxc\nPLAN_LOCK_WAIT={lock_wait}\n# edition {edition}\n"
    lines = [header, *((folder / f"{part}.sh").read_text() for part in _PARTS), _HOLD, "main() {\nbegin\n"]
    lines.append("step preflight\npreflight\n")
    for step, words in zip(STEPS[1:], FIVE, strict=True):
        lines.append(f"step {step}\nfile {shlex.join(word for word in words if word)}\n")
    lines.append("printf '{\"changed\": true}\\n'\n}\nmain </dev/null\n")
    return "".join(lines)
