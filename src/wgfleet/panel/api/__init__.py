"""The HTTP API: one module a subject. A handler opens one transaction, calls services, answers. No SQL, no rules.

`create_app` assembles the application; `Panel` holds what the handlers work with.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.routing import BaseRoute

import wgfleet
from wgfleet.panel.api import (
    agent_logs,
    assignments,
    audit,
    authority,
    backups,
    capacity,
    certificates,
    configs,
    departures,
    devices,
    dns,
    endpoint_groups,
    enrollment,
    events,
    files,
    floating,
    forwarded,
    health,
    imports,
    jobs,
    join_tokens,
    keys,
    maintenance,
    me,
    monitoring,
    node_groups,
    nodes,
    oidc,
    openapi,
    operations,
    passkeys,
    peer_changes,
    peer_file_sets,
    peer_tables,
    peers,
    previews,
    probe_keys,
    problems,
    relays,
    removals,
    rule_sets,
    share_links,
    sign_in_providers,
    sign_ins,
    tags,
    usage,
    users,
    visits,
    web_certificates,
)
from wgfleet.panel.api.doorkeeper import Doorkeeper
from wgfleet.panel.api.panel import Panel
from wgfleet.panel.api.process_counts import ProcessCounts, RefusedCallers, RequestMetrics
from wgfleet.panel.api.request_bodies import BodyLimit, JsonByDefault
from wgfleet.panel.api.turns import Turns

__all__ = ["Panel", "create_app", "routes"]

SUBJECTS = (
    configs,
    capacity,
    assignments,
    removals,
    departures,
    relays,
    endpoint_groups,
    dns,
    floating,
    peers,
    probe_keys,
    files,
    nodes,
    agent_logs,
    join_tokens,
    maintenance,
    node_groups,
    tags,
    rule_sets,
    jobs,
    operations,
    backups,
    audit,
    keys,
    users,
    sign_ins,
    oidc,
    forwarded,
    passkeys,
    sign_in_providers,
    me,
    devices,
    certificates,
    authority,
    web_certificates,
    enrollment,
    events,
    monitoring,
    health,
    previews,
    usage,
    visits,
    imports,
    peer_changes,
    peer_file_sets,
    peer_tables,
    share_links,
)
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(panel: Panel, lifespan: Lifespan | None = None) -> FastAPI:
    """Return the application. `lifespan` starts and stops the background work."""
    app = FastAPI(
        title="wgfleet",
        version=wgfleet.__version__,
        description="One panel, many WireGuard nodes. Errors are RFC 9457 problems; lists are paged with `after`.",
        lifespan=lifespan,
        openapi_url=None,  # `openapi.install` serves it
        docs_url=None,  # its page runs scripts from elsewhere, on the origin that holds the keys
        redoc_url=None,
        redirect_slashes=False,  # where to is made of the caller's own header, and without the path of `public_url`
    )
    app.state.panel = panel
    registry: Any = CollectorRegistry()
    registry.register(monitoring.FleetCollector(panel))
    counts = ProcessCounts(
        panel.siblings,
        (RefusedCallers(panel.refusals), panel.publisher.metrics),
        lambda: [counted for report in panel.reports() for counted in report.dns],
    )
    registry.register(counts)
    app.state.metrics, app.state.counts = registry, counts
    app.add_middleware(JsonByDefault)
    app.add_middleware(BodyLimit)
    app.add_middleware(Turns, settings=panel.settings.door, siblings=panel.siblings)
    app.add_middleware(Doorkeeper, panel=panel)
    app.add_middleware(RequestMetrics, counts=counts)
    app.routes.extend(routes())
    problems.install(app)
    openapi.install(app)
    return app


def routes() -> list[BaseRoute]:
    """Return the routes of all subjects."""
    return [route for subject in SUBJECTS for route in subject.router.routes]
