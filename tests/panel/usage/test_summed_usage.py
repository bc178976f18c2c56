"""Sums of all peers that are kept ready: after whatever happens to the rows, they are what adding those up gives.

Pages of sums by peer, which those lead to, too.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import delete, select

from tests.panel.usage.test_usage_rows import DAY_S, Told, row
from tests.panel.world import World
from wgfleet.panel.services import retention, usage
from wgfleet.panel.services.retention import Kept
from wgfleet.panel.services.usage import By, Per, UsageQuestion
from wgfleet.panel.store import Tx
from wgfleet.panel.store.migrations.versions import r0049_summed_usage
from wgfleet.panel.store.tables import FormerKey, SummedDay, SummedHour, UsageCounter, UsageDay, UsageHour

START = 20_000 * DAY_S
HOUR = int(START // 3600)
STEPS = 60
Sums = dict[tuple[str, ...], tuple[int, int]]


def plus(found: Sums, key: tuple[str, ...], received: int, sent: int) -> None:
    so_far = found.get(key, (0, 0))
    found[key] = (so_far[0] + received, so_far[1] + sent)


def rows_of_peers(tx: Tx) -> tuple[Sums, Sums]:
    """Return what the rows of all peers add up to, by hour and by day."""
    hours, days = Sums(), Sums()
    places = (UsageCounter.config_id, UsageCounter.node_id)
    of_hours = select(UsageHour.hour, *places, UsageHour.received, UsageHour.sent).join(UsageCounter)
    for hour, config_id, node_id, *used in tx.session.execute(of_hours):
        plus(hours, (str(hour), config_id, node_id), *used)
        plus(days, (str(hour // 24), config_id, node_id), *used)
    of_days = select(UsageDay.day, *places, UsageDay.received, UsageDay.sent).join(UsageCounter)
    for day, config_id, node_id, *used in tx.session.execute(of_days):
        plus(days, (str(day), config_id, node_id), *used)
    return hours, days


def kept_ready(tx: Tx) -> tuple[Sums, Sums]:
    hours: Sums = {
        (str(each.hour), each.config_id, each.node_id): (each.received, each.sent)
        for each in tx.session.scalars(select(SummedHour))
    }
    days: Sums = {
        (str(each.day), each.config_id, each.node_id): (each.received, each.sent)
        for each in tx.session.scalars(select(SummedDay))
    }
    return hours, days


def of_each_peer(tx: Tx, asked: UsageQuestion) -> Sums:
    """Answer a question on all peers by asking it of each: those answers come from their own rows."""
    found = Sums()
    for peer_id in tx.session.scalars(select(UsageCounter.peer_id).distinct()):
        alone = UsageQuestion(
            asked.per, asked.by, asked.since, asked.until, peer_id, asked.node_id, asked.config_id, asked.configs
        )
        for each in usage.sums(tx, alone, None, 10_000):
            plus(found, (each.sum.period, each.sum.id), each.sum.received, each.sum.sent)
    return found


def in_pages(tx: Tx, asked: UsageQuestion, limit: int) -> Sums:
    """Ask for a page after the other, as programs do."""
    found: list[usage.NamedSum] = []
    while page := usage.sums(tx, asked, (found[-1].sum.period, found[-1].sum.id) if found else None, limit):
        found += page
    places = [(each.sum.period, each.sum.id) for each in found]
    assert places == sorted(set(places)), "in order, and each once"
    return {(each.sum.period, each.sum.id): (each.sum.received, each.sum.sent) for each in found}


def question(numbers: random.Random, told: Told) -> UsageQuestion:
    since = HOUR + numbers.randint(-5, 100)
    return UsageQuestion(
        per=numbers.choice(list(Per)),
        by=numbers.choice([By.PEER, By.NODE, By.CONFIG]),
        since=numbers.choice([0, since]),
        until=since + numbers.choice([1, 5, 24, 60, 2000]),
        node_id=numbers.choice([None, told.nodes[0].id]),
        configs=numbers.choice([None, frozenset({told.config.id}), frozenset()]),
    )


@pytest.mark.parametrize("seed", range(3))
def test_they_are_what_the_rows_add_up_to(world: World, seed: int) -> None:
    numbers = random.Random(seed)  # noqa: S311 - repeatable
    told = Told(world)
    names = (f"p{number}" for number in range(STEPS))
    there = world.peers(told.config, next(names), next(names))
    totals: Counter[str] = Counter()
    for step in range(STEPS):
        now = START + step * 7200.0
        act = numbers.choice(["say", "say", "say", "come", "delete", "roll up", "forget"])
        if act == "say" and there:
            peer = numbers.choice(there)
            totals[peer.id] += numbers.randint(1, 10**6)
            at = now - numbers.choice([0, 3600, 30 * 3600])
            told.say(numbers.choice(told.nodes), row(peer.public_key, totals[peer.id], step, at=at), now=now)
        elif act == "come":
            there += world.peers(told.config, next(names))
        elif act == "delete" and there:
            told.delete(there.pop(numbers.randrange(len(there))))
        elif act == "roll up":
            forget_some(world, Kept.USAGE_HOURS, now - 36 * 3600.0)
        elif act == "forget":
            with world.store.write() as tx:
                for key in tx.session.scalars(select(FormerKey)):
                    key.at = START - DAY_S  # in this test's days
            forget_some(world, Kept.USAGE, now - 3 * DAY_S)
        with world.store.read() as tx:
            assert kept_ready(tx) == rows_of_peers(tx), act
            asked = question(numbers, told)
            assert in_pages(tx, asked, numbers.choice([1, 2, 3, 10_000])) == of_each_peer(tx, asked)
            asked = replace(asked, by=By.PEER, per=numbers.choice([Per.HOUR, Per.DAY, Per.MONTH]))
            assert in_pages(tx, asked, numbers.choice([1, 2, 3, 10_000])) == of_each_peer(tx, asked)


def forget_some(world: World, kept: Kept, before: float) -> None:
    """Do a part of it, as a panel that dies amid it."""
    forget: Callable[[Tx, Kept, float], int] = retention.forget
    with pytest.MonkeyPatch.context() as patch, world.store.write() as tx:
        patch.setattr(retention, "BATCH", 2)
        forget(tx, kept, before)


def test_a_database_that_has_usage_gets_them_with_the_upgrade(world: World) -> None:
    told = Told(world)
    alice, bob = world.peers(told.config, "alice", "bob")
    for hour in range(30):
        at = START + hour * 3600.0
        told.say(
            told.nodes[hour % 2], row(alice.public_key, hour + 1, 0, at=at), row(bob.public_key, 0, 9, at=at), now=at
        )
    told.forget(Kept.USAGE_HOURS, START + 20 * 3600.0)
    with world.store.write() as tx:
        before = kept_ready(tx)
        for kind in (SummedHour, SummedDay):
            tx.session.execute(delete(kind))
        for statement in (r0049_summed_usage.OF_HOURS, r0049_summed_usage.OF_DAYS):
            tx.connection.exec_driver_sql(statement)
    with world.store.read() as tx:
        assert kept_ready(tx) == before != (Sums(), Sums())
