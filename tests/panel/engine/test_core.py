"""A core that runs: none of its tasks is taken for one that hangs."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from wgfleet.panel.core import Core
from wgfleet.panel.parts import prepare
from wgfleet.panel.reconcile.core_reports import HeardReports
from wgfleet.panel.reconcile.engine import tasks as engine_tasks
from wgfleet.panel.reconcile.engine.tasks import Failing
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import Store

pytestmark = pytest.mark.slow


async def nothing_else(_stack: object) -> None:
    """The core is all there is."""


def test_tasks_that_come_round_are_not_failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_tasks, "PATIENCE_S", 0.5)
    settings = Settings(data_dir=tmp_path / "data")
    parts, _ = prepare(settings)
    api = Store(settings.store_url)
    api.share()
    heard = HeardReports(api)

    async def run() -> Sequence[Failing]:
        core = Core(parts, "a core")
        running = asyncio.create_task(core.run(nothing_else))
        await asyncio.sleep(5.5)
        (report,) = heard.now()
        core.stop()
        await running
        return report.failing

    try:
        assert asyncio.run(run()) == ()
    finally:
        api.close()
        parts.store.close()
