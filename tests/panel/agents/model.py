"""An agent without a machine: admission and the desired state are the real ones, and it answers the panel's client."""

import asyncio
from dataclasses import dataclass, field
from typing import cast

import msgspec

from tests.panel.authority import keep
from tests.panel.world import World
from wgfleet.agent.interfaces import admission
from wgfleet.agent.interfaces.admission import KeptInterface, Situation
from wgfleet.panel.agents.answers import AgentRefused
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.agents.push_body import PushBody
from wgfleet.panel.reconcile.agents.connection import AgentConnection, Reported
from wgfleet.panel.reconcile.agents.pusher import Pusher
from wgfleet.panel.store.tables import Node
from wgfleet.protocol import features
from wgfleet.protocol.desired import DesiredInterface, InterfaceDelta, Push, apply_delta
from wgfleet.protocol.features import ALL, Feature
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.messages import Applied


def as_read(push: Push, shared: bytes) -> Push:
    """Return what an agent makes of a push that comes with members of its peers."""
    if not shared:
        return push
    assert isinstance(push, DesiredInterface)
    return msgspec.json.decode(b"".join(PushBody(push, shared)), type=DesiredInterface)


@dataclass
class ModelAgent:
    """Keeps interfaces by name. `features` of none: as an agent of 0.1.0."""

    features: frozenset[Feature] = ALL
    kept: dict[str, DesiredInterface] = field(default_factory=dict)
    past: dict[tuple[str, str], Generation] = field(default_factory=dict)
    pushed: list[Push] = field(default_factory=list)

    def become(self, known: frozenset[Feature]) -> None:
        """Start as another release; one that knows no histories stores none."""
        self.features = known
        if Feature.HISTORY not in known:
            self.kept = {name: msgspec.structs.replace(each, history="") for name, each in self.kept.items()}

    def _situation(self, name: str, config_id: str) -> Situation:
        kept = self.kept.get(name)
        return Situation(
            InterfaceName(name),
            None if kept is None else KeptInterface(kept.settings.config_id, kept.generation, kept.history),
            foreign=False,
            past=self.past.get((name, config_id)),
        )

    async def push(self, push: Push, shared: bytes = b"") -> Applied:
        push = features.for_agent(as_read(push, shared), self.features)
        self.pushed.append(push)
        name = push.name if isinstance(push, InterfaceDelta) else push.settings.name
        refusal = admission.check_push(push, self._situation(name, admission.config_of(push)))
        if refusal is not None:
            raise AgentRefused(refusal.detail, refusal)
        self.kept[name] = apply_delta(self.kept[name], push) if isinstance(push, InterfaceDelta) else push
        return Applied(push.generation, changed=True, verified=True, seconds=0.0)

    async def delete(self, name: str, config_id: str, generation: int | None) -> None:
        situation, asked = self._situation(name, config_id), None if generation is None else Generation(generation)
        refusal = admission.check_delete(situation, ConfigId(config_id), asked)
        if refusal is not None:
            raise AgentRefused(refusal.detail, refusal)
        past = admission.past_after_delete(situation.kept, asked)
        if past is not None:
            self.past[name, config_id] = max(past, self.past.get((name, config_id), past))
        self.kept.pop(name, None)

    def reported(self) -> dict[str, Reported]:
        return {
            name: Reported(each.settings.config_id, each.generation, (), None, "", each.history)
            for name, each in self.kept.items()
        }


def content(whole: DesiredInterface | None, known: frozenset[Feature] = ALL) -> DesiredInterface | None:
    """What decides who may enter, as far as an agent knows it: without generation and history."""
    if whole is None:
        return None
    return msgspec.structs.replace(features.for_agent(whole, known), generation=Generation(1), history="")


def settle(world: World, node: Node, agent: ModelAgent) -> list[str]:
    """Connect, and do cycles until one is idle; return their summaries."""
    connection = AgentConnection(node.id, cast("AgentClient", agent), world.store, lambda: None)
    connection.connected, connection.features = True, agent.features
    connection.reported = agent.reported()
    pusher = Pusher(world.store, world.vault, keep(world.store, world.vault), 90)
    said: list[str] = []
    for _ in range(8):
        done = asyncio.run(pusher.cycle(connection))
        said.append(done.summary)
        if done.idle:
            return said
    raise AssertionError(said)
