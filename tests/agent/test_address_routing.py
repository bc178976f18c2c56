"""What several routing daemons of one machine announce between them, and when one that is silent matters."""

import asyncio
from collections.abc import Collection

import pytest

from wgfleet.agent.interfaces.address_routing import nowhere
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.exabgp import Exabgp

ONE, TWO = "203.0.113.10", "2001:db8::10"
SESSIONS = ["upstream"]


class Announcing(Exabgp):
    """One that announces some addresses; None: it does not answer. `asked`: what it was asked about."""

    def __init__(self, announced: Collection[str] | None) -> None:
        super().__init__()
        self.asked: list[set[str]] = []
        self._announced = announced

    async def announced(self, addresses: Collection[str], sessions: Collection[str]) -> set[str]:
        """Return those that it announces."""
        assert sessions == SESSIONS
        self.asked.append({*addresses})
        if self._announced is None:
            raise KernelError("it does not answer")
        return {*addresses} & {*self._announced}


def left(*daemons: Announcing) -> set[str]:
    return asyncio.run(nowhere([ONE, TWO], [(each, SESSIONS) for each in daemons]))


@pytest.mark.parametrize(
    ("said", "expected"),
    [([{ONE, TWO}], set()), ([{ONE}, {TWO}], set()), ([None, {ONE, TWO}], set()), ([{ONE}, {ONE}], {TWO}),
     ([set()], {ONE, TWO})],
)  # fmt: skip
def test_an_address_is_to_be_announced_by_one_daemon(
    said: list[Collection[str] | None], expected: Collection[str]
) -> None:
    assert left(*map(Announcing, said)) == expected


@pytest.mark.parametrize("said", [[None], [{ONE}, None], [None, {ONE}], [None, set()]])
def test_one_that_does_not_answer_is_a_fault_where_an_address_is_announced_nowhere(
    said: list[Collection[str] | None],
) -> None:
    with pytest.raises(KernelError, match="it does not answer"):
        left(*map(Announcing, said))


def test_each_daemon_is_asked_once_about_what_those_before_do_not_announce() -> None:
    first, second, third = Announcing({ONE}), Announcing({TWO}), Announcing(None)
    assert left(first, second, third) == set()
    assert (first.asked, second.asked, third.asked) == ([{ONE, TWO}], [{TWO}], [])
