"""Cloudflare's records: the parts of answers that we read, and the bodies that we send. Pure."""

import ipaddress
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from wgfleet.panel.dns.providers.cloudflare_api import UNREADABLE
from wgfleet.panel.domain.dns.records import ADDRESS_TYPES, Record
from wgfleet.panel.errors import TransientError
from wgfleet.protocol.reasons import Reason

Model = TypeVar("Model", bound=BaseModel)


class Row(BaseModel):
    """The parts of a record that we read."""

    id: str
    name: str
    type: str
    content: str = ""
    ttl: int
    proxied: bool = False
    comment: str | None = None


class PageInfo(BaseModel):
    """The pages of a list."""

    total_pages: int = 1


class RecordPage(BaseModel):
    """A page of a list of records."""

    result: list[Row]
    result_info: PageInfo = Field(default_factory=PageInfo)


class Lists(BaseModel):
    """The records that a batch changed; the API sends null for none."""

    deletes: list[Row] | None = None
    patches: list[Row] | None = None
    posts: list[Row] | None = None


class Batched(BaseModel):
    """The answer to a batch."""

    result: Lists


class Zone(BaseModel):
    """The parts of a zone that we read."""

    name: str


class Usage(BaseModel):
    """The number of records of a zone, and its quota (None: the account's quota applies)."""

    record_usage: int
    record_quota: int | None = None


def body_of(name: str, record: Record) -> dict[str, Any]:
    """Return the body of a record; never proxied, because the proxies do not carry WireGuard."""
    return {
        "type": record.type,
        "name": name,
        "content": record.content,
        "ttl": record.ttl,
        "proxied": False,
        "comment": record.owner or "",
    }


def text_body(name: str, text: str, ttl: int) -> dict[str, Any]:
    """Return the body of a TXT record; its content is a quoted string."""
    return {"type": "TXT", "name": name, "content": f'"{text}"', "ttl": ttl}


def record_of(row: Row) -> Record:
    """Return a record in canonical form."""
    content = row.content.lower().removesuffix(".")
    if row.type in ADDRESS_TYPES:
        try:
            content = str(ipaddress.ip_address(content))
        except ValueError:
            raise TransientError(
                Reason(
                    "Cloudflare gave {unreadable}: {type} {content!r}",
                    unreadable=UNREADABLE,
                    type=row.type,
                    content=content,
                )
            ) from None
    return Record(row.type, content, row.ttl, owner=row.comment or None, proxied=row.proxied, handle=row.id)


def encloses(zone: str, name: str) -> bool:
    """Tell whether a name is in a zone."""
    return name == zone.lower() or name.endswith("." + zone.lower())


def parsed(model: type[Model], body: Any) -> Model:
    """Parse an answer. An unexpected one may be from something between us and Cloudflare."""
    try:
        return model.model_validate(body)
    except ValidationError:
        raise TransientError(Reason("Cloudflare gave {unreadable}", unreadable=UNREADABLE)) from None
