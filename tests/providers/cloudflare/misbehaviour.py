"""What the stand-in can be told to do wrong, and the rate limit that it keeps by itself."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from pydantic import Field

from tests.providers.cloudflare.models import Strict

CALLS = 1200
WINDOW_S = 300.0
BLOCK_S = 300.0


class Fault(Strict):
    """One way to misbehave, for the next `times` calls (0: until it is cleared) that are `on`.

    `error`: `status` with the words of a gateway. `silence`: the connection stays open, no answer comes.
    `cut`: the answer breaks off and the connection closes. `html`: a page in place of JSON, with `status` 200.
    `slow`: the right answer after `seconds`. `blocked`: 429, to the token's every call for `seconds`.
    `revoked`: the token is disabled, for good. `when`: whether the change is made all the same.
    """

    kind: Literal["error", "silence", "cut", "html", "slow", "blocked", "revoked"]
    when: Literal["before", "after"] = "before"
    on: Literal["write", "read", "any"] = "write"
    times: int = 1
    status: int = 502
    seconds: float = Field(default=BLOCK_S, ge=0)


class Faults:
    """The faults to come, in order; each call takes at most one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.struck = threading.Event()
        """Set once a call has taken one."""

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self._faults += [fault.model_copy() for fault in faults]

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, *, write: bool) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.on == "any" or (fault.on == "write") == write:
                    if fault.times == 1:
                        self._faults.remove(fault)
                    elif fault.times > 1:
                        fault.times -= 1
                    self.struck.set()
                    return fault
        return None


class RateLimit:
    """`calls` in a sliding window for each token; one more, and its every call is turned away for the block's time."""

    def __init__(self, calls: int = CALLS, now: Callable[[], float] = time.monotonic) -> None:
        self.calls = calls
        self._now = now
        self._lock = threading.Lock()
        self._seen: dict[str, deque[float]] = {}
        self._blocked_until: dict[str, float] = {}

    def block(self, token_id: str, seconds: float) -> None:
        with self._lock:
            self._blocked_until[token_id] = self._now() + seconds

    def unblock(self, token_id: str) -> None:
        with self._lock:
            self._blocked_until.pop(token_id, None)
            self._seen.pop(token_id, None)

    def count(self, token_id: str) -> tuple[int, float]:
        """Count a call; return how many are left, and for how long in s the token is blocked (0: it is not)."""
        with self._lock:
            now = self._now()
            if (left_s := self._blocked_until.get(token_id, now) - now) > 0:
                return 0, left_s
            seen = self._seen.setdefault(token_id, deque())
            while seen and seen[0] <= now - WINDOW_S:
                seen.popleft()
            if len(seen) >= self.calls:
                self._blocked_until[token_id] = now + BLOCK_S
                return 0, BLOCK_S
            seen.append(now)
            return self.calls - len(seen), 0.0
