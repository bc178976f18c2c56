"""Requests and answers of Cloudflare's DNS API as strict models: names, types, bounds and required fields, no others.

Written from the facts of the API as it is published. Where the live API is known to differ, the models follow the live
one: `comment` is null where there is none, an address has no `data`, and a batch's lists of nothing are null.
"""

import ipaddress
import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

QUOTED = re.compile(r'"(?:[^"\\]|\\.){0,255}"(?:\s+"(?:[^"\\]|\\.){0,255}")*')


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _ipv4(text: str) -> str:
    return str(ipaddress.IPv4Address(text))


def _ipv6(text: str) -> str:
    return str(ipaddress.IPv6Address(text))


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}", text):
        raise ValueError("not a hostname")
    return text.lower().removesuffix(".")


def _quoted(text: str) -> str:
    if not QUOTED.fullmatch(text):
        raise ValueError("must be quoted character strings")
    return text


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise ValueError("must not hold a line break")
    return text


def _ttl(seconds: int) -> int:
    if seconds != 1 and not 30 <= seconds <= 86400:
        raise ValueError("TTL must be between 30 and 86400 seconds, or 1 for Automatic")
    return seconds


def _ascii(text: str) -> str:
    if not text.isascii():
        raise ValueError("must be in Punycode")
    return text.lower()


Identifier = Annotated[str, StringConstraints(min_length=1, max_length=32)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_ascii)]
Ttl = Annotated[int, AfterValidator(_ttl)]
Comment = Annotated[str, AfterValidator(_one_line)]
Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+:.*$")]
Ipv4 = Annotated[str, AfterValidator(_ipv4)]
Ipv6 = Annotated[str, AfterValidator(_ipv6)]
Host = Annotated[str, AfterValidator(_host)]
Quoted = Annotated[str, AfterValidator(_quoted)]


class AddressSettings(Strict):
    ipv4_only: bool = False
    ipv6_only: bool = False


class AliasSettings(AddressSettings):
    flatten_cname: bool = False


class Shared(Strict):
    """What every record has when it is written whole."""

    name: Name
    ttl: Ttl
    proxied: bool = False
    comment: Comment | None = None
    tags: list[Tag] = Field(default_factory=list)


class A(Shared):
    type: Literal["A"]
    content: Ipv4
    settings: AddressSettings = Field(default_factory=AddressSettings)
    private_routing: bool = False


class Aaaa(Shared):
    type: Literal["AAAA"]
    content: Ipv6
    settings: AddressSettings = Field(default_factory=AddressSettings)
    private_routing: bool = False


class Cname(Shared):
    type: Literal["CNAME"]
    content: Host
    settings: AliasSettings = Field(default_factory=AliasSettings)


class Mx(Shared):
    type: Literal["MX"]
    content: Host
    priority: Annotated[int, Field(ge=0, le=65535)]
    settings: AddressSettings = Field(default_factory=AddressSettings)


class Ns(Shared):
    type: Literal["NS"]
    content: Host
    settings: AddressSettings = Field(default_factory=AddressSettings)


class Txt(Shared):
    type: Literal["TXT"]
    content: Quoted
    settings: AddressSettings = Field(default_factory=AddressSettings)


AnyRecord = A | Aaaa | Cname | Mx | Ns | Txt
Post = Annotated[AnyRecord, Field(discriminator="type")]


class Delete(Strict):
    id: Identifier


class Patch(Strict):
    """A record in part; what it becomes is checked as a whole afterwards."""

    id: Identifier
    name: Name | None = None
    type: Literal["A", "AAAA", "CNAME", "MX", "NS", "TXT"] | None = None
    content: str | None = None
    ttl: Ttl | None = None
    proxied: bool | None = None
    comment: Comment | None = None
    tags: list[Tag] | None = None
    settings: AliasSettings | None = None
    private_routing: bool | None = None
    priority: Annotated[int, Field(ge=0, le=65535)] | None = None


class Put(Strict):
    id: Identifier
    record: Post


class Meta(Strict):
    dead_glue: bool | None = None
    is_glue: bool | None = None
    shadowed_by: list[str] | None = None
    shadowed_records_count: Annotated[int, Field(ge=0, le=10000)] | None = None


class Stored(Strict):
    """A record as the API answers it."""

    id: Identifier
    name: Name
    type: Literal["A", "AAAA", "CNAME", "MX", "NS", "TXT"]
    content: str
    proxiable: bool
    proxied: bool
    ttl: Ttl
    settings: AddressSettings | AliasSettings
    comment: Comment | None
    tags: list[Tag]
    created_on: datetime
    modified_on: datetime
    meta: Meta
    comment_modified_on: datetime | None = None
    tags_modified_on: datetime | None = None
    priority: Annotated[int, Field(ge=0, le=65535)] | None = None
    private_routing: bool | None = None


class Source(Strict):
    pointer: str | None = None


class Message(Strict):
    code: Annotated[int, Field(ge=1000)]
    message: str
    documentation_url: str | None = None
    source: Source | None = None


class Success(Strict):
    success: Literal[True]
    errors: list[Message]
    messages: list[Message]


class Failure(Strict):
    success: Literal[False]
    errors: Annotated[list[Message], Field(min_length=1)]
    messages: list[Message]
    result: None


class Page(Strict):
    count: int
    page: int
    per_page: int
    total_count: int
    total_pages: int


class Listed(Success):
    result: list[Stored]
    result_info: Page


class Single(Success):
    result: Stored


class Batched(Strict):
    deletes: list[Stored] | None
    patches: list[Stored] | None
    puts: list[Stored] | None
    posts: list[Stored] | None


class BatchDone(Success):
    result: Batched


class Usage(Strict):
    record_usage: Annotated[int, Field(ge=0)]
    record_quota: Annotated[int, Field(ge=0)] | None


class UsageShown(Success):
    result: Usage


class ZoneDetails(Strict):
    id: Identifier
    name: str
    status: Literal["initializing", "pending", "active", "moved"]
    paused: bool
    type: Literal["full", "partial", "secondary", "internal"]


class ZoneShown(Success):
    result: ZoneDetails


class TokenDetails(Strict):
    id: Identifier
    status: Literal["active", "disabled", "expired"]


class TokenShown(Success):
    result: TokenDetails


class Deleted(Strict):
    id: Identifier


class DeleteDone(Success):
    result: Deleted
