"""A workshop for C programs and a host for Python, shared by all tests of the library."""

import pytest

from tests.agents.shipping.api_host import endpoint, host, links, served, them
from tests.agents.shipping.programs import Workshop

__all__ = ["endpoint", "host", "links", "served", "them"]


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("programs"))
