"""Whatever ends, comes twice, late or never, and whatever clocks say: the sums are what was sent, less what ended."""

import itertools
import random
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from tests.panel.world import World
from wgfleet.agent.interfaces import usage as agent_usage
from wgfleet.agent.interfaces.usage import UsageMeter
from wgfleet.agent.state.usage_file import UsageState
from wgfleet.panel.services import usage
from wgfleet.panel.services.usage import Acknowledged, NodeBatch
from wgfleet.panel.store.tables import Config, Node, Peer, UsageCounter, UsageHour, UsageTotal
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.ids import ConfigId
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.observed import PeerStats
from wgfleet.protocol.usage import UsageBatch, UsageRequest

START = 1_764_000_000.0
HOUR = 3600.0
Used = tuple[int, int]


def plus(one: Used, other: Used) -> Used:
    return (one[0] + other[0], one[1] + other[1])


@dataclass
class Machine:
    """A node: its kernel's counters, the agent's memory and disk; what its agent has read, and what its file has."""

    node: Node
    config_id: ConfigId
    desired: dict[PublicKey, DesiredPeer]
    numbers: random.Random
    kernel: dict[PublicKey, Used] = field(default_factory=dict)
    link: int = 1
    disk: bytes | None = None
    clock: float = START
    unread: int = 0  # bytes since the last reading
    unwritten: int = 0  # bytes since the last writing
    ended: bool = False  # some counter ended since the last writing

    def __post_init__(self) -> None:
        self.start()
        self.write()

    def start(self) -> None:
        state = UsageState("", 0, {}) if self.disk is None else msgspec.json.decode(self.disk, type=UsageState)
        self.meter = UsageMeter(state, lambda: self.numbers.getrandbits(62), "boot", fresh=self.disk is None)

    def carry(self, key: PublicKey, received: int, sent: int) -> None:
        self.kernel[key] = plus(self.kernel.get(key, (0, 0)), (received, sent))
        self.unread += received + sent
        self.unwritten += received + sent

    def read(self) -> None:
        stats = {key: PeerStats(rx=used[0], tx=used[1]) for key, used in self.kernel.items()}
        self.meter.note(self.config_id, self.link, list(self.desired), stats, self.desired, self.clock)
        self.unread = 0

    def write(self) -> None:
        self.disk, self.meter.first = msgspec.json.encode(self.meter.state), False
        self.unwritten, self.ended = self.unread, False

    def end(self, *keys: PublicKey, known: bool) -> int:
        """End the counters of peers; return what may be lost. `known`: the agent does it, and reads them first."""
        if known:
            self.read()
        for key in keys:
            self.kernel.pop(key, None)
        if known:
            self.read()
        self.ended = True
        lost, self.unread = self.unread, 0
        return lost

    def kill(self) -> int:
        """End the agent, which cannot do anything about it; return what may be lost by it."""
        lost = self.unwritten if self.ended else 0
        self.unread = self.unwritten
        self.start()
        return lost


