"""What a person sees: Chromium opens FireEdge through the ingress, checks its certificate, logs in, finds both hosts.

With two FireEdges, whose sessions each live in one of them.
"""

from __future__ import annotations

import base64
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components import naming
from lab import ca
from lab.ca import DOMAIN
from lab.paths import STATE
from tests.engine.conftest import INSTANCE, World
from tests.engine.web import Site

pytestmark = pytest.mark.engine

SCREENSHOT = STATE / "tests" / "fireedge.png"
_LIMIT = 30  # seconds until a page shows what it should
_PEOPLE = 12  # that all of them get one and the same of two pods happens once in 2,000 runs
_REQUESTS = 5  # of each


@pytest.fixture(scope="module")
def plane(world: World) -> World:
    world.stack({"opennebula:fireedge": {"replicas": 2}}).up()
    return world


@pytest.fixture(scope="module")
def login(plane: World) -> tuple[str, str]:
    """oneadmin's name and password."""
    secret = plane.get("secret", naming.ONEADMIN_SECRET)["data"][naming.ONE_AUTH_KEY]
    user, _, password = base64.b64decode(secret).decode().strip().partition(":")
    return user, password


@dataclass(frozen=True)
class Person:
    """Somebody who is logged in, and the pod that knows it."""

    site: Site
    pod: str


@pytest.fixture(scope="module")
def people(plane: World, login: tuple[str, str]) -> Iterator[list[Person]]:
    """Each a user of OpenNebula, because logins of one and the same user in one second get the same session of any pod.

    And each mistypes first: the pod's log then says who came to it.
    """
    api = Site(INSTANCE, "api", login=":".join(login))
    names = {f"person-{secrets.token_hex(4)}": Site(INSTANCE, naming.FIREEDGE) for _ in range(_PEOPLE)}
    users = [api.call("user.allocate", name, "of-the-test", "core") for name in names]
    try:
        for name, site in names.items():
            assert site.ask("POST", "/fireedge/api/auth", {"user": name, "token": "mistyped"}).status == 401
            answer = site.ask("POST", "/fireedge/api/auth", {"user": name, "token": "of-the-test"})
            assert answer.status == 200, answer.text
        yield found(plane, names)
    finally:
        for user in users:
            api.call("user.delete", user)


def found(plane: World, names: Mapping[str, Site]) -> list[Person]:
    """The people of these names, each with the pod that its log says."""
    pods = plane.get("pods", "-l", f"app.kubernetes.io/name={naming.FIREEDGE}")["items"]
    alive = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    seen = visitors(plane, alive, set(names))
    return [Person(names[name], pod) for pod, came in seen.items() for name in came]


def visitors(plane: World, pods: list[str], names: set[str]) -> Mapping[str, set[str]]:
    """Who came to which pod. FireEdge's file reaches its container's log a moment later."""
    deadline = time.monotonic() + _LIMIT
    while True:
        logs = {pod: plane.kubectl("logs", pod, "-c", naming.FIREEDGE, "--tail=2000") for pod in pods}
        seen = {pod: {name for name in names if f"login of {name}" in text} for pod, text in logs.items()}
        if set().union(*seen.values()) == names:
            return seen
        assert time.monotonic() < deadline, f"not all of {_PEOPLE} are in a log: {seen}"
        time.sleep(0.2)


def test_both_fireedges_are_ready_and_people_spread_over_them(plane: World, people: list[Person]) -> None:
    status = plane.get("deployment", naming.FIREEDGE)["status"]
    assert (status["replicas"], status["readyReplicas"], status["updatedReplicas"]) == (2, 2, 2)
    assert len(people) == _PEOPLE, "somebody came to both"
    assert len({person.pod for person in people}) == 2


def test_everybody_stays_logged_in(people: list[Person]) -> None:
    """Through the ingress controller, which could give each request to either."""
    for _ in range(_REQUESTS):
        for person in people:
            answer = person.site.ask("GET", "/fireedge/api/user/info")
            assert answer.status == 200, answer.text


def two(people: list[Person]) -> tuple[Person, Person]:
    """One of each pod."""
    first = people[0]
    return first, next(person for person in people if person.pod != first.pod)


