"""The oned pod's scripts, run as they are but for their paths, against a recorded database client and HTTP client."""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

SCRIPTS = Path(__file__).resolve().parents[2] / "images" / "oned"
PATHS = {
    "/usr/local/libexec/one": "scripts",
    "/var/lib/one": "home",
    "/run/secrets/one": "secrets",
    "/run/one": "run",
    "/var/lock/one": "lock",
    "/usr/bin/oned": "bin/oned",
    "/dev/termination-log": "termination-log",
}

# Answers from a file of `pattern<TAB>answer` lines; every statement goes to a log.
MARIADB = """#!/bin/sh
for last; do :; done
printf '%s\\n' "$last" >>"$FAKE/sql.log"
while IFS='	' read -r pattern answer; do
    case $last in *"$pattern"*) printf '%s\\n' "$answer"; exit 0 ;; esac
done <"$FAKE/answers"
"""
CURL = """#!/bin/sh
while [ $# -gt 1 ]; do
    case $1 in --data-binary) request=${2#@} ;; --output) output=$2 ;; esac
    shift
done
cp "$request" "$FAKE/request"
[ -e "$FAKE/answer" ] || { echo "curl: (7) refused" >&2; exit 7; }
cp "$FAKE/answer" "$output"
"""


@dataclass
class Pod:
    """A directory that stands for the pod's file system."""

    root: Path

    def path(self, name: str) -> Path:
        return self.root / name

    def run(self, script: str, *arguments: str, schema: str = "opennebula") -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.root}/bin:{os.environ['PATH']}",
            "FAKE": str(self.root),
            "DATABASE_HOST": "mariadb.one.svc",
            "DATABASE_PORT": "3306",
            "DATABASE_USER": "oneadmin",
            "DATABASE_NAME": schema,
            "DATABASE_WAIT_SECONDS": "2",
            "AUTH_SERVICES": "sunstone onegate oneflow oneform oneks",
        }
        command = ["sh", str(self.path("scripts") / script), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def database(self, *, tables: int, user_pool: int, users: int, hosts: int = 0) -> None:
        answers = {
            "table_name='user_pool'": user_pool,
            "information_schema.tables": tables,
            "`.user_pool": users,
            "`.host_pool": hosts,
            "SELECT 1": 1,
        }
        self.path("answers").write_text("".join(f"{pattern}\t{answer}\n" for pattern, answer in answers.items()))

    @property
    def statements(self) -> str:
        return self.path("sql.log").read_text()


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    for name in (
        "scripts",
        "home/.one",
        "secrets/database",
        "secrets/oneadmin",
        "secrets/serveradmin",
        "run",
        "lock",
        "bin",
    ):
        (tmp_path / name).mkdir(parents=True)
    for script in SCRIPTS.iterdir():
        text = script.read_text()
        for path, name in PATHS.items():
            text = text.replace(path, str(tmp_path / name))
        (tmp_path / "scripts" / script.name).write_text(text)
    for name, text in {"mariadb": MARIADB, "curl": CURL, "oned": '#!/bin/sh\necho "oned started with $*"\n'}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "secrets/database/password").write_text("geheim")
    (tmp_path / "secrets/oneadmin/one_auth").write_text("oneadmin:new\n")
    (tmp_path / "secrets/serveradmin/auth").write_text("serveradmin:chosen\n")
    (tmp_path / "home/.one/one_auth").write_text("oneadmin:old\n")
    for service in ("sunstone", "oneflow"):
        (tmp_path / f"home/.one/{service}_auth").write_text("serveradmin:left over\n")
    (tmp_path / "lock/one").write_text("")
    return Pod(tmp_path)


def auth_files(pod: Pod) -> set[str]:
    return {path.name for path in pod.path("home/.one").glob("*_auth")}


@pytest.mark.parametrize(
    ("tables", "user_pool", "users", "drops"),
    [(0, 0, 0, False), (7, 0, 0, True), (30, 1, 0, True), (30, 1, 1, True)],
    ids=["empty", "no user table", "no user", "oneadmin alone"],
)
def test_an_interrupted_first_boot_is_started_afresh(
    pod: Pod, tables: int, user_pool: int, users: int, drops: bool
) -> None:
    pod.database(tables=tables, user_pool=user_pool, users=users)
    done = pod.run("oned-start")
    assert done.returncode == 0, done.stderr
    assert "oned started with -f" in done.stdout
    assert ("DROP DATABASE" in pod.statements) is drops
    assert auth_files(pod) == {"one_auth"}, "oned insists on creating the others itself"
    assert pod.path("home/.one/one_auth").read_text() == "oneadmin:new\n"


@pytest.mark.parametrize("schema", ["mysql", "MySQL", "information_schema", "performance_schema", "sys"])
def test_a_schema_of_the_server_itself_is_never_touched(pod: Pod, schema: str) -> None:
    pod.database(tables=31, user_pool=0, users=0)
    done = pod.run("oned-start", schema=schema)
    assert done.returncode == 1
    assert "database.name" in done.stderr and "oned started" not in done.stdout
    assert not pod.path("sql.log").exists(), "not even asked"


