"""A name lists the nodes that serve: what is published, withdrawn, refused and told."""

import pytest

from tests.panel.dns.desk import NAME, Desk, Hands
from tests.waiting import eventually
from wgfleet.panel.domain.dns.records import Record
from wgfleet.panel.domain.dns.states import ErrorClass, SyncState
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.errors import Invalid, TransientError
from wgfleet.panel.services.dns import commands
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.store.tables import Config


def test_a_saved_group_is_published_and_seen_to_be(either_desk: Desk) -> None:
    desk = either_desk
    wg0 = desk.world.config()
    desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0)
    desk.cycle()
    assert desk.zone.at(NAME) == {"192.0.2.1", "192.0.2.2"}
    assert {(r.ttl, r.owner, r.proxied) for r in desk.zone.records[NAME]} == {(60, desk.mark(wg0), False)}
    sync = desk.sync(wg0)
    assert (sync.state, sync.published, sync.attempts, sync.error) == (
        SyncState.SYNCED,
        ["192.0.2.1", "192.0.2.2"],
        0,
        None,
    )
    assert desk.zone.calls == {"read": 2, "apply": 1}
    desk.cycle()
    assert desk.zone.calls == {"read": 2, "apply": 1}, "nothing is due before the check interval has passed"


def test_a_removed_node_goes_from_the_name_and_both_changes_are_in_the_audit_log(desk: Desk, wg0: Config) -> None:
    fra1, _ = desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0)
    desk.cycle()
    desk.world.remove(wg0, fra1)
    desk.cycle()
    assert desk.zone.at(NAME) == {"192.0.2.2"}
    removed, added = desk.audited("dns_updated")
    assert (added.entity_type, added.entity_id, added.details["added"]) == (
        "endpoint_group",
        wg0.id,
        ["192.0.2.1", "192.0.2.2"],
    )
    assert (removed.details["removed"], removed.details["reason"], removed.actor) == (
        ["192.0.2.1"],
        "node fra1 is being removed",
        "test",
    )
    assert removed.details["seconds"] >= 0


def test_a_dead_node_is_withdrawn_and_listed_again_when_it_serves(desk: Desk, wg0: Config) -> None:
    fra1, _ = desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0)
    desk.cycle()
    for state, listed in (
        (Health.SUSPECT, {"192.0.2.1", "192.0.2.2"}),
        (Health.DOWN, {"192.0.2.2"}),
        (Health.RECOVERING, {"192.0.2.2"}),
        (Health.SERVING, {"192.0.2.1", "192.0.2.2"}),
    ):
        desk.judged(wg0, fra1, state)
        desk.cycle()
        assert desk.zone.at(NAME) == listed, state
    assert desk.history(wg0, "dns_updated")[1].details["reason"] == "node fra1 is down: as the test says"


def test_unhealthy_nodes_are_listed_where_the_group_says_so(desk: Desk, wg0: Config) -> None:
    fra1, _ = desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0, publish_only_healthy=False)
    desk.judged(wg0, fra1, Health.DOWN)
    desk.cycle()
    assert desk.zone.at(NAME) == {"192.0.2.1", "192.0.2.2"}


def test_a_name_is_never_emptied_by_the_panel(desk: Desk, wg0: Config) -> None:
    fra1, ams1 = desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0)
    desk.cycle()
    desk.judged(wg0, fra1, Health.DOWN)
    desk.judged(wg0, ams1, Health.DOWN)
    desk.cycle()
    assert desk.zone.at(NAME) == {"192.0.2.1", "192.0.2.2"}
    assert "no node serves" in desk.sync(wg0).plan["note"]


def test_cordoned_nodes_are_listed_only_where_min_nodes_asks_for_it(desk: Desk, wg0: Config) -> None:
    fra1, ams1, _ = desk.world.serving(wg0, "fra1", "ams1", "par1")
    desk.publish(wg0, min_nodes=2)
    desk.cycle()
    desk.world.cordon(fra1)
    desk.cycle()
    assert desk.zone.at(NAME) == {"192.0.2.2", "192.0.2.3"}
    desk.world.cordon(ams1)
    desk.cycle()
    assert desk.zone.at(NAME) == {"192.0.2.2", "192.0.2.3"}
    assert "cordoned node ams1 is still listed" in desk.sync(wg0).plan["note"]


def test_a_new_address_of_a_node_replaces_the_old_one(desk: Desk, wg0: Config) -> None:
    fra1, _ = desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0)
    desk.cycle()
    with desk.world.store.write() as tx:
        nodes.update(
            tx, "test", nodes.get(tx, fra1.id), {"endpoint_addresses": ["198.51.100.1", "2001:db8::1"]}, force=True
        )
    desk.cycle()
    assert desk.zone.at(NAME) == {"192.0.2.2", "198.51.100.1", "2001:db8::1"}


def test_a_deleted_group_takes_its_records_along_and_leaves_others_alone(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0)
    desk.cycle()
    foreign = Record("A", "203.0.113.9", 300)
    desk.zone.records[NAME].add(foreign)
    desk.unpublish(wg0)
    assert [sync.withdrawn for sync in desk.syncs(wg0)] == [True]
    desk.cycle()
    assert desk.zone.records[NAME] == {foreign}
    assert desk.syncs(wg0) == []
    assert desk.history(wg0, "dns_updated")[-1].details["removed"] == ["192.0.2.1", "192.0.2.2"]


def test_another_name_is_published_and_the_one_before_withdrawn(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0)
    desk.cycle()
    desk.publish(wg0, domain="other.example.com")
    desk.cycle()
    assert (desk.zone.at(NAME), desk.zone.at("other.example.com")) == (set(), {"192.0.2.1"})
    assert [sync.name for sync in desk.syncs(wg0)] == ["other.example.com"]


