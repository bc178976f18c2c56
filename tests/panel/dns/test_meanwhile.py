"""Commands on a name while it is synced, fails or waits: no record of ours is forgotten, none deleted unseen."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.panel.dns.desk import NAME, Desk, Hands
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.domain.dns.records import Record
from wgfleet.panel.domain.dns.states import ErrorClass, SyncState
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.errors import Conflict, TransientError, Unavailable
from wgfleet.panel.services import configs
from wgfleet.panel.services.dns import commands, desired
from wgfleet.panel.store.tables import Config

OTHER = "other.example.com"


def once(desk: Desk, act: Callable[[], object]) -> Callable[[], None]:
    def trouble() -> None:
        desk.zone.before.clear()
        desk.zone.after.clear()
        act()

    return trouble


def test_a_name_that_is_published_again_while_it_is_withdrawn_is_not_lost(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0)
    desk.cycle()
    desk.unpublish(wg0)
    desk.zone.before["read"] = once(desk, lambda: desk.publish(wg0))
    for _ in range(2):
        desk.cycle()
    assert (desk.zone.at(NAME), desk.sync(wg0).state) == ({"192.0.2.1"}, SyncState.SYNCED)


def test_a_name_that_is_given_up_during_its_first_change_is_withdrawn(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0)
    desk.zone.after["apply"] = once(desk, lambda: desk.publish(wg0, domain=OTHER))
    for _ in range(2):
        desk.cycle()
    assert (desk.zone.at(NAME), desk.zone.at(OTHER)) == (set(), {"192.0.2.1"})
    assert [sync.name for sync in desk.syncs(wg0)] == [OTHER]


def test_records_that_may_not_be_deleted_are_told_of_where_the_name_is_given_up_during_the_change(
    desk: Desk, wg0: Config
) -> None:
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0, mode="upsert_only")
    desk.zone.after["apply"] = once(desk, lambda: desk.unpublish(wg0))
    desk.cycle()
    assert (desk.syncs(wg0), desk.zone.at(NAME)) == ([], {"192.0.2.1"})
    assert [entry.details["left"] for entry in desk.history(wg0, "dns_left")] == [["192.0.2.1"]]


def test_names_of_before_are_withdrawn_when_the_provider_is_back(desk: Desk, wg0: Config, hands: Hands) -> None:
    desk.zone.put(NAME, Record("A", "192.0.2.1", 60, desk.mark(wg0)))
    desk.publish(wg0)
    desk.cycle()

    def down() -> None:
        raise TransientError("no answer")

    desk.zone.before["read"] = down
    desk.publish(wg0, domain=OTHER)
    desk.publish(wg0, domain="third.example.com")
    desk.cycle()
    desk.unpublish(wg0)
    with desk.world.store.write() as tx:
        configs.delete(tx, "test", configs.get(tx, wg0.id))
    desk.restart()
    desk.cycle()
    assert {(sync.name, sync.withdrawn, sync.state) for sync in desk.syncs(wg0)} == {
        (name, True, SyncState.FAILING) for name in (NAME, OTHER, "third.example.com")
    }
    desk.zone.before.clear()
    hands.move(desk.rules.retry_cap_s)
    desk.cycle()
    assert (desk.syncs(wg0), desk.zone.at(NAME)) == ([], set())


def test_a_name_of_before_is_withdrawn_with_the_credential_of_now(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0, options={"token": "revoked soon"})
    desk.cycle()
    desk.publish(wg0, domain=OTHER, options={"token": "new"})
    with desk.world.store.read() as tx:
        targets = [desired.desired_target(tx, desk.world.vault, one, desk.rules)[0] for one in desk.syncs(wg0)]
    assert [target.options["token"] for target in targets] == ["new", "new"]


def test_a_provider_that_is_taken_from_the_group_leaves_nothing_behind(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0)
    desk.cycle()
    desk.publish(wg0, dns=None)
    desk.cycle()
    assert (desk.syncs(wg0), desk.zone.at(NAME)) == ([], set())


def test_a_provider_that_is_not_installed_keeps_the_withdrawal_waiting_in_sight(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0)
    desk.cycle()
    installed, desk.plugins = desk.plugins, DnsPlugins({})
    desk.restart()
    desk.unpublish(wg0)
    desk.cycle()
    assert [(sync.state, sync.withdrawn, sync.error_class) for sync in desk.syncs(wg0)] == [
        (SyncState.FAILING, True, ErrorClass.PERMANENT)
    ]
    desk.plugins = installed
    desk.restart()
    with desk.world.store.write() as tx:
        commands.retry(tx, "test", wg0.id)
    desk.cycle()
    assert (desk.syncs(wg0), desk.zone.at(NAME)) == ([], set())


def test_an_approval_is_for_once(desk: Desk, wg0: Config) -> None:
    found = desk.world.serving(wg0, "fra1", "ams1", "par1", "waw1")
    desk.publish(wg0)
    desk.cycle()

    def judged(state: Health) -> None:
        for node in found[:3]:
            desk.judged(wg0, node, state)

    judged(Health.DOWN)
    desk.cycle()
    with desk.world.store.write() as tx:
        commands.approve(tx, "key:anna", wg0.name, str(desk.sync(wg0).plan_id))
    judged(Health.SERVING)
    desk.cycle()
    judged(Health.DOWN)
    desk.cycle()
    assert (desk.sync(wg0).state, len(desk.zone.at(NAME))) == (SyncState.APPROVAL, 4)


def test_an_approval_of_what_changed_meanwhile_deletes_nothing(desk: Desk, wg0: Config) -> None:
    found = desk.world.serving(wg0, "fra1", "ams1", "par1", "waw1")
    desk.publish(wg0)
    desk.cycle()
    for node in found[:2]:
        desk.judged(wg0, node, Health.DOWN)
    for node in found[2:3]:
        desk.judged(wg0, node, Health.DOWN)
    desk.cycle()
    seen = str(desk.sync(wg0).plan_id)
    with desk.world.store.write() as tx:
        commands.approve(tx, "key:anna", wg0.name, seen)
    desk.zone.records[NAME].add(Record("A", "203.0.113.9", 300))
    desk.cycle()
    assert (desk.sync(wg0).state, len(desk.zone.at(NAME)), desk.sync(wg0).approved_plan_id) == (
        SyncState.APPROVAL,
        5,
        None,
    )
    assert desk.sync(wg0).plan_id != seen


def test_what_cannot_be_adopted_is_refused_with_what_to_do(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")
    desk.zone.put(NAME, Record("CNAME", "elsewhere.example.com", 300))
    desk.publish(wg0)
    desk.cycle()
    with desk.world.store.read() as tx:
        target, _ = commands.current_target(tx, desk.world.vault, wg0.name, desk.rules)
    plan = desk.publisher.preview(target, adopt=True)
    with pytest.raises(Conflict, match="delete it there"), desk.world.store.write() as tx:
        commands.adopt(tx, "key:anna", wg0.name, plan, target.mark)
    assert desk.history(wg0, "dns_adopted") == []


def test_nothing_is_put_beside_a_proxied_record_that_may_not_go(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")
    foreign = Record("A", "203.0.113.9", 1, proxied=True)
    desk.zone.put(NAME, foreign)
    desk.publish(wg0, mode="upsert_only")
    desk.cycle()
    with desk.world.store.read() as tx:
        target, _ = commands.current_target(tx, desk.world.vault, wg0.name, desk.rules)
    assert desk.publisher.preview(target, adopt=True).stopped
    desk.cycle()
    assert desk.zone.records[NAME] == {foreign}


def test_an_answer_that_asks_for_another_try_at_once_is_not_followed_at_once(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")

    def busy() -> None:
        raise TransientError("503", retry_after_s=0)

    desk.zone.before["read"] = busy
    desk.publish(wg0)
    for _ in range(5):
        desk.cycle()
    assert desk.zone.calls["read"] == 1


def test_a_database_that_cannot_be_had_is_no_bug_of_the_provider(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1")

    def locked() -> None:
        raise Unavailable("the database cannot be used just now; try again", retry_after_s=1)

    desk.zone.before["read"] = locked
    desk.publish(wg0)
    desk.cycle()
    sync = desk.sync(wg0)
    assert (sync.state, sync.error_class) == (SyncState.FAILING, ErrorClass.TRANSIENT)
    assert "database" in str(sync.error)


def test_a_bug_of_a_provider_puts_no_credential_into_log_or_rows(
    desk: Desk, wg0: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    desk.world.serving(wg0, "fra1")
    secret = "token-abcdef"  # noqa: S105 - no real one

    def bug() -> None:
        raise RuntimeError(f"illegal header {secret}")

    desk.zone.before["read"] = bug
    desk.publish(wg0)
    desk.cycle()
    told = "".join(capfd.readouterr())
    assert "dns.failed" in told
    assert "in trouble" in told or "zone.py" in told, "where it is"
    assert secret not in told
    assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
