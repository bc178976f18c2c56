"""A panel put together: the application of its API and pages, with a core in the same process or in another."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from wgfleet.panel import passwords, request_threads
from wgfleet.panel.api import create_app
from wgfleet.panel.api.panel import Panel
from wgfleet.panel.api.process_counts import NOTED_EVERY_S, ProcessCounts
from wgfleet.panel.parts import Parts, prepare
from wgfleet.panel.reconcile.agents import panel_start
from wgfleet.panel.reconcile.core_reports import HeardReports
from wgfleet.panel.reconcile.engine import garbage
from wgfleet.panel.reconcile.engine.events import Events
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks
from wgfleet.panel.reconcile.event_feed import EventFeed
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.reconcile.supervisor import Supervisor
from wgfleet.panel.settings import Settings
from wgfleet.panel.siblings import Siblings
from wgfleet.panel.store.databases import sqlite_file
from wgfleet.panel.web import install as install_web


def build(settings: Settings) -> FastAPI:
    """Open everything a panel needs and return its application, whose reconcilers run while it does.

    `app.state` then has `panel`, `store`, `authorities` and `first_key` (see `prepare`).
    """
    parts, first_key = prepare(settings)
    outlook = Outlook()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        start = panel_start.begin(parts.store, parts.vault, parts.authorities, settings.certificates.panel_days)
        outlook.superseded = start.superseded
        feed = EventFeed(parts.store, outlook.events)
        feed.listen()
        supervisor = Supervisor(parts.store, parts.vault, parts.authorities, parts.publisher, settings, outlook, start)
        supervisor.start()
        outlook.tasks.start("events", feed.run)
        try:
            yield
        finally:
            await supervisor.close()
            panel.refusals.close()
            parts.store.close()

    panel = Panel(
        store=parts.store,
        vault=parts.vault,
        settings=settings,
        authorities=parts.authorities,
        events=outlook.events,
        publisher=parts.publisher,
        outlook=outlook,
    )
    app = create_app(panel, lifespan=lifespan)
    install_web(app, panel)
    app.state.store, app.state.authorities, app.state.first_key = parts.store, parts.authorities, first_key
    return app


def api_of(
    parts: Parts,
    name: str,
    set_up_digest: str | None = None,
    siblings: Siblings | None = None,
    *,
    again: bool = False,
) -> FastAPI:
    """Return the application of a panel whose core runs in another process and reports under that name.

    `set_up_digest`: of the address that sets it up, where one is shown. `siblings`: the processes that serve it too.
    `again`: it was served before, so the core works: its first report is waited for, that no answer denies it.
    """
    siblings = siblings or Siblings()
    passwords.share(siblings.places)
    heard = HeardReports(parts.store)
    events, tasks = Events(), BackgroundTasks()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        garbage.collect_little()
        feed = EventFeed(parts.store, events)
        feed.listen()
        parts.store.share(parts.label(name))
        counts: ProcessCounts = app.state.counts
        counts.begin()
        tasks.start("events", feed.run)
        tasks.start("counts", counts.run, every_s=NOTED_EVERY_S)
        if sqlite_file(parts.settings.store_url) is not None:  # another's threads wait for its server
            tasks.start("threads", request_threads.begin().keep_room)
        tasks.start("garbage", garbage.keep_tidy, every_s=garbage.EVERY_S)
        try:
            if again:
                await heard.first()
            yield
        finally:
            panel.refusals.close()
            await tasks.close()
            siblings.notes.close()

    panel = Panel(
        store=parts.store,
        vault=parts.vault,
        settings=parts.settings,
        authorities=parts.authorities,
        events=events,
        publisher=parts.publisher,
        heard=heard,
        name=name,
        set_up_digest=set_up_digest,
        siblings=siblings,
    )
    app = create_app(panel, lifespan=lifespan)
    install_web(app, panel)
    return app
