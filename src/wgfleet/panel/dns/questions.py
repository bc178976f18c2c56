"""Questions that people ask of DNS providers beside the syncs: few at a time, and none for long.

A provider may take a minute to say nothing. The question ends in time, while the call runs on in a thread of
its own until the provider's own time-out; it keeps its place meanwhile, so that no more can pile up.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from wgfleet.panel.errors import TransientError
from wgfleet.protocol.reasons import Reason

AT_A_TIME = 4
WITHIN_S = 15.0
AGAIN_S = 5.0

T = TypeVar("T")


class Questions:
    """The places for questions. Safe to share between threads."""

    def __init__(self, at_a_time: int = AT_A_TIME, within_s: float = WITHIN_S) -> None:
        self._places = threading.BoundedSemaphore(at_a_time)
        self.within_s = within_s

    def ask(self, call: Callable[[], T], within_s: float | None = None) -> T:
        """Return or raise what `call` does; raise `TransientError` if there is no place, or no answer in time."""
        if not self._places.acquire(blocking=False):
            raise TransientError(
                Reason("DNS providers are being asked by others, who wait; try again"), retry_after_s=AGAIN_S
            )
        answers: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                answers.append(call())
            except BaseException as error:  # noqa: BLE001 - raised again where the answer is awaited
                errors.append(error)
            finally:
                self._places.release()

        thread = threading.Thread(target=run, name="dns-question", daemon=True)
        thread.start()
        seconds = self.within_s if within_s is None else within_s
        thread.join(seconds)
        if answers:
            return answers[0]
        if errors:
            raise errors[0]
        raise TransientError(
            Reason("the DNS provider has not answered for {seconds:g} s; try again", seconds=seconds),
            retry_after_s=AGAIN_S,
        )
