"""How long to wait, as people say it."""

import pytest

from wgfleet.panel.api.attempts import Attempts
from wgfleet.panel.domain.waits import in_words
from wgfleet.panel.errors import TooMany


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "1 second"),
        (0.2, "1 second"),
        (1.2, "2 seconds"),
        (89.5, "90 seconds"),
        (91, "2 minutes"),
        (3119, "52 minutes"),
        (5400, "90 minutes"),
        (5401, "2 hours"),
        (86_400, "24 hours"),
    ],
)
def test_a_wait_is_said_in_plain_words_and_never_too_short(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_who_failed_too_often_is_told_minutes() -> None:
    attempts = Attempts("wrong passwords", 1, 3120.0)
    attempts.failed("anna")
    with pytest.raises(TooMany, match=r"too many wrong passwords of anna; try again in 52 minutes$"):
        attempts.check("anna")
