"""How calls of the API are timed: what the panel cannot answer at the moment is counted, what is wrong ends the run."""

import itertools

import pytest

from bench.simulated.callers import LEAST, latency
from bench.simulated.panel import Caller, CallError


class Nobody(Caller):
    """A caller without a connection."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_each_client_calls_a_few_times_however_short_the_time_is() -> None:
    made: list[Nobody] = []

    def make() -> Caller:
        made.append(Nobody())
        return made[-1]

    assert latency(make, lambda _caller: None, clients=3, seconds=0)["calls"] == 3 * LEAST
    assert [caller.closed for caller in made] == [True] * 3


def test_calls_that_are_refused_for_the_moment_are_counted() -> None:
    numbers = itertools.count()

    def call(_caller: Caller) -> None:
        if next(numbers) == 1:
            raise CallError(503, "try again")

    found = latency(Nobody, call, clients=1, seconds=0)
    assert (found["calls"], found["refused"]) == (LEAST, 1)


def test_a_call_that_is_wrong_ends_the_run() -> None:
    def call(_caller: Caller) -> None:
        raise CallError(404, "no such peer")

    with pytest.raises(CallError, match="no such peer"):
        latency(Nobody, call, clients=2, seconds=0)


def test_something_is_made_once_the_panel_can(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[object] = [CallError(503, "try again"), {"id": "1"}]

    def post(_caller: Caller, _path: str, _body: object) -> object:
        answer = answers.pop(0)
        if isinstance(answer, CallError):
            raise answer
        return answer

    monkeypatch.setattr(Nobody, "post", post)
    assert Nobody().post_until_done("/api/nodes", {}) == {"id": "1"}
    answers.append(CallError(422, "name: is taken"))
    with pytest.raises(CallError, match="is taken"):
        Nobody().post_until_done("/api/nodes", {})
