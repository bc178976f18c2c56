"""`/api/configs/{config}/peers/csv`: peers as a table for spreadsheets, and peers made and changed by one."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import Body, Query, Response, status
from fastapi.responses import StreamingResponse
from pydantic import Field

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import NEW_FILE, SOME_LINE, Reference, Said, View
from wgfleet.panel.api.operations import OperationView, lead_to
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.peer_changes import WantedPeers, filter_of
from wgfleet.panel.api.peer_table_plans import SHOWN, Existing, TablePlan, looked_at, plan
from wgfleet.panel.api.peer_table_runs import carry_out
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain import peer_table
from wgfleet.panel.domain.peer_table import COLUMNS, SEPARATORS, Values, WrongCell
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services import configs
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.fleet import peer_tables
from wgfleet.panel.store.listed_peers import PeerFilter
from wgfleet.protocol.reasons import Reason

router = subject_router("peers")
PAGE = 500
Part = Annotated[str | None, Query(min_length=1, max_length=64, pattern=SOME_LINE)]
CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "A table, in UTF-8."}
}
Table = Annotated[
    bytes,
    Body(
        media_type="text/csv",
        description=f"A line of columns, `name` among them, then a line for each peer. Columns: {', '.join(COLUMNS)}. "
        "UTF-8 or UTF-16; commas, semicolons or tabs.",
    ),
]
ForExisting = Annotated[
    Existing, Query(description="What becomes of rows of peers that there are, by `id` or else by `name`.")
]


class WrongCellView(View):
    """What cannot be read, or done."""

    line: int = Field(description="Line of the file in which the row begins; 0: it is about all new peers.")
    column: str = Field(description="Empty where it is about none.")
    detail: Said


class ChangedRowView(View):
    """A peer that a row changes."""

    line: int
    name: str = Field(description="The name that it has, or had.")
    columns: list[str] = Field(description="What is another value.")


class PeerTableView(View):
    """What a table does, or would do."""

    created: int
    changed: int
    same: int = Field(description="Rows that leave their peers as they are.")
    wrong: int
    names: list[str] = Field(description="Of new peers, the first 100.")
    changes: list[ChangedRowView] = Field(description="The first 100.")
    problems: list[WrongCellView] = Field(description="The first 100.")
    effects: list[Said] = Field(
        description="Of a preview: whom limits of their tags or of the config delete, cut off or let in at once."
    )
    operation: OperationView | None = Field(description="It makes the changes; null: they are made, or there are none.")


def view(found: TablePlan) -> PeerTableView:
    """Show what a table does."""
    return PeerTableView(
        created=len(found.new),
        changed=len(found.changes),
        same=found.same,
        wrong=len(found.wrong),
        names=[each.name for each in found.new[:SHOWN]],
        changes=[
            ChangedRowView(line=each.line, name=each.name, columns=list(each.changes)) for each in found.changes[:SHOWN]
        ],
        problems=[_wrong(each) for each in found.wrong[:SHOWN]],
        effects=found.of_limits,
        operation=found.operation,
    )


def _wrong(each: WrongCell) -> WrongCellView:
    return WrongCellView(line=each.line, column=each.column, detail=each.detail)


def refuse_wrong(found: TablePlan) -> None:
    """Raise `Invalid` where a row is wrong, or nothing is to be done."""
    if found.wrong:
        first = found.wrong[0]
        at = (
            Reason("line {line}, {column}", line=first.line, column=first.column)
            if first.column
            else Reason("line {line}", line=first.line)
            if first.line
            else Reason("all")
        )
        more = Reason(" (and {more} more)", more=len(found.wrong) - 1) if len(found.wrong) > 1 else ""
        raise Invalid(
            Reason("{at}: {first}{more}; nothing was done", at=at, first=first.detail, more=more), field="table"
        )


@router.get(
    "/api/configs/{config}/peers/csv",
    summary="Download the peers of a config as a table",
    response_class=Response,
    responses=CSV,
)
def download_table(
    panel: ThePanel,
    caller: Reader,
    config: Reference,
    *,
    search: Annotated[Part, Query(description="Only those with this part in the name, or this key or address.")] = None,
    tag: Annotated[Part, Query(description="Only those with this tag.")] = None,
    node: Annotated[Part, Query(description="Only those whose home this node is.")] = None,
    owner: Annotated[Part, Query(description="Only the devices of this user.")] = None,
    enabled: bool | None = None,
    live: Annotated[bool | None, Query(description="Whether they are connected now.")] = None,
    restricted: Annotated[bool | None, Query(description="Whether a limit keeps them out.")] = None,
    needs_new_file: Annotated[bool | None, Query(description=NEW_FILE)] = None,
    separator: Annotated[
        Literal["comma", "semicolon"],
        Query(description="What stands between cells; spreadsheets of many countries expect semicolons."),
    ] = "comma",
) -> Response:
    """All of them, or those that fit, with what is their own, and no secret.

    It can be sent back, changed, with `existing=update`. Texts that a spreadsheet would take for formulas have an
    apostrophe before them, which is taken off again.
    """
    wanted = WantedPeers(
        search=search,
        tag=tag,
        node=node,
        owner=owner,
        enabled=enabled,
        live=live,
        restricted=restricted,
        needs_new_file=needs_new_file,
    )
    return table_of(panel, caller, config, wanted, separator)


def table_of(panel: Panel, caller: Caller, config: str, wanted: WantedPeers, separator: str) -> Response:
    """Answer with the table of those peers of a config that fit."""
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        name, found = row.name, filter_of(tx, panel, caller, row.id, wanted)
    headers = {"content-disposition": f'attachment; filename="{name}-peers.csv"', "cache-control": "no-store"}
    text = peer_table.write(_rows(panel, found), SEPARATORS[separator])
    return StreamingResponse(text, media_type="text/csv; charset=utf-8", headers=headers)


def _rows(panel: Panel, wanted: PeerFilter) -> Iterator[Values]:
    after: str | None = None
    while True:
        with panel.store.read() as tx:
            rows, after = peer_tables.page(tx, wanted, after, PAGE)
        yield from rows
        if after is None:
            return


@router.post("/api/configs/{config}/peers/csv/preview", summary="Show what a table of peers would do")
def preview_table(
    panel: ThePanel, caller: Writer, config: Reference, table: Table, existing: ForExisting = Existing.REFUSE
) -> PeerTableView:
    """Read all rows, and say of each that is wrong why; of errors that concern several peers the first 20.

    `effects` says whom limits then delete, cut off or let in; of destination rules, nothing is said.
    """
    return view(looked_at(panel, caller, config, table, existing))


@router.post(
    "/api/configs/{config}/peers/csv",
    status_code=status.HTTP_201_CREATED,
    responses={202: {"model": PeerTableView, "description": "An operation makes the changes."}},
    summary="Create and change peers by a table",
)
def send_table(
    panel: ThePanel,
    caller: Writer,
    config: Reference,
    table: Table,
    response: Response,
    existing: ForExisting = Existing.REFUSE,
    *,
    leave_out_wrong: Annotated[bool, Query(description="Do what the other rows say where some are wrong.")] = False,
) -> PeerTableView:
    """Up to 10,000 rows. Where one is wrong nothing is done, unless `leave_out_wrong` says otherwise.

    New peers are made all or none. Then the others are changed, row by row; `problems` has those that could not be.
    More than 250 are changed by an operation (202): it goes on after a restart, can be cancelled, and has `refused`.
    """
    found = plan(panel, caller, config, table, existing)
    if not leave_out_wrong:
        refuse_wrong(found)
    done = view(carry_out(panel, caller, config, found))
    if done.operation is not None:
        response.status_code = status.HTTP_202_ACCEPTED
        lead_to(response, panel, done.operation)
    return done
