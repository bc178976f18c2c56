"""Zones, tokens and the rules that Cloudflare keeps for them. State and refusals only; nothing of HTTP."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tests.providers.cloudflare.models import Delete, Meta, Patch, Post, Put, Stored

BATCH_LIMITS = {"free": 200, "pro": 3500, "business": 3500, "enterprise": 3500}
MIN_TTL_S = {"enterprise": 30}
COMMENT_LIMITS = {"free": 100}
QUOTA = 200
ANYCAST = ("104.16.0.1", "104.16.0.2")
PROXIED_TTL_S = 300
PROXIABLE = {"A", "AAAA", "CNAME"}
_RECORD: TypeAdapter[Any] = TypeAdapter(Post)


class Refused(Exception):
    """An answer with an error of Cloudflare's; `pointer` is where in the body."""

    def __init__(self, status: int, code: int, message: str, pointer: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.pointer = status, code, message, pointer


@dataclass
class Token:
    """`permissions` are by zone id: of `zone:read`, `dns:read`, `dns:edit`; editing includes reading."""

    id: str
    value: str = field(repr=False)
    permissions: dict[str, set[str]]
    status: str = "active"

    def may(self, zone_id: str, permission: str) -> bool:
        held = self.permissions.get(zone_id, set())
        return permission in held or (permission == "dns:read" and "dns:edit" in held)


@dataclass
class Batch:
    deletes: list[Delete] = field(default_factory=list)
    patches: list[Patch] = field(default_factory=list)
    puts: list[Put] = field(default_factory=list)
    posts: list[Any] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.deletes) + len(self.patches) + len(self.puts) + len(self.posts)


@dataclass
class Zone:
    id: str
    name: str
    plan: str = "free"
    records: dict[str, Stored] = field(default_factory=dict)
    duplicate_code: int = 81058
    ids: Callable[[], int] = field(default_factory=lambda: itertools.count(1).__next__, repr=False)

    def run(self, batch: Batch) -> dict[str, list[Stored] | None]:
        """Do all or nothing: deletes, then patches, puts and posts."""
        if len(batch) > BATCH_LIMITS[self.plan]:
            raise Refused(400, 1004, f"DNS Validation Error: at most {BATCH_LIMITS[self.plan]} records a batch")
        before = dict(self.records)
        try:
            return {
                "deletes": [self._delete(item.id) for item in batch.deletes] or None,
                "patches": [self._patch(item) for item in batch.patches] or None,
                "puts": [self._replace(item.id, item.record) for item in batch.puts] or None,
                "posts": [self._add(item) for item in batch.posts] or None,
            }
        except Refused:
            self.records = before
            raise

    def answers(self, name: str, type_: str) -> set[tuple[str, int]]:
        """Return address and TTL as a resolver gets them: one proxied record makes all of the name proxied."""
        there = [record for record in self.records.values() if record.name == name and record.type == type_]
        if any(record.proxied for record in self.records.values() if record.name == name):
            return {(address, PROXIED_TTL_S) for address in ANYCAST} if type_ == "A" else set()
        return {(record.content, 300 if record.ttl == 1 else record.ttl) for record in there}

    def full_name(self, name: str) -> str:
        """A name that does not end in the zone's is taken as relative to it, as Cloudflare does."""
        name = name.removesuffix(".")
        if name == "@":
            return self.name
        return name if name == self.name or name.endswith("." + self.name) else f"{name}.{self.name}"

    def _get(self, record_id: str) -> Stored:
        if record_id not in self.records:
            raise Refused(404, 81044, "Record does not exist.")
        return self.records[record_id]

    def _delete(self, record_id: str) -> Stored:
        self._get(record_id)
        return self.records.pop(record_id)

    def _add(self, wanted: Any) -> Stored:
        if len(self.records) >= max(QUOTA, BATCH_LIMITS[self.plan] * 5):
            raise Refused(400, 81045, "Record quota exceeded.")
        record = self._checked(f"{self.ids():032x}", wanted, _now(), None)
        self.records[record.id] = record
        return record

    def _replace(self, record_id: str, wanted: Any) -> Stored:
        old = self._get(record_id)
        self.records[record_id] = self._checked(record_id, wanted, old.created_on, old)
        return self.records[record_id]

    def _patch(self, patch: Patch) -> Stored:
        old = self._get(patch.id)
        fields = old.model_dump(include={"name", "type", "content", "ttl", "proxied", "comment", "tags", "settings"})
        fields |= {key: value for key in ("priority", "private_routing") if (value := getattr(old, key)) is not None}
        fields |= patch.model_dump(exclude={"id"}, exclude_unset=True)
        try:
            wanted = _RECORD.validate_json(json.dumps(fields))
        except ValidationError as error:
            raise Refused(400, 9005, f"Content for {fields['type']} record is invalid.") from error
        return self._replace(patch.id, wanted)

    def _checked(self, record_id: str, wanted: Any, created_on: datetime, old: Stored | None) -> Stored:
        name = self.full_name(wanted.name)
        low = MIN_TTL_S.get(self.plan, 60)
        if wanted.ttl != 1 and wanted.ttl < low:
            raise Refused(400, 9021, f"TTL must be between {low} and 86400 seconds, or 1 for Automatic.")
        if wanted.proxied and wanted.type not in PROXIABLE:
            raise Refused(400, 9004, "This record type cannot be proxied.")
        if wanted.comment and len(wanted.comment) > COMMENT_LIMITS.get(self.plan, 500):
            raise Refused(400, 9208, f"Comment exceeds {COMMENT_LIMITS.get(self.plan, 500)} characters.")
        if wanted.tags and self.plan == "free":
            raise Refused(400, 9300, "DNS record has 1 tags, exceeding the quota of 0.")
        others = [record for record in self.records.values() if record.name == name and record.id != record_id]
        if any(record.type == wanted.type and record.content == wanted.content for record in others):
            words = {81057: "The record already exists.", 81058: "An identical record already exists."}
            raise Refused(400, self.duplicate_code, words[self.duplicate_code])
        if any(record.type == "CNAME" for record in others):
            raise Refused(400, 81054, "A CNAME record with that host already exists.")
        if wanted.type == "CNAME" and others:
            raise Refused(400, 81053, "An A, AAAA, or CNAME record with that host already exists.")
        commented_on = old.comment_modified_on if old and old.comment == wanted.comment else _now()
        return Stored(
            id=record_id,
            name=name,
            type=wanted.type,
            content=wanted.content,
            proxiable=wanted.type in PROXIABLE,
            proxied=wanted.proxied,
            ttl=1 if wanted.proxied else wanted.ttl,
            settings=wanted.settings,
            comment=wanted.comment,
            tags=wanted.tags,
            created_on=created_on,
            modified_on=_now(),
            meta=Meta(),
            comment_modified_on=commented_on if wanted.comment else None,
            priority=getattr(wanted, "priority", None),
            private_routing=getattr(wanted, "private_routing", None),
        )


def _now() -> datetime:
    return datetime.now(UTC)
