"""Durable work: asked for once, visible while it runs, ended by its reconciler.

Its own progress wakes listeners as `progress`, not as `operation`: the reconciler must not wake itself.
"""

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import msgspec

from wgfleet.panel import clock, origin
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.domain.operations import OperationKind, OperationState, Options, Progress, Result
from wgfleet.panel.errors import NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.store import Tx
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Operation
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.reasons import Reason, kept, plain, restored

T = TypeVar("T")


def get(tx: Tx, operation_id: str) -> Operation:
    """Return an operation."""
    operation = operation_rows.get(tx, operation_id)
    if operation is None:
        raise NotFound(
            Reason("there is no operation {operation_id!r}", operation_id=operation_id), Hint(HintCode.LIST_OPERATIONS)
        )
    return operation


def page(
    tx: Tx,
    state: OperationState | None = None,
    kind: OperationKind | None = None,
    after: str | None = None,
    limit: int = 100,
    within: Limit | None = None,
) -> list[Operation]:
    """Return operations, newest first, starting after the id `after`."""
    return operation_rows.page(tx, state, kind, after, limit, within)


def unfinished_of(tx: Tx, requesters: Collection[str]) -> dict[str, int]:
    """Count the operations that have not ended by who began them: `Caller.reference`."""
    return operation_rows.unfinished_of(tx, requesters)


def active_of(tx: Tx, config_id: str) -> list[Operation]:
    """Return a config's operations that have not ended."""
    return operation_rows.active_of(tx, config_id)


def start(
    tx: Tx,
    actor: str,
    kind: OperationKind,
    subject: str,
    *,
    config_id: str | None,
    node_id: str | None,
    options: Options,
) -> Operation:
    """Write down a new operation. The caller has looked for one that is active."""
    now = clock.now()
    operation = Operation(
        id=clock.new_id(),
        kind=kind,
        subject=subject,
        config_id=config_id,
        node_id=node_id,
        state=OperationState.PENDING,
        step="",
        options=msgspec.to_builtins(options, enc_hook=plain),
        progress={},
        result={},
        error=None,
        attempts=0,
        requested_by=actor,
        requester=origin.requester(),
        cancelled_by=None,
        created_at=now,
        updated_at=now,
        finished_at=None,
    )
    operation_rows.add(tx, operation)
    wake(tx, operation)
    return operation


def wake(tx: Tx, operation: Operation) -> None:
    """Have an operation taken up again: what it waits for may have come."""
    tx.wake(Topic.OPERATION, operation.id, kind=operation.kind)


def advance(tx: Tx, operation_id: str, step: str, progress: Progress) -> None:
    """Write down how far an operation is. What is None in `progress` stays as it was."""
    earlier = get(tx, operation_id).progress
    operation_rows.change(
        tx,
        operation_id,
        state=OperationState.RUNNING,
        step=step,
        progress=earlier | encode(progress),
        error=None,
        updated_at=clock.now(),
    )
    tx.wake(Topic.PROGRESS, operation_id)


def explain_wait(tx: Tx, operation: Operation, reason: str) -> None:
    """Say what an operation waits for, where that is not what was said last."""
    if operation.error != reason:
        operation_rows.change(tx, operation.id, error=reason, updated_at=clock.now())
        tx.wake(Topic.PROGRESS, operation.id)


def stumbled(tx: Tx, operation_id: str, error: str) -> None:
    """Say what keeps an operation from going on; it is tried again."""
    attempts = get(tx, operation_id).attempts + 1
    operation_rows.change(tx, operation_id, error=error, attempts=attempts, updated_at=clock.now())
    tx.wake(Topic.PROGRESS, operation_id)


def finish(tx: Tx, operation_id: str, state: OperationState, result: Result) -> None:
    """End an operation."""
    now = clock.now()
    operation_rows.change(
        tx, operation_id, state=state, step="", result=encode(result), error=None, updated_at=now, finished_at=now
    )
    tx.wake(Topic.PROGRESS, operation_id)


def options_of(operation: Operation, kind: type[T]) -> T:
    """Return what an operation was asked, as the dataclass of its kind."""
    return _decode(operation.options, kind)


def progress_of(operation: Operation, kind: type[T]) -> T:
    """Return how far an operation is, as the dataclass of its kind."""
    return _decode(operation.progress, kind)


def result_of(operation: Operation, kind: type[T]) -> T:
    """Return the result of an operation that has ended, as the dataclass of its kind."""
    return _decode(operation.result, kind)


def _decode(values: Mapping[str, Any], kind: type[T]) -> T:
    """Not strictly: older versions took whatever reads as a number."""
    return msgspec.convert(values, kind, strict=False)


def encode(values: Progress | Result) -> dict[str, Any]:
    """Return progress or result as its JSON object; what is None is left out."""
    found = msgspec.to_builtins(values, enc_hook=kept)
    return {name: restored(value) for name, value in found.items() if value is not None}


def subject(config_id: str, node_id: str) -> str:
    """Name what an operation on an assignment is about."""
    return f"{config_id}/{node_id}"
