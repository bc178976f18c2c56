"""Accounts at providers: what calls count against, and the refusal of a whole one. Shared by all kinds of plugins."""

from dataclasses import dataclass

from wgfleet.panel.errors import TransientError


class Blocked(TransientError):
    """The provider refuses the whole account for `retry_after_s`: nothing of it may be tried before."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account, whose rate limit calls count against. `id` is a digest of what identifies it, never the credential.

    The id stays in memory; in the database it has an alias that only the panel's master key makes.

    `calls` are allowed in `window_s` (0: no known limit).
    """

    id: str
    calls: int = 0
    window_s: float = 0.0
