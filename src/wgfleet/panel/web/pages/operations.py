"""Operations: what is under way and what has ended, one with its steps, its log and its result, and the end before."""

from typing import Annotated, Any, Literal

from fastapi import Query, Request
from starlette.responses import Response

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import After, Identifier
from wgfleet.panel.api.operations import view, views
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.domain.operations import OperationKind, OperationState
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, operations
from wgfleet.panel.services.access.callers import READ, WRITE
from wgfleet.panel.services.moves import cancelling
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Operation
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.departing import refusal
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page
from wgfleet.panel.web.things import Names, names_of
from wgfleet.panel.web.words import OPERATIONS, STEPS, operation_words

router = page_router()
SECTIONS = (Section(marked("Operations"), "/operations", 40, READ),)
PAGE = 50
STATES = ("pending", "running", "succeeded", "failed")
# In whose name the entries are that an operation makes in the audit log.
LOGGED = {
    OperationKind.REBALANCE: "config",
    OperationKind.MOVE_ADDRESS: "floating_address",
    OperationKind.DRAIN_GROUP: "node_group",
    OperationKind.CHANGE_PEERS: "config",
    OperationKind.MOVE_PEERS: "config",
}
LOG_SLACK_S = 1.0  # the last entry is made just after the end
MOST_ENTRIES = 100
Kind = Annotated[
    Literal[
        "", "remove_node", "failover", "drain", "rebalance", "move_address", "drain_group", "change_peers", "move_peers"
    ],
    Query(),
]
State = Annotated[Literal["", "pending", "running", "succeeded", "failed"], Query()]


@router.get("/operations")
def list_operations(
    request: Request, panel: ThePanel, caller: Reader, *, state: State = "", kind: Kind = "", after: After = None
) -> Response:
    given = {name: value for name, value in {"state": state, "kind": kind}.items() if value}
    with panel.store.read() as tx:
        wanted = OperationState(state) if state else None, OperationKind(kind) if kind else None
        rows = operations.page(tx, *wanted, after, PAGE + 1, caller.limit)
        shown = rows[:PAGE]
        context = {
            "operations": views(tx, shown),
            "names": names_of(tx, shown),
            "chosen": {"state": state, "kind": kind},
            "given": given,
            "chips": [(name, value, with_query("/operations", {**given, name: ""})) for name, value in given.items()],
            "kinds": OPERATIONS,
            "states_of": STATES,
            "here": with_query("/operations", {**given, "after": after}),
            "first": with_query("/operations", given) if after else None,
            "following": with_query("/operations", {**given, "after": shown[-1].id}) if len(rows) > PAGE else None,
        }
        return page(request, "operations/list.html", context, blocks={"results"})


@router.get("/operations/{operation_id}")
def show_operation(request: Request, panel: ThePanel, caller: Reader, operation_id: Identifier) -> Response:
    """Show how far an operation is, or how it ended, with all that it wrote down."""
    with panel.store.read() as tx:
        row = operations.get(tx, operation_id)
        asked = caller.may(WRITE) and row.cancelled_by is None
        cancellable = asked and refusal(lambda: cancelling.check(tx, row)) is None
        shown = _of_operation(tx, row)
        ways_out = _ways_out(row, shown["names"])
        context = {**shown, "log": _log(tx, row), "cancellable": cancellable, "ways_out": ways_out}
        return page(request, "operations/operation.html", context, blocks={"now"})


@router.get("/operations/{operation_id}/cancel")
def cancel_page(request: Request, panel: ThePanel, _caller: Writer, operation_id: Identifier) -> Response:
    return _cancel(request, panel, operation_id, SubmittedForm())


@router.post("/operations/{operation_id}/cancel")
def cancel_operation(
    request: Request, panel: ThePanel, caller: Writer, operation_id: Identifier, form: TheForm
) -> Response:
    try:
        with panel.store.write() as tx:
            cancelling.cancel(tx, caller.actor, operations.get(tx, operation_id))
    except REFUSALS as error:
        return _cancel(request, panel, operation_id, form.refused(error))
    return gone_on(request, f"/operations/{operation_id}")


def _of_operation(tx: Tx, row: Operation) -> dict[str, Any]:
    return {"operation": view(tx, row), "names": names_of(tx, [row]), "steps": _steps(row), "step_words": STEPS}


def _ways_out(row: Operation, names: Names) -> list[Hint]:
    """Return what helps where an operation failed; those that only a newer panel knows are left out."""
    config, node = names.configs.get(row.config_id or ""), names.nodes.get(row.node_id or "")
    codes = [code for code in row.result.get("ways_out") or () if code in set(HintCode)]
    return [Hint(HintCode(code), config=config, node=node) for code in codes]


def _steps(row: Operation) -> list[tuple[str, str]]:
    """Return the steps of an operation, each with how far it is: `done`, `now` or `later`."""
    steps = operation_words(row.kind).steps
    if row.finished_at is not None:
        return [(step, "done") for step in steps] if row.state is OperationState.SUCCEEDED else []
    reached = steps.index(row.step) if row.step in steps else -1
    return [
        (step, "done" if number < reached else "now" if number == max(reached, 0) else "later")
        for number, step in enumerate(steps)
    ]


def _log(tx: Tx, row: Operation) -> list[Any]:
    """Return what the audit log has of an operation, oldest first."""
    until = row.updated_at if row.finished_at is None else row.finished_at
    kind = LOGGED.get(row.kind, "config_node")
    found = audit.between(tx, kind, row.subject, row.created_at, until + LOG_SLACK_S, MOST_ENTRIES)
    ended = audit.between(tx, "operation", row.id, row.created_at, until + LOG_SLACK_S, MOST_ENTRIES)
    return sorted([*found, *ended], key=lambda entry: entry.id)


def _cancel(request: Request, panel: Panel, operation_id: str, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        row = operations.get(tx, operation_id)
        refused = refusal(lambda: cancelling.check(tx, row))
        context = {**_of_operation(tx, row), "form": form, "refused": refused}
        return page(request, "operations/cancel.html", context, status=form.status)
