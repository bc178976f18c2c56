"""What tests of people share."""

from collections.abc import Iterator

import httpx
import pytest

from tests.panel.conftest import NO_AUTHORITY


@pytest.fixture
def visitor(anonymous: httpx.Client) -> Iterator[httpx.Client]:
    """A client of the same panel that shows what it is told to, and nothing else."""
    with httpx.Client(base_url=anonymous.base_url, trust_env=False, verify=NO_AUTHORITY, timeout=120) as client:
        yield client
