"""Whose records are at a name, and what waits for people: conflicts, approvals, modes, drift, cancelled names."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.panel.dns.desk import NAME, Desk, Hands
from tests.panel.world import opened
from wgfleet.panel.domain.dns.records import Record
from wgfleet.panel.domain.dns.states import ErrorClass, HeldReason, SyncState
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.errors import Conflict, PermanentError
from wgfleet.panel.services.dns import commands
from wgfleet.panel.settings.dns import DnsSettings
from wgfleet.panel.store.tables import Config


@pytest.mark.parametrize(
    ("there", "kind", "published"),
    [
        (Record("A", "203.0.113.9", 300), "foreign", False),
        (Record("A", "203.0.113.9", 300, owner="wgfleet other/config"), "foreign", False),
        (Record("A", "192.0.2.1", 300), "taken", False),
        (Record("CNAME", "elsewhere.example.com", 300), "alias", False),
        (Record("A", "203.0.113.9", 1, proxied=True), "proxied", False),
    ],
)
def test_records_of_others_keep_a_new_name_from_being_published(
    desk: Desk, wg0: Config, there: Record, kind: str, *, published: bool
) -> None:
    desk.world.serving(wg0, "fra1", "ams1")
    desk.zone.put(NAME, there)
    desk.publish(wg0)
    desk.cycle()
    assert desk.zone.records[NAME] == {there}
    sync = desk.sync(wg0)
    assert (sync.state, sync.error_class) == (SyncState.CONFLICT, ErrorClass.CONFLICT)
    assert [conflict["kind"] for conflict in sync.plan["conflicts"]] == [kind]
    assert "another name" in str(sync.error)
    assert (sync.published != []) is published


def test_a_name_of_ours_is_kept_right_beside_a_record_that_somebody_added(desk: Desk, wg0: Config) -> None:
    fra1, _ = desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0)
    desk.cycle()
    foreign = Record("A", "203.0.113.9", 300)
    desk.zone.records[NAME].add(foreign)
    desk.judged(wg0, fra1, Health.DOWN)
    desk.cycle()
    assert desk.zone.at(NAME) == {"192.0.2.2", "203.0.113.9"}
    assert desk.sync(wg0).state == SyncState.CONFLICT
    desk.zone.records[NAME].remove(foreign)
    with desk.world.store.write() as tx:
        commands.retry(tx, "test", wg0.name)
    desk.cycle()
    assert desk.sync(wg0).state == SyncState.SYNCED


def test_adopting_takes_wanted_records_over_and_deletes_the_rest(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1", "ams1")
    desk.zone.put(NAME, Record("A", "192.0.2.1", 300, proxied=True), Record("A", "203.0.113.9", 300))
    desk.publish(wg0)
    desk.cycle()
    with desk.world.store.write() as tx:
        target, _ = commands.current_target(tx, desk.world.vault, wg0.name, desk.rules)
        found = desk.publisher.preview(target, adopt=True)
        commands.adopt(tx, "key:anna", wg0.name, found, target.mark)
    desk.cycle()
    assert {(r.content, r.ttl, r.owner, r.proxied) for r in desk.zone.records[NAME]} == {
        (address, 60, desk.mark(wg0), False) for address in ("192.0.2.1", "192.0.2.2")
    }
    assert desk.sync(wg0).state == SyncState.SYNCED
    desk.zone.records[NAME].add(Record("A", "203.0.113.10", 300))
    with desk.world.store.write() as tx:
        commands.retry(tx, "test", wg0.name)
    desk.cycle()
    assert desk.sync(wg0).state == SyncState.CONFLICT, "only what was seen is adopted"


def test_a_mass_deletion_waits_for_the_approval_of_just_that_plan(desk: Desk, wg0: Config) -> None:
    found = desk.world.serving(wg0, "fra1", "ams1", "par1", "waw1")
    desk.publish(wg0)
    desk.cycle()
    for node in found[:3]:
        desk.judged(wg0, node, Health.DOWN)
    desk.cycle()
    sync = desk.sync(wg0)
    assert (sync.state, len(desk.zone.at(NAME)), sync.plan["counts"]["delete"]) == (SyncState.APPROVAL, 4, 3)
    with pytest.raises(Conflict), desk.world.store.write() as tx:
        commands.approve(tx, "key:anna", wg0.name, "0123456789abcdef")
    with desk.world.store.write() as tx:
        commands.approve(tx, "key:anna", wg0.name, str(sync.plan_id))
    desk.cycle()
    assert desk.zone.at(NAME) == {"192.0.2.4"}
    assert (desk.sync(wg0).state, desk.sync(wg0).approved_plan_id) == (SyncState.SYNCED, None)
    assert [entry.actor for entry in desk.history(wg0, "dns_approved")] == ["key:anna"]


def test_additions_do_not_wait_for_the_approval_of_deletions(desk: Desk, wg0: Config) -> None:
    found = desk.world.serving(wg0, "fra1", "ams1", "par1")
    desk.publish(wg0)
    desk.cycle()
    desk.world.serving(wg0, "waw1")
    for node in found:
        desk.judged(wg0, node, Health.DOWN)
    desk.cycle()
    assert (desk.sync(wg0).state, len(desk.zone.at(NAME))) == (SyncState.APPROVAL, 4)


def test_two_dead_nodes_of_three_go_by_themselves(desk: Desk, wg0: Config) -> None:
    desk.rules = DnsSettings(gather_s=0)
    desk.restart()
    one, two, _ = desk.world.serving(wg0, "fra1", "ams1", "par1")
    desk.publish(wg0)
    desk.cycle()
    for node in (one, two):
        desk.judged(wg0, node, Health.DOWN)
    desk.cycle()
    assert (desk.sync(wg0).state, desk.zone.at(NAME)) == (SyncState.SYNCED, {"192.0.2.3"})


def test_nodes_that_people_removed_need_no_approval(desk: Desk, wg0: Config) -> None:
    found = desk.world.serving(wg0, "fra1", "ams1", "par1", "waw1")
    desk.publish(wg0)
    desk.cycle()
    for node in found[:3]:
        desk.world.remove(wg0, node)
    desk.cycle()
    assert desk.zone.at(NAME) == {"192.0.2.4"}


def test_modes_hold_back_what_they_say(desk: Desk, wg0: Config) -> None:
    fra1, _ = desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0, mode="dry_run")
    desk.cycle()
    sync = desk.sync(wg0)
    assert (desk.zone.at(NAME), sync.state, sync.plan["held"]) == (set(), SyncState.PENDING, HeldReason.DRY_RUN)
    assert sync.plan["counts"]["create"] == 2
    desk.publish(wg0, mode="upsert_only")
    desk.cycle()
    desk.judged(wg0, fra1, Health.DOWN)
    desk.cycle()
    assert desk.zone.at(NAME) == {"192.0.2.1", "192.0.2.2"}
    assert desk.sync(wg0).state == SyncState.SYNCED
    desk.unpublish(wg0)
    assert (desk.syncs(wg0), desk.zone.at(NAME)) == ([], {"192.0.2.1", "192.0.2.2"})
    assert desk.history(wg0, "dns_left")[0].details["left"] == ["192.0.2.1", "192.0.2.2"]


def test_drift_is_repaired_and_told_field_by_field(desk: Desk, wg0: Config, hands: Hands) -> None:
    desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0)
    desk.cycle()
    desk.zone.put(NAME, Record("A", "192.0.2.1", 300, owner=desk.mark(wg0), proxied=True))
    hands.move(desk.rules.check_interval_s + 1)
    desk.cycle()
    assert {(r.content, r.ttl, r.proxied) for r in desk.zone.records[NAME]} == {
        ("192.0.2.1", 60, False),
        ("192.0.2.2", 60, False),
    }
    [told] = desk.history(wg0, "dns_drifted")
    assert told.details["repaired"] is True
    assert told.details["fields"] == [
        "A 192.0.2.2: wanted, not there",
        "A 192.0.2.1: ttl wanted 60, found 300",
        "A 192.0.2.1: proxied wanted False, found True",
    ]


def test_drift_is_only_reported_where_the_group_says_so_until_somebody_retries(
    desk: Desk, wg0: Config, hands: Hands
) -> None:
    desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0, drift="report")
    desk.cycle()
    by_hand = Record("A", "192.0.2.1", 300, owner=desk.mark(wg0))
    desk.zone.put(NAME, by_hand)
    for _ in range(3):
        hands.move(desk.rules.check_interval_s + 1)
        desk.cycle()
    assert desk.zone.records[NAME] == {by_hand}
    assert (desk.sync(wg0).state, desk.sync(wg0).error_class) == (SyncState.CONFLICT, ErrorClass.DRIFT)
    assert len(desk.history(wg0, "dns_drifted")) == 1
    with desk.world.store.write() as tx:
        commands.retry(tx, "test", wg0.name)
    desk.cycle()
    assert (desk.zone.at(NAME), desk.sync(wg0).state) == ({"192.0.2.1", "192.0.2.2"}, SyncState.SYNCED)


def test_two_panels_on_copies_of_one_database_that_publish_one_name_are_found_and_told_of(
    desk: Desk, hands: Hands, tmp_path: Path
) -> None:
    """The copy reaches no node, so no agent tells it that it is one."""
    wg0 = desk.world.config()
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0)
    desk.cycle()
    with (
        closing(sqlite3.connect(tmp_path / "panel.sqlite")) as own,
        closing(sqlite3.connect(tmp_path / "copy")) as copy,
    ):
        own.backup(copy)
    desk.world.serving(wg0, "ams1")
    with opened(f"sqlite:///{tmp_path / 'copy'}") as world:
        other = Desk(world, desk.zone)
        for _ in range(5):
            for each in (desk, other):
                hands.move(desk.rules.check_interval_s / 2 + 1)
                each.cycle()
        for each, last in ((desk, "A 192.0.2.2: wanted, not there"), (other, "A 192.0.2.2: there, not wanted")):
            sync = each.sync(wg0)
            assert (sync.state, sync.error_class) == (SyncState.CONFLICT, ErrorClass.DRIFT)
            assert last in (sync.error or "")
            assert "is there another panel, on a copy of this database? Stop that one" in (sync.error or "")
            assert len(each.history(wg0, "dns_conflict")) == 1
    for _ in range(2):
        hands.move(desk.rules.check_interval_s + 1)
        desk.cycle()
    assert (desk.sync(wg0).state, desk.zone.at(NAME)) == (SyncState.SYNCED, {"192.0.2.1", "192.0.2.2"})


def test_what_is_cancelled_stays_as_it_is_until_it_is_retried(desk: Desk, wg0: Config) -> None:
    fra1, _ = desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0)
    desk.cycle()
    with desk.world.store.write() as tx:
        commands.cancel(tx, "test", wg0.name)
    desk.judged(wg0, fra1, Health.DOWN)
    desk.cycle()
    assert (len(desk.zone.at(NAME)), desk.sync(wg0).state) == (2, SyncState.CANCELLED)
    with desk.world.store.write() as tx:
        commands.retry(tx, "test", wg0.name)
    desk.cycle()
    assert (desk.zone.at(NAME), desk.sync(wg0).state) == ({"192.0.2.2"}, SyncState.SYNCED)


def test_a_withdrawal_can_be_given_up(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0)
    desk.cycle()

    def gone() -> None:
        raise PermanentError("the zone is not there any more")

    desk.zone.before["read"] = gone
    desk.unpublish(wg0)
    desk.cycle()
    assert [(sync.state, sync.withdrawn) for sync in desk.syncs(wg0)] == [(SyncState.FAILING, True)]
    with desk.world.store.write() as tx:
        commands.cancel(tx, "test", wg0.id)
    assert desk.syncs(wg0) == []
    assert desk.history(wg0, "dns_cancelled")[0].details["left"] == ["192.0.2.1"]
