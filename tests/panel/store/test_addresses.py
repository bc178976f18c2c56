"""Addresses of peers, on both databases."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import delete, insert, select

from tests.panel.store.networks import add_config, add_peers, add_pool
from wgfleet.panel.errors import Conflict, Exhausted, Invalid
from wgfleet.panel.store import Store, addresses
from wgfleet.panel.store.addresses import AddressClaim
from wgfleet.panel.store.schema import migrate
from wgfleet.panel.store.tables import Address, Peer, Pool


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url)
    migrate(store)
    with store.write() as tx:
        add_config(tx, "c")
    yield store
    store.close()


def new_pool(store: Store, network: str) -> Pool:
    with store.write() as tx:
        return add_pool(tx, "c", network)


def new_peers(store: Store, *peer_ids: str) -> list[str]:
    with store.write() as tx:
        return add_peers(tx, "c", peer_ids)


def test_each_peer_gets_one_address_of_each_pool(store: Store) -> None:
    pools = [new_pool(store, "10.8.0.0/24"), new_pool(store, "fd00:8::/64")]
    new_peers(store, "a", "b")
    with store.write() as tx:
        given = addresses.allocate(tx, pools, ["a", "b"])
    assert given == {"a": ["10.8.0.2", "fd00:8::2"], "b": ["10.8.0.3", "fd00:8::3"]}
    with store.read() as tx:
        assert addresses.of_peers(tx, None, "c") == given
        assert addresses.of_peers(tx, ["b"], "c") == {"b": given["b"]}
        assert addresses.of_peers_in_pools(tx, [pools[1].id], None) == {"a": ["fd00:8::2"], "b": ["fd00:8::3"]}
        assert addresses.of_peers_in_pools(tx, [pools[1].id], ["a"]) == {"a": ["fd00:8::2"]}


def test_ipv4_comes_before_ipv6_whatever_the_order_of_the_pools(store: Store) -> None:
    pools = [new_pool(store, network) for network in ("fd00:8::/64", "10.9.0.0/24", "10.8.0.0/24")]
    new_peers(store, "a")
    with store.write() as tx:
        addresses.allocate(tx, pools, ["a"])
        assert addresses.of_peers(tx, ["a"], "c") == {"a": ["10.8.0.2", "10.9.0.2", "fd00:8::2"]}


def test_peers_of_the_same_transaction_get_addresses_before_they_are_written(store: Store) -> None:
    with store.write() as tx:
        pool = add_pool(tx, "c", "10.8.0.0/24")
        add_peers(tx, "c", ["a"])
        assert addresses.allocate(tx, [pool], ["a"]) == {"a": ["10.8.0.2"]}


def test_no_peers_and_no_pools_are_no_work(store: Store) -> None:
    pool = new_pool(store, "10.8.0.0/24")
    new_peers(store, "a")
    with store.write() as tx:
        assert addresses.allocate(tx, [pool], []) == {}
        assert addresses.allocate(tx, [], ["a"]) == {"a": []}
        addresses.release(tx, [])


def test_what_was_given_back_is_handed_out_first_and_lowest_first(store: Store) -> None:
    pool = new_pool(store, "10.8.0.0/24")
    names = new_peers(store, "a", "b", "c", "d", "e")
    with store.write() as tx:
        addresses.allocate(tx, [pool], names)
        addresses.release(tx, ["d", "b"])
        assert addresses.allocate(tx, [pool], ["b", "d"]) == {"b": ["10.8.0.3"], "d": ["10.8.0.5"]}


def test_more_than_was_given_back_is_filled_up_from_above(store: Store) -> None:
    pool = new_pool(store, "10.8.0.0/24")
    names = new_peers(store, "a", "b", "c", "d")
    with store.write() as tx:
        addresses.allocate(tx, [pool], names[:3])
        addresses.release(tx, ["a"])
        assert addresses.allocate(tx, [pool], ["a", "d"]) == {"a": ["10.8.0.2"], "d": ["10.8.0.5"]}


def test_a_claimed_address_is_honoured_and_skipped_later(store: Store) -> None:
    pool = new_pool(store, "10.8.0.0/24")
    names = new_peers(store, *(f"p{number}" for number in range(8)))
    with store.write() as tx:
        assert addresses.claim(tx, pool, [AddressClaim("10.8.0.4", "p0", "addresses[0]")]) == ["10.8.0.4"]
        assert addresses.claim(tx, pool, [AddressClaim("10.8.0.3", "p1", "addresses[0]")]) == ["10.8.0.3"]
        given = addresses.allocate(tx, [pool], names[2:5])
    assert given == {"p2": ["10.8.0.2"], "p3": ["10.8.0.5"], "p4": ["10.8.0.6"]}


def test_a_claim_far_ahead_that_was_given_back_is_not_counted_twice(store: Store) -> None:
    pool = new_pool(store, "10.8.0.0/29")
    names = new_peers(store, "a", "b", "c", "d", "e")
    with store.write() as tx:
        addresses.claim(tx, pool, [AddressClaim("10.8.0.5", "a", "addresses[0]")])
        addresses.release(tx, ["a"])
        given = addresses.allocate(tx, [pool], names)
    assert sorted(given.values()) == [[f"10.8.0.{host}"] for host in range(2, 7)]


def test_a_free_address_below_the_counter_can_be_claimed_once(store: Store) -> None:
    pool = new_pool(store, "10.8.0.0/24")
    names = new_peers(store, "a", "b", "c", "d")
    with store.write() as tx:
        addresses.allocate(tx, [pool], names[:3])
        addresses.release(tx, ["b"])
        addresses.claim(tx, pool, [AddressClaim("10.8.0.3", "d", "addresses[0]")])
        assert addresses.allocate(tx, [pool], ["b"]) == {"b": ["10.8.0.5"]}


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("10.8.1.2", "is not in the pool 10.8.0.0/24"),
        ("fd00::2", "is not in the pool 10.8.0.0/24"),
        ("10.8.0.0", "is the network address of the pool 10.8.0.0/24"),
        ("10.8.0.1", "is the node's own address in the pool 10.8.0.0/24"),
        ("10.8.0.255", "is the broadcast address of the pool 10.8.0.0/24"),
    ],
)
def test_an_address_that_no_peer_may_have_is_refused_with_the_field(store: Store, address: str, reason: str) -> None:
    pool = new_pool(store, "10.8.0.0/24")
    new_peers(store, "a")
    with pytest.raises(Invalid, match=reason) as refusal, store.write() as tx:
        addresses.claim(tx, pool, [AddressClaim(address, "a", "peers[0].addresses[0]")])
    assert refusal.value.field == "peers[0].addresses[0]"


def test_an_address_that_another_has_is_a_conflict_with_the_field(store: Store) -> None:
    pool = new_pool(store, "10.8.0.0/24")
    new_peers(store, "a", "b")
    with store.write() as tx:
        addresses.allocate(tx, [pool], ["a"])
    with pytest.raises(Conflict, match=r"10\.8\.0\.2 is the address of peer 'a'") as refusal, store.write() as tx:
        addresses.claim(tx, pool, [AddressClaim("10.8.0.2", "b", "addresses[0]")])
    assert refusal.value.field == "addresses[0]"


def test_a_full_pool_says_which_and_how_large_and_leaves_nothing_behind(store: Store) -> None:
    pool = new_pool(store, "10.8.0.0/29")
    names = new_peers(store, *(f"p{number}" for number in range(6)))
    with pytest.raises(Exhausted, match=r"pool 10\.8\.0\.0/29 is used up: of its 5 addresses"), store.write() as tx:
        addresses.allocate(tx, [pool], names)
    with store.write() as tx:
        assert len(addresses.allocate(tx, [pool], names[:5])) == 5
    with pytest.raises(Exhausted), store.write() as tx:
        addresses.allocate(tx, [pool], names[5:])


@pytest.mark.parametrize("network", ["fd00::/32", "fd00::/8"])
def test_an_ipv6_pool_of_any_size_works(store: Store, network: str) -> None:
    pool = new_pool(store, network)
    new_peers(store, "a", "b", "c")
    with store.write() as tx:
        assert addresses.allocate(tx, [pool], ["a"]) == {"a": ["fd00::2"]}
        # 2**62 from the start of the pool.
        assert addresses.claim(tx, pool, [AddressClaim("fd00::4000:0:0:0", "b", "addresses[0]")]) == [
            "fd00::4000:0:0:0"
        ]
    with pytest.raises(Invalid, match="too far up"), store.write() as tx:
        addresses.claim(tx, pool, [AddressClaim("fd00::4000:0:0:1", "c", "addresses[0]")])


def test_a_long_run_of_claimed_addresses_is_passed_in_a_few_statements(store: Store) -> None:
    pool = new_pool(store, "10.8.0.0/16")
    names = new_peers(store, *(f"p{number}" for number in range(3002)))
    with store.write() as tx:
        rows = [{"pool_id": pool.id, "offset": 2 + i, "peer_id": name} for i, name in enumerate(names[2:])]
        tx.session.execute(insert(Address), rows)
    with store.write() as tx:
        assert addresses.allocate(tx, [pool], names[:1]) == {"p0": ["10.8.11.186"]}
        assert addresses.allocate(tx, [pool], names[1:2]) == {"p1": ["10.8.11.187"]}


def test_twenty_threads_never_get_the_same_address(store: Store) -> None:
    pools = [new_pool(store, "10.8.0.0/22"), new_pool(store, "fd00:8::/64")]
    names = new_peers(store, *(f"p{number:03}" for number in range(400)))

    def work(mine: list[str]) -> None:
        for half in (mine[:10], mine[10:]):
            with store.write() as tx:
                addresses.allocate(tx, pools, half)
            with store.write() as tx:
                addresses.release(tx, half[:5])
            with store.write() as tx:
                addresses.allocate(tx, pools, half[:5])

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(work, [names[start::20] for start in range(20)]))
    with store.read() as tx:
        held = addresses.of_peers(tx, None, "c")
        highest = tx.session.scalars(select(Address.offset).order_by(Address.offset.desc())).first()
    assert sorted(held) == names
    assert all(len(texts) == 2 for texts in held.values())
    assert len({text for texts in held.values() for text in texts}) == 2 * len(names)
    # 400 from offset 2: whatever was given back on the way was used before the counter went on.
    assert highest == 401


def test_the_last_address_goes_to_one_of_many(store: Store) -> None:
    pool = new_pool(store, "10.8.0.0/30")
    names = new_peers(store, *(f"p{number}" for number in range(8)))

    def attempt(name: str) -> int:
        try:
            with store.write() as tx:
                return len(addresses.allocate(tx, [pool], [name]))
        except Exhausted:
            return 0

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(attempt, names)) == 1


def test_one_address_claimed_by_many_goes_to_one(store: Store) -> None:
    pool = new_pool(store, "10.8.0.0/24")
    names = new_peers(store, *(f"p{number}" for number in range(8)))

    def attempt(name: str) -> int:
        try:
            with store.write() as tx:
                addresses.claim(tx, pool, [AddressClaim("10.8.0.77", name, "addresses[0]")])
        except Conflict:
            return 0
        return 1

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(attempt, names)) == 1


def test_addresses_outlive_no_peer(store: Store) -> None:
    pool = new_pool(store, "10.8.0.0/30")
    new_peers(store, "a", "b")
    with store.write() as tx:
        addresses.allocate(tx, [pool], ["a"])
    with store.write() as tx:
        addresses.release(tx, ["a"])
        tx.session.execute(delete(Peer).where(Peer.id == "a"))
    with store.write() as tx:
        assert addresses.allocate(tx, [pool], ["b"]) == {"b": ["10.8.0.2"]}
