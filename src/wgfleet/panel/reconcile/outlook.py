"""The outlook of a running panel: what its reconcilers tell the API beside the rows."""

from dataclasses import dataclass, field

from wgfleet.panel.reconcile.engine.events import Events
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks


@dataclass(slots=True)
class Outlook:
    """Made once a process. `frozen`: why the health monitor takes no node out of use just now; None: it does."""

    frozen: str | None = None
    events: Events = field(default_factory=Events)
    tasks: BackgroundTasks = field(default_factory=BackgroundTasks)
