"""A delta is refused exactly when two peers would hold the same network after it, at a cost that is its own."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.strategies import desired_interfaces, peer_sets
from wgfleet.agent.interfaces.allowed_ips import AllowedIpIndex
from wgfleet.protocol.desired import (
    DesiredInterface,
    DesiredPeer,
    InterfaceDelta,
    InterfaceSettings,
    apply_delta,
    check_allowed_ips,
)
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PrivateKey, PublicKey

EMPTY = DesiredInterface(
    generation=Generation(1),
    settings=InterfaceSettings(InterfaceName("wg0"), ConfigId("config"), PrivateKey(""), 51820),
    peers={},
)


def delta_of(whole: DesiredInterface, upsert: dict[PublicKey, DesiredPeer], remove: Any = ()) -> InterfaceDelta:
    return InterfaceDelta(
        name=whole.settings.name,
        config_id=whole.settings.config_id,
        base=whole.generation,
        generation=Generation(whole.generation + 1),
        upsert=upsert,
        remove=tuple(remove),
    )


def refusal(check: Any, value: Any) -> FieldError | None:
    try:
        check(value)
    except FieldError as error:
        return error
    return None


@given(start=desired_interfaces(), steps=st.lists(st.tuples(peer_sets(), st.sets(st.integers(0, 5))), max_size=5))
def test_a_delta_is_refused_exactly_when_two_peers_would_hold_the_same_network(
    start: DesiredInterface, steps: list[tuple[dict[PublicKey, DesiredPeer], set[int]]]
) -> None:
    whole, holders = start, AllowedIpIndex(start.peers)
    for upsert, gone in steps:
        keys = list(whole.peers)
        delta = delta_of(whole, upsert, [keys[i] for i in gone if i < len(keys)])
        after = apply_delta(whole, delta)
        refused = refusal(holders.check, delta)
        assert (refused is not None) == (refusal(check_allowed_ips, after.peers) is not None)
        if refused is None:
            holders.apply(delta, whole.peers)
            whole = after
        else:
            assert refused.field.startswith("upsert.")
            assert refused.field.endswith(".allowed_ips")


def test_the_refusal_names_network_and_holder() -> None:
    one, two = PublicKey("A" * 43 + "="), PublicKey("B" * 43 + "=")
    holders = AllowedIpIndex({one: DesiredPeer(("10.8.0.2/32",))})
    with pytest.raises(FieldError, match=f"10.8.0.2/32 is already an allowed IP of peer {one}"):
        holders.check(delta_of(EMPTY, {two: DesiredPeer(("10.8.0.2/32",))}))


def seconds_of_a_delta(peers: int) -> float:
    many = {PublicKey(f"{i:043}="): DesiredPeer((f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}/32",)) for i in range(peers)}
    holders = AllowedIpIndex(many)
    delta = delta_of(EMPTY, {PublicKey("new" + "A" * 40 + "="): DesiredPeer(("10.200.0.1/32",))})
    best = float("inf")
    for _ in range(50):
        started = time.perf_counter()
        holders.check(delta)
        holders.apply(delta, many)
        best = min(best, time.perf_counter() - started)
    return best


def test_a_delta_of_one_among_twenty_thousand_costs_what_it_costs_among_a_hundred() -> None:
    few, many = seconds_of_a_delta(100), seconds_of_a_delta(20_000)
    assert many < 50 * few, "with each of the 20,000 looked at it is 200 times as much"