def test_a_bootstrapped_database_is_left_alone(pod: Pod) -> None:
    pod.database(tables=40, user_pool=1, users=2)
    done = pod.run("oned-start")
    assert "oned started with -f" in done.stdout
    assert "DROP" not in pod.statements
    assert auth_files(pod) == {"one_auth", "sunstone_auth", "oneflow_auth"}
    assert pod.path("home/.one/one_auth").read_text() == "oneadmin:old\n"
    assert not pod.path("lock/one").exists(), "a lock file here belongs to a process that is dead"


@pytest.mark.parametrize(("tables", "user_pool", "users"), [(0, 0, 0), (30, 0, 0), (30, 1, 0), (30, 1, 1)])
def test_a_home_that_served_a_database_never_boots_on_an_empty_one(
    pod: Pod, tables: int, user_pool: int, users: int
) -> None:
    pod.path("home/.one/first-boot-done").write_text("once")
    pod.database(tables=tables, user_pool=user_pool, users=users)
    done = pod.run("oned-start")
    assert done.returncode != 0
    assert "Restore the database from a backup" in pod.path("termination-log").read_text()
    assert "oned started" not in done.stdout
    assert "DROP" not in pod.statements
    assert "sunstone_auth" in auth_files(pod)


def test_one_user_with_hosts_is_no_first_boot(pod: Pod) -> None:
    pod.database(tables=30, user_pool=1, users=1, hosts=3)
    done = pod.run("oned-start")
    assert done.returncode != 0
    assert "DROP" not in pod.statements


def test_a_database_that_does_not_answer_ends_the_wait_with_the_reason(pod: Pod) -> None:
    pod.path("bin/mariadb").write_text("#!/bin/sh\necho 'ERROR 2002 (HY000): connection refused' >&2; exit 1\n")
    done = pod.run("oned-start")
    assert done.returncode != 0
    message = pod.path("termination-log").read_text()
    assert "did not answer within 2 s" in message and "connection refused" in message and "Next:" in message


def test_the_database_password_is_in_no_argument(pod: Pod) -> None:
    pod.database(tables=40, user_pool=1, users=2)
    pod.path("bin/mariadb").write_text(
        '#!/bin/sh\nprintf "%s\\n" "$*" >>"$FAKE/arguments"\n' + MARIADB.partition("\n")[2]
    )
    pod.run("oned-start")
    assert "geheim" not in pod.path("arguments").read_text()
    cnf = pod.path("run/database.cnf")
    assert "geheim" in cnf.read_text()
    assert stat.S_IMODE(cnf.stat().st_mode) == 0o600


def call(pod: Pod, answer: str | None) -> subprocess.CompletedProcess[str]:
    if answer is not None:
        pod.path("answer").write_text(answer)
    pod.path("scripts/try").write_text(
        f". {pod.path('scripts')}/lib.sh\ncode=0\n"
        "rpc $SECRETS/oneadmin/one_auth one.user.passwd i4 1 file $SECRETS/serveradmin/auth || code=$?\n"
        'echo "$code $RPC_ERROR"\n'
    )
    return pod.run("try")


OK = (
    "<methodResponse><params><param><value><array><data><value><boolean>1</boolean></value>"
    "</data></array></value></param></params></methodResponse>"
)
NO = OK.replace(
    "<boolean>1</boolean></value>",
    "<boolean>0</boolean></value>\n<value><string>[one.user.passwd] not you</string></value>",
)


@pytest.mark.parametrize(
    ("answer", "said"), [(OK, "0 "), (NO, "1 [one.user.passwd] not you"), (None, "2 curl: (7) refused")]
)
def test_a_call_tells_yes_no_and_silence_apart(pod: Pod, answer: str | None, said: str) -> None:
    assert call(pod, answer).stdout.rstrip("\n") == said
    assert list(pod.path("run").iterdir()) == [], "requests hold credentials and must not pile up"


@given(password=st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30))
def test_a_call_carries_any_password(tmp_path_factory: pytest.TempPathFactory, password: str) -> None:
    import xmlrpc.client

    root = tmp_path_factory.mktemp("pod")
    (root / "auth").write_text(f"oneadmin:{password}\n")
    (root / "bin").mkdir()
    (root / "bin/curl").write_text(CURL)
    (root / "bin/curl").chmod(0o755)
    (root / "answer").write_text(OK)
    library = (SCRIPTS / "lib.sh").read_text().replace("RUN=/run/one", f"RUN={root}")
    (root / "try").write_text(f"{library}\nrpc {root}/auth one.zone.raftstatus\n")
    environment = {"PATH": f"{root}/bin:{os.environ['PATH']}", "FAKE": str(root)}
    subprocess.run(["sh", str(root / "try")], env=environment, check=True, timeout=60)
    parameters, method = xmlrpc.client.loads((root / "request").read_text())
    assert (parameters, method) == ((f"oneadmin:{password}",), "one.zone.raftstatus")
