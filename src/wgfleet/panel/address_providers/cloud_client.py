"""Parts that the providers of clouds share: options, what they say of their account, and waiting for an action."""

import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from wgfleet.panel import clock
from wgfleet.panel.accounts import Account
from wgfleet.panel.address_providers.cloud_api import checked_token
from wgfleet.panel.errors import TransientError

LOOK_AGAIN_S = 2.0  # after an action that takes longer than it is waited for

S = TypeVar("S")


class MeteredApi(Protocol):
    """A client of a cloud's API that counts its calls."""

    account: Account
    calls: int

    def close(self) -> None:
        """Close the connections."""


A = TypeVar("A", bound=MeteredApi)


class CloudOptions(BaseModel):
    """What every cloud is given. Times in s."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    token: SecretStr = Field(min_length=1)
    timeout_s: float = Field(default=10.0, gt=0, le=60)

    _token = field_validator("token")(checked_token)


class CloudClient(Generic[A]):
    """What every provider on such an API has. A subclass says where an address is, and brings it to a node."""

    def __init__(self, api: A) -> None:
        self._api = api

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @property
    def account(self) -> Account:
        """Return the account, with a digest of the credential as id."""
        return self._api.account

    @property
    def calls(self) -> int:
        """Return how many calls were made."""
        return self._api.calls

    def close(self) -> None:
        """Close the connections."""
        self._api.close()


def until_over(
    state: S, look: Callable[[S], S], runs: Callable[[S], bool], *, until: float, pauses_s: Sequence[float], what: str
) -> S:
    """Look at an action again and again, with these pauses, until it runs no more, and return its last state.

    `until`, by the monotonic clock, it is waited for; then `TransientError`, which says `what` goes on.
    """
    pauses, pause_s = iter(pauses_s), pauses_s[-1]
    while runs(state):
        if clock.monotonic() >= until:
            raise TransientError(what, retry_after_s=LOOK_AGAIN_S)
        time.sleep(pause_s := next(pauses, pause_s))
        state = look(state)
    return state
