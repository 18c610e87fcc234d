"""One endpoint for the whole suite: a stand-in with a database of its own, unless the environment names another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.standins.opennebula.local import running_oned
from tests.contract.endpoint import Endpoint, given


@pytest.fixture(scope="session")
def _endpoint() -> Iterator[Endpoint]:
    named = given()
    if named is not None:
        yield named
        return
    with running_oned() as oned:
        yield Endpoint(oned.endpoint, oned.session, own=True)


@pytest.fixture
def api(_endpoint: Endpoint) -> Iterator[Endpoint]:
    """The endpoint; what a test made through it is undone."""
    yield _endpoint
    _endpoint.clean()


@pytest.fixture
def own_api(api: Endpoint) -> Endpoint:
    """The endpoint for a test that cannot leave it as it was."""
    if not api.own:
        pytest.skip("would not leave the endpoint of ONE_XMLRPC as it was")
    return api
