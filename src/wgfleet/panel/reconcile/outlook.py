"""The outlook of a running core: what its reconcilers tell the API beside the rows, in memory and as a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from wgfleet.panel import clock
from wgfleet.panel.counted import Counted
from wgfleet.panel.reconcile.engine.events import Events
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks, Failing
from wgfleet.panel.reconcile.lateness import COUNTERS_S, DecisionClock, Lateness

THIS_PANEL = "this panel"
MAX_FAILING = 20  # in a report; hundreds of nodes that are away at once fail for one reason


class CoreReport(msgspec.Struct, omit_defaults=True, frozen=True, kw_only=True):
    """How a core is doing. Fields of later versions are ignored.

    `panel` names it (host and process). `decides`: it is the one that decides; others wait. `unwritable`: why the
    database takes no changes; None: it does. `superseded`: why it decides nothing; None: it does. `refused_by`: how
    many agents refuse it as an older panel. `late`: whether it keeps up.
    """

    panel: str
    decides: bool = True
    unwritable: str | None = None
    superseded: str | None = None
    refused_by: int = 0
    failing: tuple[Failing, ...] = ()
    deaths: dict[str, int] = {}
    dns: tuple[Counted, ...] = ()
    late: Lateness = Lateness()


@dataclass(slots=True)
class Outlook:
    """Made once a process. `frozen`: why the health monitor waits for a person just now; the rows have it too.

    `superseded`, `refused_by`: as in the report. Nothing is decided, and nothing sent to nodes, names and addresses,
    while the first is not None. `counters_every_s`: as in its `late`.
    """

    panel: str = THIS_PANEL
    decides: bool = True
    frozen: str | None = None
    unwritable: str | None = None
    superseded: str | None = None
    refused_by: int = 0
    counters_every_s: float = COUNTERS_S
    events: Events = field(default_factory=Events)
    tasks: BackgroundTasks = field(default_factory=BackgroundTasks)
    decisions: DecisionClock = field(default_factory=DecisionClock)

    def report(self, dns: Sequence[Counted] = ()) -> CoreReport:
        """Return how this core is doing now. `dns`: what its publisher has counted."""
        # Those of the whole panel first: they weigh more than one node's.
        failing = sorted(self.tasks.failing, key=lambda task: (task.subject != "", task.name, task.subject))
        deaths: Mapping[str, int] = self.tasks.deaths
        return CoreReport(
            panel=self.panel,
            decides=self.decides,
            unwritable=self.unwritable,
            superseded=self.superseded,
            refused_by=self.refused_by,
            failing=tuple(failing[:MAX_FAILING]),
            deaths=dict(deaths),
            dns=tuple(dns),
            late=self.decisions.lateness(clock.monotonic(), self.tasks.behind_s, self.counters_every_s),
        )
