"""Usage: what was received and sent over time, as a chart and as a table of the same numbers."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import Query, Request
from starlette.responses import Response

from wgfleet.panel import clock
from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.services import configs, usage
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.access.callers import READ, Caller
from wgfleet.panel.services.fleet import nodes, peers
from wgfleet.panel.services.usage import By, Per, UsageQuestion
from wgfleet.panel.store import Tx
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import page

router = page_router()
SECTIONS = (Section(marked("Usage"), "/usage", 55, READ),)
HOUR_S = 3600
MOST = 1000  # all configs and nodes that a panel is made for
MOST_SUMS = 100_000

Chosen = Annotated[str, Query(max_length=64, pattern=r"^[!-~]*$")]


class Span(NamedTuple):
    """A time that is looked at: in which periods, how those are written, and how many."""

    per: Per
    form: str
    most: int


SPANS = {
    "day": Span(Per.HOUR, "%Y-%m-%dT%H", 24),
    "week": Span(Per.HOUR, "%Y-%m-%dT%H", 7 * 24),
    "month": Span(Per.DAY, "%Y-%m-%d", 31),
    "year": Span(Per.MONTH, "%Y-%m", 12),
}


class UsedPeriod(NamedTuple):
    """What was used in a period; rates are in bits a second, on average, up to now in the last one."""

    start: datetime
    label: str
    received: int
    sent: int
    received_rate: float
    sent_rate: float


class UsageAnswer(NamedTuple):
    """What a page shows of a time."""

    periods: list[UsedPeriod]
    of_configs: list[dict[str, Any]]
    of_nodes: list[dict[str, Any]]


@router.get("/usage")
def show_usage(
    request: Request,
    panel: ThePanel,
    caller: Reader,
    *,
    span: Literal["day", "week", "month", "year"] = "day",
    config: Chosen = "",
    node: Chosen = "",
    peer: Chosen = "",
) -> Response:
    """Show the sums of a time; what is chosen is in the address."""
    chosen = {"span": span, "config": config, "node": node, "peer": peer}
    given = {name: value for name, value in chosen.items() if value and (name, value) != ("span", "day")}
    now = clock.now()
    with panel.store.read() as tx:
        asked = _question(tx, caller, chosen, now)
        context = {
            "chosen": chosen,
            "spans": [(name, with_query("/usage", {**given, "span": name})) for name in SPANS],
            "chips": [(name, value, with_query("/usage", {**given, name: ""})) for name, value in given.items()],
            "answer": _answer(tx, asked, chosen, now),
            "configs": configs.page(tx, None, MOST, caller.limit),
            "nodes": nodes.page(tx, None, MOST, caller.limit),
            "peer_name": peers.get(tx, peer).name if peer else "",
        }
    return page(request, "usage/usage.html", context)


def _answer(tx: Tx, asked: UsageQuestion, chosen: Mapping[str, str], now: float) -> UsageAnswer:
    return UsageAnswer(
        _periods(tx, asked, SPANS[chosen["span"]], now),
        _parts(tx, asked, By.CONFIG) if not (chosen["config"] or chosen["peer"]) else [],
        _parts(tx, asked, By.NODE) if not chosen["node"] else [],
    )


def _question(tx: Tx, caller: Caller, chosen: Mapping[str, str], now: float) -> UsageQuestion:
    for kind in ("config", "node", "peer"):
        if chosen[kind]:
            limits.check(tx, caller.limit, kind, chosen[kind])
    until = int(now // HOUR_S) + 1
    return UsageQuestion(
        per=SPANS[chosen["span"]].per,
        by=By.CONFIG,
        since=int(_starts(SPANS[chosen["span"]], now)[0].timestamp() // HOUR_S),
        until=until,
        peer_id=peers.get(tx, chosen["peer"]).id if chosen["peer"] else None,
        node_id=nodes.get(tx, chosen["node"]).id if chosen["node"] else None,
        config_id=configs.id_of(tx, chosen["config"]) if chosen["config"] else None,
        configs=None if caller.limit is None else frozenset(caller.limit.configs),
    )


def _starts(span: Span, now: float) -> list[datetime]:
    """Return when the periods of a time begin, which ends now."""
    at = datetime.fromtimestamp(now, UTC).replace(minute=0, second=0, microsecond=0)
    found = []
    for _ in range(span.most):
        if span.per is not Per.HOUR:
            at = at.replace(hour=0)
        if span.per is Per.MONTH:
            at = at.replace(day=1)
        found.append(at)
        at -= timedelta(hours=1)
    return found[::-1]


def _periods(tx: Tx, asked: UsageQuestion, span: Span, now: float) -> list[UsedPeriod]:
    """Return all periods of a time, also those in which nothing was used."""
    used: dict[str, tuple[int, int]] = {}
    for each in usage.sums(tx, asked, None, MOST_SUMS):
        received, sent = used.get(each.sum.period, (0, 0))
        used[each.sum.period] = (received + each.sum.received, sent + each.sum.sent)
    starts = _starts(span, now)
    found = []
    for start, end in zip(starts, [*(each.timestamp() for each in starts[1:]), now], strict=True):
        received, sent = used.get(start.strftime(span.form), (0, 0))
        seconds = max(end - start.timestamp(), 1.0)
        label = start.strftime({Per.HOUR: "%Y-%m-%d %H:00", Per.DAY: "%Y-%m-%d", Per.MONTH: "%Y-%m"}[span.per])
        found.append(UsedPeriod(start, label, received, sent, received * 8 / seconds, sent * 8 / seconds))
    return found


def _parts(tx: Tx, asked: UsageQuestion, by: By) -> list[dict[str, Any]]:
    """Return what each config or node had of it, those with most first."""
    question = UsageQuestion(
        Per.TOTAL, by, asked.since, asked.until, asked.peer_id, asked.node_id, asked.config_id, asked.configs
    )
    found = [
        {"name": each.name or each.sum.id, "received": each.sum.received, "sent": each.sum.sent}
        for each in usage.sums(tx, question, None, MOST)
    ]
    return sorted(found, key=lambda each: each["received"] + each["sent"], reverse=True)
