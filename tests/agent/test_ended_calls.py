"""Calls that have ended: keepalives are put back, of peers that nobody calls any more, and none is held for ever."""

import asyncio
from collections import Counter
from unittest import mock

import pytest

from wgfleet.agent.interfaces import takeover
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.keys import PublicKey

ANNA, BERT = PublicKey("A" * 43 + "="), PublicKey("B" * 43 + "=")


def ended(calling: Counter[PublicKey], *, fails: bool = False) -> tuple[Counter[PublicKey], list[set[PublicKey]]]:
    """End calls to both, of whom Anna answered; return who is called still, and whose keepalives were put back."""
    put_back: list[set[PublicKey]] = []

    async def end_call(_: str, own: dict[PublicKey, int]) -> None:
        put_back.append(set(own))

    async def reminding() -> None:
        if fails:
            raise KernelError("no such device")

    async def run() -> Counter[PublicKey]:
        peers = {key: DesiredPeer(("10.8.0.2/32",)) for key in (ANNA, BERT)}
        reconciler = mock.Mock(lock=asyncio.Lock(), calling=calling, desired=mock.Mock(peers=peers))
        machine = mock.Mock(end_call=end_call)
        reminder = asyncio.create_task(reminding())
        await takeover._restore_keepalives(machine, reconciler, {ANNA, BERT}, {ANNA}, reminder)  # noqa: SLF001 - its end
        left: Counter[PublicKey] = reconciler.calling
        return left

    return asyncio.run(run()), put_back


@pytest.mark.parametrize("fails", [False, True])
def test_keepalives_are_put_back_also_where_the_last_reminder_failed(*, fails: bool) -> None:
    assert ended(Counter((ANNA, BERT)), fails=fails) == (Counter(), [{BERT}, {ANNA}])


def test_who_is_called_once_more_by_now_keeps_its_keepalive() -> None:
    assert ended(Counter((ANNA, BERT, BERT))) == (Counter({BERT: 1}), [set(), {ANNA}])