class Ledger(RuleBasedStateMachine):
    """Two nodes and three peers, who are now here and now there."""

    world: World
    config: Config
    nodes: list[Node]
    runs = itertools.count()

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        run = next(self.runs)
        self.peers: list[Peer] = self.world.peers(self.config, *(f"r{run}p{number}" for number in range(3)))
        self.keys = [PublicKey(peer.public_key) for peer in self.peers]
        desired = {key: DesiredPeer(allowed_ips=("10.8.0.2/32",)) for key in self.keys}
        config_id, numbers = ConfigId(self.config.id), random.Random(f"{run} {seed}")  # noqa: S311 - repeatable
        self.machines = [Machine(node, config_id, desired, numbers) for node in self.nodes]
        self.truth: dict[str, Used] = {peer.id: (0, 0) for peer in self.peers}
        self.lost = 0
        self.now = START
        self.answers: list[NodeBatch] = []
        self.memory: dict[str, Acknowledged] = {}

    machines: list[Machine]
    which = st.integers(0, 1)
    whom = st.integers(0, 2)

    @rule(which=which, whom=whom, received=st.integers(0, 10**6), sent=st.integers(0, 10**9))
    def carry(self, which: int, whom: int, received: int, sent: int) -> None:
        self.machines[which].carry(self.keys[whom], received, sent)
        peer_id = self.peers[whom].id
        self.truth[peer_id] = plus(self.truth[peer_id], (received, sent))

    @rule(which=which)
    def read(self, which: int) -> None:
        self.machines[which].read()

    @rule(which=which)
    def write(self, which: int) -> None:
        self.machines[which].write()

    @rule(which=which)
    def kill_the_agent(self, which: int) -> None:
        self.lost += self.machines[which].kill()

    @rule(which=which, known=st.booleans())
    def make_the_link_again(self, which: int, known: bool) -> None:
        machine = self.machines[which]
        self.lost += machine.end(*self.keys, known=known)
        machine.link += 1

    @rule(which=which, whom=whom, known=st.booleans())
    def take_a_peer_off(self, which: int, whom: int, known: bool) -> None:
        """It may come back at once and be used: where the agent knows nothing of it, that looks like counting on."""
        machine = self.machines[which]
        before = self.machines[which].kernel.get(self.keys[whom], (0, 0))
        self.lost += machine.end(self.keys[whom], known=known)
        self.lost += 0 if known else sum(before)

    @rule(which=which)
    def lose_the_disk(self, which: int) -> None:
        machine = self.machines[which]
        self.lost += self.untold()
        machine.disk = None
        machine.start()
        machine.meter.kept_before(machine.config_id)
        machine.read()
        machine.write()

    @rule(which=which, hours=st.integers(-100, 100))
    def set_the_clock(self, which: int, hours: int) -> None:
        self.machines[which].clock += hours * HOUR

    @rule(seconds=st.sampled_from([1.0, 60.0, HOUR, 30 * HOUR, -HOUR]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for machine in self.machines:
            machine.clock += max(0.0, seconds)

    @rule(which=which)
    def ask(self, which: int) -> None:
        machine = self.machines[which]
        request = UsageRequest(*self.memory.get(machine.node.id, usage.NONE))
        batch = machine.meter.batch(request, machine.clock)
        if machine.meter.first:  # before it is said
            machine.write()
        sent = msgspec.json.decode(msgspec.json.encode(batch), type=UsageBatch)
        self.answers.append(NodeBatch(machine.node.id, sent, (request.epoch, request.sequence)))

    @rule(number=st.integers(0, 20), again=st.booleans())
    def commit(self, number: int, again: bool) -> None:
        """Any answer that was ever given, and it may come once more."""
        if not self.answers:
            return
        said = self.answers[number % len(self.answers)]
        if not again:
            self.answers.remove(said)
        with self.world.store.write() as tx:
            self.memory |= usage.take(tx, [said], self.now)

    @rule(number=st.integers(0, 20))
    def fail_to_commit(self, number: int) -> None:
        if not self.answers:
            return
        with suppress(ZeroDivisionError), self.world.store.write() as tx:
            usage.take(tx, [self.answers[number % len(self.answers)]], self.now)
            raise ZeroDivisionError

    @rule()
    def kill_the_panel(self) -> None:
        with self.world.store.read() as tx:
            self.memory = usage.last_batches(tx, [node.id for node in self.nodes])

    def sums(self) -> dict[str, Used]:
        with self.world.store.read() as tx:
            ids = [peer.id for peer in self.peers]
            rows = tx.session.scalars(select(UsageTotal).where(UsageTotal.peer_id.in_(ids)))
            return {row.peer_id: (row.received, row.sent) for row in rows}

    def by_hour(self) -> dict[str, Used]:
        with self.world.store.read() as tx:
            ids = [peer.id for peer in self.peers]
            query = select(UsageCounter.peer_id, UsageHour.received, UsageHour.sent).join_from(UsageHour, UsageCounter)
            found: dict[str, Used] = {}
            for peer_id, received, sent in tx.session.execute(query.where(UsageCounter.peer_id.in_(ids))):
                found[peer_id] = plus(found.get(peer_id, (0, 0)), (received, sent))
            return found

    def untold(self) -> int:
        return sum(map(sum, self.truth.values())) - sum(map(sum, self.sums().values()))

    @invariant()
    def nobody_pays_for_more_than_was_sent(self) -> None:
        sums = self.sums()
        assert self.by_hour() == sums
        for peer_id, (received, sent) in sums.items():
            assert received <= self.truth[peer_id][0]
            assert sent <= self.truth[peer_id][1]

    def teardown(self) -> None:
        """In the end all is told, also by what an older copy of a node has to say."""
        for machine in getattr(self, "machines", []):
            machine.read()
            self.now += 60.0
            more, asked = True, 0
            while more or asked < 2:  # the first question may be that of a panel that does not know what it has written
                asked += 1
                last = self.memory.get(machine.node.id, usage.NONE)
                batch = machine.meter.batch(UsageRequest(*last), machine.clock)
                with self.world.store.write() as tx:
                    self.memory |= usage.take(tx, [NodeBatch(machine.node.id, batch, last)], self.now)
                more = batch.more
        if getattr(self, "machines", []):
            assert 0 <= self.untold() <= self.lost


@pytest.mark.timeout(900)  # much of a processor, which others may need first
@pytest.mark.parametrize(("rows", "examples"), [(1, 40), (2, 40), (1000, 40)])
def test_the_sums_are_what_was_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, examples: int) -> None:
    """Whether a batch has all that a node has to say, or only some of its peers, and some hours of one."""
    monkeypatch.setattr(agent_usage, "MAX_ROWS", rows)
    world = World.open(f"sqlite:///{tmp_path / 'panel.sqlite'}")
    with closing(world.store), world.store.engine.connect():
        config = world.config(pools=("10.8.0.0/16",))
        serving = world.serving(config, "ams1", "fra1")

        class Bound(Ledger):
            pass

        Bound.world, Bound.config, Bound.nodes = world, config, serving
        run_state_machine_as_test(Bound, settings=settings(max_examples=examples, stateful_step_count=30))


@pytest.mark.parametrize(
    "steps",
    [
        ("carry", "read", "ask", "commit", "kill", "read", "ask", "commit"),
        ("carry", "ask", "kill", "commit", "ask", "kill", "commit"),
        ("carry", "ask", "commit", "kill", "ask", "commit", "kill", "ask", "commit", "kill"),
    ],
)
def test_an_agent_that_is_killed_between_two_writings_tells_nothing_twice_and_forgets_nothing(
    tmp_path: Path, steps: tuple[str, ...]
) -> None:
    world = World.open(f"sqlite:///{tmp_path / 'panel.sqlite'}")
    with closing(world.store), world.store.engine.connect():
        ledger = Ledger()
        ledger.world, ledger.config = world, world.config(pools=("10.8.0.0/16",))
        ledger.nodes = world.serving(ledger.config, "ams1", "fra1")
        ledger.begin(seed=0)
        does: dict[str, Callable[[], object]] = {
            "carry": lambda: ledger.carry(which=1, whom=0, received=3, sent=4),
            "read": lambda: ledger.read(which=1),
            "ask": lambda: ledger.ask(which=1),
            "commit": lambda: ledger.commit(number=0, again=False),
            "kill": lambda: ledger.kill_the_agent(which=1),
        }
        for step in steps:
            does[step]()
            ledger.nobody_pays_for_more_than_was_sent()
        ledger.teardown()
        assert ledger.untold() == 0