def test_a_change_of_the_zone_takes_nothing_away_where_both_are_the_same_in_truth(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0)
    desk.cycle()
    desk.zone.history.clear()
    desk.publish(wg0, zone="another id of example.com")
    for _ in range(2):
        desk.cycle()
    assert (len(desk.zone.at(NAME)), desk.zone.history) == (2, [])
    assert [sync.state for sync in desk.syncs(wg0)] == [SyncState.SYNCED]


def test_a_removal_waits_for_its_clients_from_the_moment_that_the_name_lost_the_node(
    desk: Desk, wg0: Config, hands: Hands
) -> None:
    fra1, ams1 = desk.world.serving(wg0, "fra1", "ams1")
    [anna, *_] = desk.world.peers(wg0, "anna", "ben")
    desk.world.sync_all(wg0, fra1, ams1)
    home = fra1 if anna.home_node_id == fra1.id else ams1
    desk.world.seen(wg0, home, {anna.public_key: "198.51.100.7:51820"})
    desk.publish(wg0)
    desk.cycle()

    def down() -> None:
        raise TransientError("no answer")

    desk.zone.before["read"] = down
    removal = desk.world.remove(wg0, home, window_s=90)
    nobody: frozenset[str] = frozenset()
    for _ in range(3):
        desk.world.step(removal, answers=nobody)
        desk.world.sync_all(wg0, fra1, ams1)
    desk.cycle()
    hands.move(600)
    assert desk.world.step(removal, answers=nobody) is MoveStep.TAKEOVER, "the name lists it still"
    desk.zone.before.clear()
    desk.cycle()
    assert len(desk.zone.at(NAME)) == 1
    hands.move(60)
    assert desk.world.step(removal, answers=nobody) is MoveStep.TAKEOVER
    hands.move(31)
    assert desk.world.step(removal, answers=nobody) is MoveStep.RETIRE


def test_a_changed_ttl_is_an_update(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0)
    desk.cycle()
    desk.publish(wg0, ttl=120)
    desk.cycle()
    assert [record.ttl for record in desk.zone.records[NAME]] == [120]
    assert desk.sync(wg0).state == SyncState.SYNCED


def test_international_and_apex_names_go_out_as_a_labels(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0, domain="bücher.example.com")
    desk.cycle()
    assert desk.zone.at("xn--bcher-kva.example.com") == {"192.0.2.1"}
    desk.publish(wg0, domain="example.com")
    desk.cycle()
    assert (desk.zone.at("xn--bcher-kva.example.com"), desk.zone.at("example.com")) == (set(), {"192.0.2.1"})


def test_a_group_is_refused_with_the_name_of_the_wrong_field(desk: Desk, wg0: Config) -> None:
    for values, field in (({"ttl": 1}, "ttl"), ({"options": {"tokn": "x"}}, "dns.options.tokn")):
        with pytest.raises(Invalid) as caught:
            desk.publish(wg0, **values)
        assert caught.value.field == field


def test_secrets_are_sealed_kept_for_the_same_place_and_never_sent_to_another(desk: Desk, wg0: Config) -> None:
    desk.publish(wg0, options={"token": "very secret"})
    desk.publish(wg0, ttl=90, options={"token": "(set)"})
    desk.publish(wg0, ttl=120)
    sync = desk.sync(wg0)
    assert sync.options_sealed is not None
    assert b"very secret" not in sync.options_sealed
    with desk.world.store.read() as tx:
        target, _ = commands.current_target(tx, desk.world.vault, wg0.id, desk.rules)
    assert target.options == {"token": "very secret"}
    assert "very secret" not in repr(target)
    with pytest.raises(Invalid) as caught:
        desk.publish(wg0, options={"token": "(set)", "server": "mine"})
    assert caught.value.field == "dns.options.token"
    assert not any("very secret" in str(entry.details) for entry in desk.history(wg0))


def test_what_is_decided_is_published_without_anybody_asking(desk: Desk, wg0: Config) -> None:
    desk.rules = desk.rules.model_copy(update={"check_interval_s": 3600})  # no routine sync helps
    found = desk.world.serving(wg0, *(f"n{i}" for i in range(4)))
    desk.publish(wg0)
    with desk.working():
        eventually(lambda: len(desk.zone.at(NAME)) == 4)
        for state, listed in ((Health.DOWN, 3), (Health.SERVING, 4)):
            desk.judged(wg0, found[0], state)
            eventually(lambda listed=listed: len(desk.zone.at(NAME)) == listed)  # type: ignore[misc]  # a default binds it
        eventually(lambda: desk.sync(wg0).state == SyncState.SYNCED)


def test_a_failing_read_is_told_once_and_tried_again_later_and_later(desk: Desk, wg0: Config, hands: Hands) -> None:
    desk.world.serving(wg0, "fra1")

    def down() -> None:
        raise TransientError("no answer")

    desk.zone.before["read"] = down
    desk.publish(wg0)
    waits = []
    for _ in range(12):
        desk.cycle()
        sync = desk.sync(wg0)
        assert sync.next_try_at is not None
        waits.append(sync.next_try_at - float(sync.checked_at or sync.created_at))
        hands.move(301)
    assert (sync.attempts, sync.state, sync.error, sync.error_class) == (
        12,
        SyncState.FAILING,
        "no answer",
        ErrorClass.TRANSIENT,
    )
    assert len(desk.history(wg0, "dns_failing")) == 1
    desk.zone.before.clear()
    desk.cycle()
    assert (desk.sync(wg0).state, desk.sync(wg0).attempts) == (SyncState.SYNCED, 0)
    assert [entry.details["attempts"] for entry in desk.history(wg0, "dns_recovered")] == [12]
