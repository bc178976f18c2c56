"""A node's machine in a model of many panels, and the way to it: who is obeyed, and what gets lost on the way."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tests.panel.agents.model import ModelAgent
from wgfleet.agent.enrollment.certificates import make_request
from wgfleet.agent.state.files import DamagedFiles
from wgfleet.agent.state.panels import ObeyedPanels
from wgfleet.panel.agents.answers import AgentRefused
from wgfleet.panel.errors import TransientError
from wgfleet.protocol.desired import Push
from wgfleet.protocol.messages import AgentStatus, Applied, InterfaceStatus, Refusal
from wgfleet.protocol.panel_name import PanelName


@dataclass
class Machine:
    """A node's machine: its agent, with an agent's own memory of panels, and what it did in all its life."""

    folder: Path
    agent: ModelAgent = field(default_factory=ModelAgent)
    newest: PanelName | None = None
    highest: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.panels = ObeyedPanels(self.folder / "panels.json", DamagedFiles())
        self.panels.load()

    def refusal(self, name: PanelName) -> Refusal | None:
        refusal = self.panels.refusal(str(name))
        if refusal is None:
            assert self.newest is None or not self.newest.is_newer_than(name), "an older panel is obeyed"
            self.newest = name
        return refusal


@dataclass
class Line:
    """The way from a panel to a machine. `fault`: what happens to the next request."""

    machine: Machine
    name: PanelName
    fault: str | None = None
    features: object = None

    def accept_keys(self, _keys: object) -> None:
        """Any key will do."""

    @property
    def keys(self) -> frozenset[str]:
        """None is known."""
        return frozenset()

    @property
    def shown_key(self) -> None:
        """Nor is that which it shows."""

    async def request_certificate(self) -> str:
        return make_request("node")[1]

    async def install_certificate(self, _certificate: str, _ca: str) -> None:
        """Any certificate will do."""

    async def aclose(self) -> None:
        """Nothing is open."""

    async def _ask(self, act: Callable[[], Any]) -> Any:
        fault, self.fault = self.fault, None
        if fault == "request lost":
            raise TransientError(fault)
        if (refusal := self.machine.refusal(self.name)) is not None:
            raise AgentRefused(refusal.detail, refusal)
        result = await act()
        if fault == "answer lost":
            raise TransientError(fault)
        return result

    async def push(self, push: Push, shared: bytes = b"") -> Applied:
        agent, highest = self.machine.agent, self.machine.highest

        async def apply() -> Applied:
            applied = await agent.push(push, shared)
            kept = next(each for each in agent.kept.values() if each.generation == applied.generation)
            assert applied.generation >= highest[kept.settings.config_id], "a generation went back"
            highest[kept.settings.config_id] = applied.generation
            return applied

        return cast("Applied", await self._ask(apply))

    async def delete(self, name: str, config_id: str, generation: int | None = None) -> None:
        agent = self.machine.agent
        await self._ask(lambda: agent.delete(name, config_id, generation))

    async def status(self) -> AgentStatus:
        async def read() -> AgentStatus:
            kept = self.machine.agent.kept.items()
            found = tuple(
                InterfaceStatus(cast("Any", name), each.settings.config_id, each.generation, 0, True, (), "")
                for name, each in kept
            )
            return AgentStatus(cast("Any", "n"), "1", "kernel", 0, 0, 0, 1, found)

        return cast("AgentStatus", await self._ask(read))
