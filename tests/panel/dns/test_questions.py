"""Questions of people to DNS providers: few at a time, none for long, and never at the expense of changes."""

import contextlib
import threading
import time
from collections.abc import Callable

import pytest

from tests.panel.dns.desk import Desk
from wgfleet.panel.dns.providers import Account
from wgfleet.panel.dns.questions import Questions
from wgfleet.panel.dns.rate_limits import Limiter
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.services.dns import commands
from wgfleet.panel.store.tables import Config


def test_an_answer_or_an_error_comes_back() -> None:
    def refuse() -> None:
        raise PermanentError("no")

    questions = Questions()
    assert questions.ask(lambda: 42) == 42
    with pytest.raises(PermanentError, match="no"):
        questions.ask(refuse)


def test_who_has_no_place_is_told_at_once_and_a_hung_call_keeps_its_place() -> None:
    over = threading.Event()
    questions = Questions(at_a_time=1, within_s=0.1)
    with pytest.raises(TransientError, match=r"has not answered for 0\.1 s"):
        questions.ask(over.wait)
    started = time.monotonic()
    for _ in range(100):
        with pytest.raises(TransientError, match="by others"):
            questions.ask(lambda: 42)
    assert time.monotonic() - started < 100 * 0.1, "none of them waits"
    over.set()
    assert eventually(lambda: questions.ask(lambda: 42)) == 42


def eventually(ask: Callable[[], int]) -> int:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with contextlib.suppress(TransientError):
            return ask()
        time.sleep(0.01)
    pytest.fail("the place was not given back")


def test_questions_leave_the_reserved_calls_to_changes(desk: Desk, wg0: Config) -> None:
    desk.zone.limit = Account("one", calls=40, window_s=1000)
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0)
    with desk.world.store.write() as tx:
        target, _ = commands.current_target(tx, desk.world.vault, wg0.name, desk.rules)
    for _ in range(10):
        desk.publisher.preview(target)
    with pytest.raises(TransientError, match="are for changes"):
        desk.publisher.preview(target)
    with pytest.raises(TransientError, match="are for changes"):
        desk.publisher.check(target.provider, target.zone, target.name, target.options)
    desk.publisher.preview(target, urgent=True)
    Limiter(desk.world.store, desk.world.vault).take(desk.zone.limit, 9)
