"""`/api/usage`: what peers sent and received, by peer, node or config, for each hour, day or month."""

import dataclasses
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Query, Response
from pydantic import Field

from wgfleet.panel import clock
from wgfleet.panel.api import spreadsheets
from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.models import LINE, Limit, Moment, Page, View
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain import cursors
from wgfleet.panel.domain.fields import one_spelling
from wgfleet.panel.errors import Invalid, NotFound
from wgfleet.panel.services import configs, usage
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.services.usage import FORMS, By, NamedSum, Per, UsageQuestion
from wgfleet.panel.store import Tx
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.protocol.reasons import Reason

router = subject_router("usage")
HOUR_S = 3600
COLUMNS = ("start", "id", "name", "received", "sent")
Name = Annotated[str | None, Query(max_length=64, pattern=LINE)]


class UsageView(View):
    """A sum of usage."""

    start: datetime | None = Field(description="When the hour, day or month (of UTC) begins; null for `per=total`.")
    id: str = Field(description="Id of the peer, node or config.")
    name: str | None = Field(description="Its name, or the last one that it had; null if that is not known any more.")
    received: int = Field(description="Bytes that nodes received from the peers.")
    sent: int = Field(description="Bytes that nodes sent to the peers.")


@router.get(
    "/api/usage",
    response_model=Page[UsageView],
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    summary="Sum up what was sent and received",
)
def list_usage(
    panel: ThePanel,
    caller: Reader,
    *,
    per: Annotated[Per, Query(description="How long a period is.")] = Per.DAY,
    by: Annotated[By, Query(description="Whose usage is put together.")] = By.PEER,
    since: Annotated[
        Moment | None, Query(alias="from", description="From this hour on; by default everything.")
    ] = None,
    to: Annotated[Moment | None, Query(description="Up to this hour, which is not in the sum.")] = None,
    peer: Annotated[
        str | None,
        Query(
            max_length=130, pattern=LINE, description="Only of this peer (id, CONFIG/NAME, or its name with `config`)."
        ),
    ] = None,
    node: Annotated[Name, Query(description="Only what this node carried (id or name).")] = None,
    config: Annotated[Name, Query(description="Only of this config (id or name).")] = None,
    form: Annotated[Literal["json", "csv"], Query(alias="format", description="Form of the answer.")] = "json",
    after: Annotated[
        str | None, Query(max_length=64, pattern=r"^[!-~]+$", description="Cursor: pass `next` from the page before.")
    ] = None,
    limit: Limit = 100,
) -> Response:
    """Bytes as WireGuard counts them, its own messages among them; see docs/usage.md for how exact they are.

    Peers' totals (`per=total`, without `from`, `to` and `node`) are those of `/api/peers/{peer_id}`: with what another
    panel had counted before an import, and with what is too old to be kept by day. Periods without usage are left out.
    Of hours that are put together to days, `from` and `to` take whole days. A page of CSV names the next one in the
    header `wgfleet-next`.
    """
    with panel.store.read() as tx:
        if config is not None:
            limits.check(tx, caller.limit, "config", config)
        if node is not None:
            limits.check(tx, caller.limit, "node", node)
        if since is not None and to is not None and since > to:
            raise Invalid(Reason("must not be later than `to`"), field="from")
        if since is not None and to is not None and since.timestamp() // HOUR_S == to.timestamp() // HOUR_S:
            raise Invalid(Reason("must be in a later hour than `from`: it ends before this one begins"), field="to")
        peer_id = None if peer is None else _peer_id(tx, peer, config)
        question = UsageQuestion(
            per=per,
            by=by,
            since=0 if since is None else int(since.timestamp() // HOUR_S),
            until=int((clock.now() if to is None else to.timestamp()) // HOUR_S) + (to is None),
            peer_id=peer_id,
            node_id=None if node is None else nodes.get(tx, node).id,
            config_id=None if config is None else configs.id_of(tx, config),
            configs=None if caller.limit is None else frozenset(caller.limit.configs),
            ever=since is None and to is None,
        )
        moments = (None if each is None else each.isoformat() for each in (since, to))
        asked = (per, by, *moments, peer, question.node_id, question.config_id)
        if peer is not None:
            _check_peer(tx, peer, question)
        found = usage.sums(tx, question, _last(cursors.place_of(after, *asked)), limit + 1)
    shown = found[:limit]
    last = f"{shown[-1].sum.period}~{shown[-1].sum.id}" if len(found) > limit else None
    following = cursors.bound(last, *asked)
    items = [_view(each, per) for each in shown]
    if form == "csv":
        return _csv(items, following)
    page = Page[UsageView](items=items, next=following)
    return Response(page.model_dump_json(), media_type="application/json")


def _peer_id(tx: Tx, peer: str, config: str | None) -> str:
    """Return the id of a peer by CONFIG/NAME, or by its name in a config; all else is an id, maybe a past one."""
    within, slash, name = peer.partition("/")
    if not slash:
        within, name = config or "", peer
    row = config_rows.find(tx, within) if within else None
    named = [] if row is None else peer_rows.named(tx, row.id, [one_spelling(name)])
    return named[0].id if named else peer


def _check_peer(tx: Tx, peer: str, question: UsageQuestion) -> None:
    """Refuse a peer that there is not, and of which nothing is kept; so one that a caller does not see."""
    row = peer_rows.get(tx, question.peer_id or "")
    if row is not None and (question.configs is None or row.config_id in question.configs):
        return
    ever = dataclasses.replace(question, since=0, node_id=None, per=Per.TOTAL, by=By.PEER, ever=False)
    if row is not None or not usage.sums(tx, ever, None, 1):
        raise NotFound(Reason("there is no peer {peer_id!r}", peer_id=peer), field="peer")


def _last(after: str | None) -> tuple[str, str] | None:
    if after is None:
        return None
    period, separator, identifier = after.partition("~")
    if not separator:
        raise Invalid(Reason("pass `next` of the page before"), field="after")
    return period, identifier


def _view(each: NamedSum, per: Per) -> UsageView:
    period = each.sum.period
    start = None if per is Per.TOTAL else datetime.strptime(period, FORMS[per]).replace(tzinfo=UTC)
    return UsageView(start=start, id=each.sum.id, name=each.name, received=each.sum.received, sent=each.sum.sent)


def _csv(items: list[UsageView], following: str | None) -> Response:
    rows = [
        ("" if each.start is None else each.start.isoformat(), each.id, each.name, each.received, each.sent)
        for each in items
    ]
    made = spreadsheets.answer("usage", COLUMNS, rows)
    if following is not None:
        made.headers["wgfleet-next"] = following
    return made