def test_a_session_lives_in_one_pod_and_its_key_in_both(people: list[Person]) -> None:
    """The other pod knows the signature, and answers that the session is over; a wrong signature is another answer."""
    here, there = two(people)
    stranger = Site(INSTANCE, naming.FIREEDGE, cookies={**there.site.cookies})
    stranger.cookies["FireedgeToken"] = here.site.cookies["FireedgeToken"]
    answer = stranger.ask("GET", "/fireedge/api/user/info")
    assert (answer.status, answer.json) == (401, {"data": "expired"})


def test_an_upload_is_there_for_both_and_for_oned(plane: World, people: list[Person]) -> None:
    here, there = two(people)
    content = secrets.token_hex(2000)
    answer = here.site.upload(content.encode())
    assert answer.status == 200, answer.text
    (path,) = answer.json["data"]
    try:
        for pod, container in ((there.pod, naming.FIREEDGE), (f"{naming.ONED}-0", naming.ONED)):
            assert plane.kubectl("exec", pod, "-c", container, "--", "cat", path) == content
    finally:
        plane.kubectl("exec", here.pod, "-c", naming.FIREEDGE, "--", "rm", path)


@pytest.fixture
def browser(plane: World, tmp_path: Path) -> Iterator[Any]:
    """Headless Chromium with a profile of its own, which trusts the lab's authority and knows the lab's names."""
    trust(tmp_path / "home")
    yield from chromium(tmp_path)


@pytest.fixture
def stranger(plane: World, tmp_path: Path) -> Iterator[Any]:
    """The same without the lab's authority."""
    (tmp_path / "home").mkdir()
    yield from chromium(tmp_path)


def chromium(tmp_path: Path) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in (
        "--headless=new",
        "--no-sandbox",  # as root, in a test
        "--disable-dev-shm-usage",
        "--no-proxy-server",
        "--window-size=1280,800",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--host-resolver-rules=MAP *.{DOMAIN} {INSTANCE.node_ip}, MAP * ~NOTFOUND, EXCLUDE localhost",
    ):
        options.add_argument(argument)
    service = webdriver.ChromeService(
        "/usr/bin/chromedriver", env={"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    )
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


def trust(home: Path) -> None:
    """Put the lab's authority where Chromium looks on Linux: the NSS database of the home directory."""
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    authority = ca.ensure(INSTANCE).authority_file
    for arguments in (
        ("-N", "--empty-password"),
        ("-A", "-n", "lab", "-t", "C,,", "-i", str(authority)),
    ):
        subprocess.run(["certutil", "-d", f"sql:{database}", *arguments], check=True, timeout=60, capture_output=True)


def test_a_person_logs_in_and_sees_both_hosts(login: tuple[str, str], browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    user, password = login
    wait = WebDriverWait(browser, _LIMIT)
    browser.get(f"https://{naming.FIREEDGE}.{DOMAIN}/")
    fields = wait.until(lambda page: [*page.find_elements(By.CSS_SELECTOR, "form input")][:2])
    fields[0].send_keys(user)
    fields[1].send_keys(password)
    browser.find_element(By.CSS_SELECTOR, "form button").click()
    wait.until(lambda page: page.current_url.endswith("/fireedge/sunstone/dashboard"))
    browser.get(f"https://{naming.FIREEDGE}.{DOMAIN}/fireedge/sunstone/host")
    wait.until(
        lambda page: all(
            name in page.find_element(By.TAG_NAME, "body").text for name in ("kvm-1", "lxc-1", "MONITORED")
        )
    )
    SCREENSHOT.parent.mkdir(parents=True, exist_ok=True)
    SCREENSHOT.unlink(missing_ok=True)
    assert browser.save_screenshot(str(SCREENSHOT))
    assert password not in browser.page_source


def test_a_browser_that_does_not_know_the_authority_refuses(stranger: Any) -> None:
    stranger.get(f"https://{naming.FIREEDGE}.{DOMAIN}/")
    assert "ERR_CERT_AUTHORITY_INVALID" in stranger.page_source
    assert "form" not in stranger.page_source.partition("<body")[2][:200]
