"""What tests of access share."""

import pytest
from argon2 import PasswordHasher

from wgfleet.panel.services.access import passwords


@pytest.fixture
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords that cost next to nothing to check."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    monkeypatch.setattr(passwords, "_nobody", [])
