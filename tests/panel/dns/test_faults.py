"""What goes wrong at a provider, in the panel or between them, and that the name is right afterwards."""

import threading

import pytest

from tests.panel.dns.desk import NAME, Desk, Hands
from tests.panel.dns.zone import Scripted, Zone
from tests.waiting import eventually
from wgfleet.panel import faultpoints
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.providers import Blocked, Raced
from wgfleet.panel.domain.dns.records import Record
from wgfleet.panel.domain.dns.states import ErrorClass, SyncState
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.services import configs
from wgfleet.panel.services.dns import commands
from wgfleet.panel.services.dns.settings import DnsSpec
from wgfleet.panel.services.fleet import endpoint_groups
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.store.tables import Config


class Killed(BaseException):
    """The process ended here."""


def test_an_hour_without_the_provider_ends_in_one_call(desk: Desk, wg0: Config, hands: Hands) -> None:
    found = desk.world.serving(wg0, *(f"n{i}" for i in range(6)))
    desk.publish(wg0)
    desk.cycle()
    before = desk.zone.calls.copy()

    def down() -> None:
        raise TransientError("connection refused")

    desk.zone.before["read"] = down
    for minute in range(60):
        if minute in {5, 20, 40}:
            desk.judged(wg0, found[minute // 10], Health.DOWN)
        if minute == 50:
            desk.world.serving(wg0, "n9")
        hands.move(60)
        desk.cycle()
    tries = desk.zone.calls["read"] - before["read"]
    assert 12 <= tries <= 40, "it goes on, and not too often"
    assert desk.sync(wg0).attempts == tries
    assert len(desk.history(wg0, "dns_failing")) == 1
    desk.zone.before.clear()
    hands.move(desk.rules.retry_cap_s)
    desk.cycle()
    assert desk.zone.calls["apply"] - before["apply"] == 1
    assert len(desk.zone.at(NAME)) == 4
    assert desk.sync(wg0).state == SyncState.SYNCED


@pytest.mark.parametrize("committed", [True, False])
def test_an_answer_that_is_lost_is_read_again(desk: Desk, wg0: Config, *, committed: bool) -> None:
    desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0)

    def lost() -> None:
        raise TransientError("502 Bad Gateway")

    (desk.zone.after if committed else desk.zone.before)["apply"] = lost
    desk.cycle()
    assert desk.sync(wg0).state == (SyncState.SYNCED if committed else SyncState.FAILING)
    assert desk.zone.calls["apply"] == 1
    assert len(desk.zone.at(NAME)) == (2 if committed else 0)


def test_a_race_is_read_again_at_once(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0)

    def other_writer() -> None:
        desk.zone.before.clear()
        raise Raced("somebody else changed the name")

    desk.zone.before["apply"] = other_writer
    desk.cycle()
    assert (desk.sync(wg0).state, desk.zone.calls["apply"]) == (SyncState.SYNCED, 2)


def test_a_panel_killed_between_apply_and_read_neither_doubles_nor_loses(
    desk: Desk, wg0: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    fra1, _ = desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0)

    def die(point: str) -> None:
        if point == "dns.applied":
            raise Killed

    for node in (None, fra1):
        monkeypatch.setattr(faultpoints, "reached", die)
        if node is not None:
            desk.judged(wg0, node, Health.DOWN)
        with pytest.raises(Killed):
            desk.cycle()
        monkeypatch.undo()
        desk.restart()
        calls = desk.zone.calls["apply"]
        desk.cycle()
        assert desk.zone.calls["apply"] == calls, "all was done before"
        assert desk.sync(wg0).state == SyncState.SYNCED
        assert sorted(desk.zone.at(NAME)) == desk.sync(wg0).published
    first, second = desk.history(wg0, "dns_updated")
    assert (first.details["added"], second.details["removed"]) == (["192.0.2.1", "192.0.2.2"], ["192.0.2.1"])


def test_attempts_and_blocks_outlive_a_restart(desk: Desk, wg0: Config, hands: Hands) -> None:
    desk.world.serving(wg0, "fra1")
    other = desk.world.config("wg1", pools=("10.9.0.0/24",))
    desk.world.serving(other, "ams1")

    def turned_away() -> None:
        raise Blocked("429", retry_after_s=300)

    desk.zone.before["read"] = turned_away
    desk.publish(wg0)
    desk.cycle()
    desk.zone.before.clear()
    desk.restart()
    desk.publish(other, domain="other.example.com")
    for _ in range(3):
        desk.cycle()
        hands.move(90)
    assert desk.zone.calls["read"] == 1, "no name of the account is tried while it is blocked"
    assert (desk.sync(wg0).error_class, desk.sync(wg0).attempts) == (ErrorClass.BLOCKED, 1)
    hands.move(60)
    desk.restart()
    desk.cycle()
    assert (desk.sync(wg0).state, desk.sync(other).state) == (SyncState.SYNCED, SyncState.SYNCED)


def test_a_permanent_error_is_told_with_the_providers_words_and_mended_by_saving(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")

    def refused() -> None:
        raise PermanentError("code 10000: Authentication error; the token lacks Zone / DNS / Edit")

    desk.zone.before["apply"] = refused
    desk.publish(wg0)
    desk.cycle()
    assert (desk.sync(wg0).state, desk.sync(wg0).error_class) == (SyncState.FAILING, ErrorClass.PERMANENT)
    assert "Authentication error" in str(desk.sync(wg0).error)
    desk.zone.before.clear()
    desk.publish(wg0)
    desk.cycle()
    assert desk.sync(wg0).state == SyncState.SYNCED


def test_a_bug_of_a_provider_is_told_without_its_words(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")

    def bug() -> None:
        raise RuntimeError("token abc is wrong")

    desk.zone.before["read"] = bug
    desk.publish(wg0)
    desk.cycle()
    assert (desk.sync(wg0).error_class, desk.sync(wg0).error) == (ErrorClass.BUG, "the provider failed: RuntimeError")


def test_a_provider_that_is_gone_is_a_permanent_error(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0)
    desk.plugins = DnsPlugins({})
    desk.restart()
    desk.cycle()
    assert (desk.sync(wg0).state, desk.sync(wg0).error_class) == (SyncState.FAILING, ErrorClass.PERMANENT)


def test_changes_that_do_not_show_are_not_made_twice(desk: Desk, wg0: Config, hands: Hands) -> None:
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0)
    late = dict(desk.zone.records)

    def not_shown_yet() -> None:
        late.update(desk.zone.records)
        desk.zone.records.clear()

    desk.zone.after["apply"] = not_shown_yet
    desk.cycle()
    assert (desk.sync(wg0).state, desk.zone.calls["apply"]) == (SyncState.FAILING, 1)
    desk.zone.records.update(late)
    hands.move(5)
    desk.cycle()
    assert (desk.sync(wg0).state, desk.zone.calls["apply"]) == (SyncState.SYNCED, 1)


def test_new_addresses_come_before_old_ones_go_where_changes_are_not_one(desk: Desk, wg0: Config) -> None:
    desk.zone.atomic = False
    fra1, ams1 = desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0, min_nodes=2)
    desk.cycle()
    desk.world.serving(wg0, "par1", "waw1")
    desk.world.remove(wg0, fra1)
    desk.world.remove(wg0, ams1)
    desk.cycle()
    assert desk.zone.at(NAME) == {"192.0.2.3", "192.0.2.4"}
    assert min(len(listed) for _, listed in desk.zone.history) == 2


def test_two_panels_do_not_share_a_name(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0)
    desk.cycle()
    other = desk.world.config("wg1", pools=("10.9.0.0/24",))
    desk.world.serving(other, "ams1")
    desk.publish(other)
    desk.cycle()
    assert desk.zone.at(NAME) == {"192.0.2.1"}
    assert desk.sync(other).state == SyncState.CONFLICT
    assert desk.mark(wg0) in str(desk.sync(other).error)


def test_many_additions_cost_one_change_and_a_withdrawal_does_not_wait_for_them(
    desk: Desk, wg0: Config, hands: Hands
) -> None:
    [first] = desk.world.serving(wg0, "n0")
    desk.rules = desk.rules.model_copy(update={"gather_s": 60})
    desk.restart()
    desk.publish(wg0)
    desk.cycle()
    before = desk.zone.calls.copy()
    for i in range(1, 21):
        desk.world.serving(wg0, f"n{i}")
        desk.cycle()
        hands.move(0.4)
    assert desk.zone.calls == before, "they are gathered"
    hands.move(60)
    desk.cycle()
    assert len(desk.zone.at(NAME)) == 21
    assert desk.zone.calls - before == {"read": 2, "apply": 1}
    desk.world.serving(wg0, "n21")
    desk.cycle()
    desk.judged(wg0, first, Health.DOWN)
    desk.cycle()
    assert "192.0.2.1" not in desk.zone.at(NAME)
    assert desk.zone.calls - before == {"read": 4, "apply": 2}


def test_a_rolling_restart_never_lists_fewer_than_min_nodes(desk: Desk, wg0: Config) -> None:
    found = desk.world.serving(wg0, *(f"n{i}" for i in range(20)))
    desk.publish(wg0, min_nodes=3)
    desk.cycle()
    desk.zone.history.clear()
    before = desk.zone.calls.copy()
    for node in found:
        desk.world.cordon(node)
        desk.cycle()
        desk.judged(wg0, node, Health.DOWN)
        desk.judged(wg0, node, Health.SERVING)
        desk.world.uncordon(node)
    desk.cycle()
    assert len(desk.zone.at(NAME)) == 20
    assert min(len(listed) for _, listed in desk.zone.history) == 19
    assert desk.zone.calls["apply"] - before["apply"] <= 21
    desk.zone.history.clear()
    for node in found:
        desk.world.cordon(node)
        desk.cycle()
    assert min(len(listed) for _, listed in desk.zone.history) == 3


def test_a_slow_provider_keeps_only_its_own_names_waiting(desk: Desk, wg0: Config) -> None:
    quick = Zone()
    desk.plugins = DnsPlugins({"scripted": Scripted(desk.zone), "quick": Scripted(quick, name="quick")})
    desk.restart()
    go_on = threading.Event()
    desk.zone.before["read"] = lambda: go_on.wait(120)
    desk.world.serving(wg0, "fra1")
    slow = [wg0, *(desk.world.config(f"slow{i}", pools=(f"10.{20 + i}.0.0/24",)) for i in range(12))]
    for i, config in enumerate(slow):
        desk.publish(config, domain=f"n{i}.example.com")
    other = desk.world.config("wg9", pools=("10.9.0.0/24",))
    desk.world.serving(other, "ams1")
    with desk.working():
        eventually(lambda: desk.zone.calls["read"] == len(slow))
        with desk.world.store.write() as tx:
            spec = EndpointGroupSpec(domain=NAME, dns=DnsSpec("quick", "example.com"))
            endpoint_groups.put(tx, desk.world.vault, "test", configs.get(tx, other.id), spec, desk.plugins)
        eventually(lambda: quick.at(NAME) == {"192.0.2.2"})
        go_on.set()
        eventually(lambda: desk.zone.at("n0.example.com") == {"192.0.2.1"})


def test_what_is_asked_for_during_a_look_is_looked_at_next(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0)
    desk.cycle()

    def meanwhile() -> None:
        desk.zone.before.clear()
        desk.publish(wg0, ttl=90)

    desk.zone.before["read"] = meanwhile
    with desk.world.store.write() as tx:
        commands.retry(tx, "test", wg0.name)
    desk.cycle()
    desk.cycle()
    assert [record.ttl for record in desk.zone.records[NAME]] == [90]


def test_a_record_of_ours_that_is_there_twice_is_mended(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")
    ours = desk.mark(wg0)
    desk.zone.put(NAME, Record("A", "192.0.2.1", 60, ours, handle="a"), Record("A", "192.0.2.1", 60, ours, handle="b"))
    desk.publish(wg0)
    desk.cycle()
    assert len(desk.zone.records[NAME]) == 1
