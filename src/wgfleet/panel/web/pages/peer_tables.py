"""Peers as a table: downloaded for spreadsheets, and sent back after a look at what each line does."""

import hashlib
from contextlib import suppress
from typing import Annotated, Literal

from fastapi import Query, Request
from starlette.responses import Response

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import Reference, ReferenceFilter
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.peer_table_plans import Existing, TablePlan, looked_at
from wgfleet.panel.api.peer_table_runs import carry_out
from wgfleet.panel.api.peer_tables import PeerTableView, refuse_wrong, table_of, view
from wgfleet.panel.domain.peer_table import COLUMNS
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm
from wgfleet.panel.web.listed_peers import ListedPeers
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page

router = page_router()
MOST = 1000
ASKED = ("config", "existing", "leave_out_wrong", "table")


@router.get("/configs/{config}/peers/csv")
def download_table(
    panel: ThePanel,
    caller: Reader,
    config: Reference,
    wanted: ListedPeers,
    separator: Annotated[Literal["comma", "semicolon"], Query()] = "comma",
) -> Response:
    """Give those that a list shows."""
    return table_of(panel, caller, config, wanted, separator)


@router.get("/peers/many/table")
def table_page(request: Request, panel: ThePanel, caller: Writer, config: ReferenceFilter = None) -> Response:
    return _page(request, panel, caller, SubmittedForm({"config": config} if config else {}))


@router.post("/peers/many/table")
def send_table(request: Request, panel: ThePanel, caller: Writer, form: TheForm) -> Response:
    """Show what each line does; sent again with that seen, do it."""
    found = None
    try:
        with panel.store.read() as tx:
            limits.check(tx, caller.limit, "config", form.get("config"), "config")
            name = configs.get(tx, form.get("config"), "config").name
        found = _plan(panel, caller, name, form)
        if form.get("seen") != _digest(form) or not form.get("do"):
            return _page(request, panel, caller, form, view(found))
        if not form.ticked("leave_out_wrong"):
            refuse_wrong(found)
        done = carry_out(panel, caller, name, found)
        if done.operation is not None:
            return gone_on(request, f"/operations/{done.operation.id}")
        if len(done.wrong) > len(found.wrong):
            return _page(request, panel, caller, form, view(done), done=True)
        return gone_on(request, with_query("/peers", {"config": name, "sort": "-made"}))
    except REFUSALS as error:
        form.refused(error)
        return _page(request, panel, caller, form, None if found is None else view(found))


def _plan(panel: Panel, caller: Caller, config: str, form: SubmittedForm) -> TablePlan:
    existing = Existing.REFUSE
    with suppress(ValueError):
        existing = Existing(form.get("existing"))
    return looked_at(panel, caller, config, form.get("table").encode(), existing)


def _digest(form: SubmittedForm) -> str:
    """Return what stands for all that was asked for: where it is another than was shown, it is shown first."""
    return hashlib.sha256("\0".join(form.get(name) for name in ASKED).encode()).hexdigest()


def _page(
    request: Request,
    panel: Panel,
    caller: Caller,
    form: SubmittedForm,
    found: PeerTableView | None = None,
    *,
    done: bool = False,
) -> Response:
    with panel.store.read() as tx:
        context = {
            "form": form,
            "found": found,
            "done": done,
            "seen": _digest(form),
            "columns": COLUMNS,
            "configs": configs.page(tx, None, MOST, caller.limit),
        }
        return page(request, "peer_tables/table.html", context, status=form.status)
