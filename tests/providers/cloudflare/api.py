"""The routes of Cloudflare's API that exist here. A call in, an answer out; every body is checked both ways."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from tests.providers.cloudflare import models
from tests.providers.cloudflare.zones import Batch, Refused, Token, Zone

BASE = "/client/v4"
DEFAULT_PER_PAGE = 100
MAX_PER_PAGE = 5_000_000
RELATIONS: dict[str, Callable[[str, str], bool]] = {
    "": str.__eq__,
    "exact": str.__eq__,
    "contains": lambda value, wanted: wanted in value,
    "startswith": str.startswith,
    "endswith": str.endswith,
}
FILTERS = {f"{name}.{how}".removesuffix(".") for name in ("name", "content", "comment") for how in RELATIONS}
FILTERS |= {"comment.present", "comment.absent", "type", "proxied", "match"}
PAGING = {"page", "per_page", "order", "direction"}
ORDERS = {"type", "name", "content", "ttl", "proxied"}
_POST: TypeAdapter[Any] = TypeAdapter(models.Post)


@dataclass
class Call:
    """A request as it came. `body` is None where there is none."""

    method: str
    path: str
    query: list[tuple[str, str]]
    authorization: str | None
    body: bytes | None

    @property
    def write(self) -> bool:
        return self.method != "GET"


@dataclass
class Answer:
    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


class Api:
    """Cloudflare's API over some zones and tokens. `complaints` holds what was wrong with requests and answers."""

    def __init__(self, zones: list[Zone], tokens: list[Token]) -> None:
        self.zones = {zone.id: zone for zone in zones}
        self.tokens = {token.value: token for token in tokens}
        self.complaints: list[str] = []

    def token(self, call: Call) -> Token | None:
        scheme, _, value = (call.authorization or "").partition(" ")
        return self.tokens.get(value) if scheme == "Bearer" else None

    def answer(self, call: Call) -> Answer:
        """Do what the call asks, and say what Cloudflare would."""
        try:
            model, result = self._route(call)
            body: dict[str, Any] = {"success": True, "errors": [], "messages": [], **result}
            return Answer(200, self._checked(model, body))
        except Refused as refusal:
            return failure(refusal)
        except ValidationError as error:
            self.complaints.append(f"request {call.method} {call.path}: {error}")
            first = error.errors()[0]
            pointer = "/" + "/".join(str(part) for part in first["loc"])
            return failure(Refused(400, 9207, f"Request body is invalid: {first['msg']}", pointer))

    def _checked(self, model: type[BaseModel], body: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(body)
        try:
            model.model_validate_json(text)
        except ValidationError as error:
            self.complaints.append(f"answer: {error}")
        plain: dict[str, Any] = json.loads(text)
        return plain

    def _route(self, call: Call) -> tuple[type[BaseModel], dict[str, Any]]:  # noqa: PLR0911 - one return a route
        token = self._authenticated(call)
        match [call.method, *call.path.removeprefix(BASE + "/").split("/")]:
            case ["GET", "user", "tokens", "verify"]:
                return models.TokenShown, {"result": {"id": token.id, "status": token.status}}
            case ["GET", "zones", zone_id]:
                zone = self._zone(token, zone_id, "zone:read", call)
                shown = {"id": zone.id, "name": zone.name, "status": "active", "paused": False, "type": "full"}
                return models.ZoneShown, {"result": shown}
            case ["GET", "zones", zone_id, "dns_records"]:
                return models.Listed, self._list(self._zone(token, zone_id, "dns:read", call), call)
            case ["POST", "zones", zone_id, "dns_records"]:
                zone = self._zone(token, zone_id, "dns:edit", call)
                posted = zone.run(Batch(posts=[_POST.validate_json(call.body or b"")]))["posts"] or []
                return models.Single, {"result": _plain(posted[0])}
            case ["POST", "zones", zone_id, "dns_records", "batch"]:
                done = self._zone(token, zone_id, "dns:edit", call).run(_batch(call.body or b""))
                return models.BatchDone, {
                    "result": {key: [_plain(item) for item in items] if items else None for key, items in done.items()}
                }
            case ["GET", "zones", zone_id, "dns_records", "usage"]:
                zone = self._zone(token, zone_id, "dns:read", call)
                return models.UsageShown, {"result": {"record_usage": len(zone.records), "record_quota": 1000}}
            case ["DELETE", "zones", zone_id, "dns_records", record_id]:
                self._zone(token, zone_id, "dns:edit", call).run(Batch(deletes=[models.Delete(id=record_id)]))
                return models.DeleteDone, {"result": {"id": record_id}}
        raise Refused(404, 7003, f"Could not route to {call.path}, perhaps your object identifier is invalid?")

    def _authenticated(self, call: Call) -> Token:
        if not (call.authorization or "").startswith("Bearer "):
            raise Refused(400, 6003, "Invalid request headers")
        token = self.token(call)
        verifies = call.path.endswith("/user/tokens/verify")
        if token is None or token.status != "active":
            raise Refused(401, 1000, "Invalid API Token") if verifies else Refused(403, 9109, "Invalid access token")
        return token

    def _zone(self, token: Token, zone_id: str, permission: str, call: Call) -> Zone:
        if len(zone_id) > 32 or not zone_id.isalnum():
            raise Refused(404, 7003, f"Could not route to {call.path}, perhaps your object identifier is invalid?")
        if zone_id not in self.zones or not token.may(zone_id, permission):
            raise Refused(403, 10000, "Authentication error")
        return self.zones[zone_id]

    def _list(self, zone: Zone, call: Call) -> dict[str, Any]:
        query = dict(call.query)
        unknown = set(query) - FILTERS - PAGING
        if unknown or len(query) != len(call.query) or query.get("order", "type") not in ORDERS:
            self.complaints.append(f"query of {call.method} {call.path}: {call.query}")
            raise Refused(400, 9207, f"Request is invalid: {sorted(unknown) or call.query}")
        page, per_page = int(query.get("page", "1")), int(query.get("per_page", DEFAULT_PER_PAGE))
        if page < 1 or not 1 <= per_page <= MAX_PER_PAGE:
            self.complaints.append(f"page {page} of {per_page}")
            raise Refused(400, 9207, "Request is invalid: page")
        every = any if query.get("match") == "any" else all
        wanted = [(key, value) for key, value in query.items() if key in FILTERS - {"match"}]
        found = [
            record
            for record in zone.records.values()
            if not wanted or every(_matches(record, key, value) for key, value in wanted)
        ]
        order = query.get("order", "type")
        found.sort(key=lambda record: (getattr(record, order), record.id), reverse=query.get("direction") == "desc")
        shown = found[(page - 1) * per_page : page * per_page]
        info = {
            "count": len(shown),
            "page": page,
            "per_page": per_page,
            "total_count": len(found),
            "total_pages": math.ceil(len(found) / per_page),
        }
        return {"result": [_plain(record) for record in shown], "result_info": info}


def failure(refusal: Refused) -> Answer:
    """Return the answer that a refusal becomes."""
    error: dict[str, Any] = {"code": refusal.code, "message": refusal.message}
    if refusal.pointer is not None:
        error["source"] = {"pointer": refusal.pointer}
    body = {"success": False, "errors": [error], "messages": [], "result": None}
    models.Failure.model_validate_json(json.dumps(body))
    return Answer(refusal.status, body)


def _batch(body: bytes) -> Batch:
    raw = json.loads(body)
    known = {"deletes", "patches", "puts", "posts"}
    if not isinstance(raw, dict) or set(raw) - known or not all(isinstance(part, list) for part in raw.values()):
        raise Refused(400, 9207, "Request body is invalid.")
    puts = [
        models.Put.model_validate_json(
            json.dumps({"id": item.get("id"), "record": {key: item[key] for key in item if key != "id"}})
        )
        for item in raw.get("puts", [])
    ]
    return Batch(
        deletes=[models.Delete.model_validate_json(json.dumps(item)) for item in raw.get("deletes", [])],
        patches=[models.Patch.model_validate_json(json.dumps(item)) for item in raw.get("patches", [])],
        puts=puts,
        posts=[_POST.validate_json(json.dumps(item)) for item in raw.get("posts", [])],
    )


def _plain(record: models.Stored) -> dict[str, Any]:
    shown = record.model_dump(mode="json", exclude_none=True)
    return shown | {"comment": record.comment}  # the live API says null where there is none


def _matches(record: models.Stored, key: str, wanted: str) -> bool:
    what, _, how = key.partition(".")
    if how in {"present", "absent"}:
        return (record.comment is not None) == (how == "present")
    if what == "proxied":
        return record.proxied == (wanted == "true")
    return RELATIONS[how](str(getattr(record, what) or "").lower(), wanted.lower())
