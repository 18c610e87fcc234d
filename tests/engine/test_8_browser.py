"""What a person sees: Chromium opens FireEdge through the ingress, checks its certificate, logs in, finds both hosts."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components import naming
from lab import ca
from lab.ca import DOMAIN
from lab.paths import STATE
from tests.engine.conftest import INSTANCE, World

pytestmark = pytest.mark.engine

SCREENSHOT = STATE / "tests" / "fireedge.png"
_LIMIT = 30  # seconds until a page shows what it should


@pytest.fixture(scope="module")
def plane(world: World) -> World:
    world.stack().up()
    return world


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


def test_a_person_logs_in_and_sees_both_hosts(plane: World, browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    secret = plane.get("secret", naming.ONEADMIN_SECRET)["data"][naming.ONE_AUTH_KEY]
    user, _, password = base64.b64decode(secret).decode().strip().partition(":")
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
