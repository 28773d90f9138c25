"""A workshop for C programs, shared by all tests of the library."""

import pytest

from tests.agents.shipping.programs import Workshop


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("programs"))
