"""Answers of an agent that are not what was asked for: refusals, failures, and what is not of this protocol."""

from collections.abc import Collection
from http import HTTPStatus
from typing import TypeVar

import msgspec

from wgfleet.panel.agents import claims
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.protocol.messages import Refusal
from wgfleet.protocol.reasons import Reason, words_of

T = TypeVar("T")

# What decoding raises: words of another shape, nested without end, or not of UTF-8.
UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class AgentRefused(PermanentError):
    """The agent understood and said no; `refusal.reason` is for programs."""

    def __init__(self, detail: str, refusal: Refusal) -> None:
        super().__init__(detail)
        self.refusal = refusal


class AgentFailed(TransientError):
    """The agent tried, and its machine could not; `refusal` says why."""

    def __init__(self, detail: str, refusal: Refusal) -> None:
        super().__init__(detail)
        self.refusal = refusal


class AgentAway(TransientError):
    """No connection to the agent, or none any more; `told` says why, to who knows which agent."""

    def __init__(self, detail: str, told: str) -> None:
        super().__init__(detail)
        self.told = told


def told_of(error: BaseException) -> str:
    """Return why something failed at a node, for who knows which: the agent's own words, if it has answered."""
    if isinstance(error, AgentAway):
        return error.told
    return error.refusal.detail if isinstance(error, AgentRefused | AgentFailed) else words_of(error)


def failure(label: str, status: int, body: bytes) -> AgentRefused | AgentFailed:
    """Return what to raise for an answer that is no success: AgentRefused (4xx), or AgentFailed."""
    try:
        refusal = msgspec.json.decode(body, type=Refusal)
    except UNREADABLE:
        text = body[:200].decode(errors="replace").strip() or "no reason given"
        refusal = Refusal(title="unexpected answer", status=status, detail=text, reason="unknown")
    refusal = msgspec.structs.replace(
        refusal, detail=claims.words(refusal.detail), reason=claims.words(refusal.reason, 50)
    )
    said = {"label": label, "detail": refusal.detail, "status": status, "reason": refusal.reason}
    detail = Reason("{label}: {detail} ({status} {reason})", **said)
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return AgentRefused(detail, refusal)
    return AgentFailed(detail, refusal)


def decode(label: str, decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode what an agent said; raise TransientError where it is not of this protocol."""
    try:
        return decoder.decode(body)
    except UNREADABLE as error:
        raise nonsense(label, error) from error


def check_asked(label: str, asked: int, *found: Collection[str]) -> None:
    """Raise TransientError where an agent says more than it was asked: decisions wait until each is looked at."""
    if any(len(each) > asked for each in found):
        raise nonsense(label, ValueError("says more than it was asked"))


def nonsense(label: str, trouble: Exception) -> TransientError:
    """Return what to raise for words that are not of this protocol."""
    return TransientError(
        Reason("{node}: its answer is not of this protocol ({why})", node=label, why=claims.words(str(trouble)))
    )
