"""Any sequence of allocations, claims and releases, beside a model that is nothing but a set per pool."""

import itertools
from contextlib import closing, suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.panel.store.networks import add_config, add_peers, add_pool
from wgfleet.panel.domain import addressing
from wgfleet.panel.errors import Conflict, Exhausted, Invalid
from wgfleet.panel.store import Store, addresses, assignments
from wgfleet.panel.store.addresses import AddressClaim
from wgfleet.panel.store.schema import migrate
from wgfleet.panel.store.tables import Pool

NETWORKS = ["10.8.0.0/28", "fd00:8::/124"]


class Allocation(RuleBasedStateMachine):
    store: Store
    runs = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.config_id = f"c{next(self.runs)}"
        self.pools: list[Pool] = []
        self.held: dict[str, set[tuple[str, str]]] = {}
        self.names = (f"{self.config_id}-p{number}" for number in itertools.count())

    @initialize(servers=st.tuples(*[st.none() | st.integers(1, 14)] * len(NETWORKS)))
    def start(self, servers: tuple[int | None, ...]) -> None:
        with self.store.write() as tx:
            add_config(tx, self.config_id)
            self.pools = [
                add_pool(
                    tx, self.config_id, network, None if offset is None else addressing.address_at(network, offset)
                )
                for network, offset in zip(NETWORKS, servers, strict=True)
            ]

    def own(self, pool: Pool) -> str:
        """Return the address of the nodes, which no peer ever has."""
        return addressing.gateway(pool.network, pool.server_address)

    def used(self, pool: Pool) -> set[str]:
        return {address for held in self.held.values() for network, address in held if network == pool.network}

    def inside(self, pool: Pool, texts: set[str]) -> set[str]:
        return set(addressing.inside(pool.network, texts))

    @rule(count=st.integers(1, 6), both=st.booleans(), kept=st.frozensets(st.integers(1, 14), max_size=4))
    def allocate(self, count: int, both: bool, kept: frozenset[int]) -> None:
        names = list(itertools.islice(self.names, count))
        pools = self.pools if both else self.pools[:1]
        spoken_for = {addressing.address_at(pool.network, offset) for pool in self.pools for offset in kept}
        spoken_for -= {self.own(pool) for pool in self.pools}
        fits = all(
            count <= addressing.capacity(pool.network) - len(self.used(pool) | self.inside(pool, spoken_for))
            for pool in pools
        )
        try:
            with self.store.write() as tx:
                add_peers(tx, self.config_id, names)
                given = addresses.allocate(tx, pools, names, spoken_for)
        except Exhausted:
            assert not fits
            return
        assert fits
        for index, pool in enumerate(pools):
            new = {texts[index] for texts in given.values()}
            assert len(new) == count
            assert not new & (self.used(pool) | spoken_for)
        for name, texts in given.items():
            self.held[name] = {(pool.network, text) for pool, text in zip(pools, texts, strict=True)}

    @rule(index=st.integers(0, 1), offset=st.integers(1, 14))
    def claim(self, index: int, offset: int) -> None:
        pool = self.pools[index]
        address = addressing.address_at(pool.network, offset)
        name = next(self.names)
        try:
            with self.store.write() as tx:
                add_peers(tx, self.config_id, [name])
                addresses.claim(tx, pool, [AddressClaim(address, name, "addresses[0]")])
        except Conflict:
            assert address in self.used(pool)
            return
        except Invalid:
            assert address == self.own(pool)
            return
        assert address not in {*self.used(pool), self.own(pool)}
        self.held[name] = {(pool.network, address)}

    @rule(index=st.integers(0, 1), offset=st.integers(1, 14))
    def serve_at(self, index: int, offset: int) -> None:
        pool = self.pools[index]
        wanted = addressing.server_address(pool.network, addressing.address_at(pool.network, offset))
        with self.store.write() as tx:
            assert addresses.serve_at(tx, pool, wanted) is not bool(self.used(pool))
            self.pools[index] = next(each for each in assignments.pools(tx, self.config_id) if each.id == pool.id)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        names = data.draw(st.lists(st.sampled_from(sorted(self.held)), unique=True)) if self.held else []
        with self.store.write() as tx:
            addresses.release(tx, names)
        for name in names:
            del self.held[name]

    @rule(count=st.integers(1, 3))
    def rolled_back(self, count: int) -> None:
        names = list(itertools.islice(self.names, count))
        with suppress(Exhausted, InterruptedError), self.store.write() as tx:
            add_peers(tx, self.config_id, names)
            addresses.allocate(tx, self.pools, names)
            addresses.release(tx, list(self.held))
            raise InterruptedError

    @invariant()
    def the_rows_are_those_of_the_model(self) -> None:
        with self.store.read() as tx:
            rows = addresses.of_peers(tx, None, self.config_id)
        assert {name: set(texts) for name, texts in rows.items()} == {
            name: {address for _, address in held} for name, held in self.held.items()
        }
        assert not {self.own(pool) for pool in self.pools} & {text for texts in rows.values() for text in texts}


def test_allocation_agrees_with_the_model(database_url: str) -> None:
    with closing(Store(database_url)) as opened:
        migrate(opened)

        class Bound(Allocation):
            store = opened

        run_state_machine_as_test(Bound, settings=settings(max_examples=25, stateful_step_count=25))
