"""How Cloudflare writes records: what is read of its answers, and what is sent. Pure."""

import ipaddress
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from wgfleet.panel.dns.providers.cloudflare_api import UNREADABLE
from wgfleet.panel.domain.dns.records import ADDRESS_TYPES, Record
from wgfleet.panel.errors import TransientError

Model = TypeVar("Model", bound=BaseModel)


class Row(BaseModel):
    """What is read of a record in an answer."""

    id: str
    name: str
    type: str
    content: str = ""
    ttl: int
    proxied: bool = False
    comment: str | None = None


class Page(BaseModel):
    """Where a list stands."""

    total_pages: int = 1


class RecordPage(BaseModel):
    """The answer to a list."""

    result: list[Row]
    result_info: Page = Field(default_factory=Page)


class Lists(BaseModel):
    """What a batch did; the API says null for no records."""

    deletes: list[Row] | None = None
    patches: list[Row] | None = None
    posts: list[Row] | None = None


class Batched(BaseModel):
    """The answer to a batch."""

    result: Lists


class Zone(BaseModel):
    """What is read of a zone."""

    name: str


class Usage(BaseModel):
    """How many records a zone has, and may have (None: the account's quota counts)."""

    record_usage: int
    record_quota: int | None = None


def body_of(name: str, record: Record) -> dict[str, Any]:
    """Return a record as it is sent; never proxied, for WireGuard does not pass there."""
    return {
        "type": record.type,
        "name": name,
        "content": record.content,
        "ttl": record.ttl,
        "proxied": False,
        "comment": record.owner or "",
    }


def record_of(row: Row) -> Record:
    """Return a record in canonical form."""
    content = row.content.lower().removesuffix(".")
    if row.type in ADDRESS_TYPES:
        try:
            content = str(ipaddress.ip_address(content))
        except ValueError:
            raise TransientError(f"Cloudflare gave {UNREADABLE}: {row.type} {content!r}") from None
    return Record(row.type, content, row.ttl, owner=row.comment or None, proxied=row.proxied, handle=row.id)


def encloses(zone: str, name: str) -> bool:
    """Tell whether a name is in a zone."""
    return name == zone.lower() or name.endswith("." + zone.lower())


def parsed(model: type[Model], body: Any) -> Model:
    """Read an answer. What is not as expected may have come from something in between."""
    try:
        return model.model_validate(body)
    except ValidationError:
        raise TransientError(f"Cloudflare gave {UNREADABLE}") from None
