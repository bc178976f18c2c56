"""Provider `cloudflare`: a zone by its id, one call for each change, marks in the records' comments.

A batch is one transaction: deletes, then patches, puts, posts. All records are sent with `proxied` false.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from wgfleet.panel.dns.providers import TEXT_TTL_S, Account, Blocked, Capabilities, Finding, OutsideZone
from wgfleet.panel.dns.providers.cloudflare_api import UNREADABLE, Api
from wgfleet.panel.dns.providers.cloudflare_records import (
    Batched,
    RecordPage,
    Row,
    Usage,
    Zone,
    body_of,
    encloses,
    parsed,
    record_of,
    text_body,
)
from wgfleet.panel.domain.dns.records import ADDRESS_TYPES, Changes, Record
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.plugin_fields import ApiUrl
from wgfleet.panel.plugins import PanelSetting
from wgfleet.protocol.reasons import Reason

API_URL = "https://api.cloudflare.com/client/v4"
DNS_EDIT, DNS_READ, ZONE_READ = "Zone / DNS / Edit", "Zone / DNS / Read", "Zone / Zone / Read"
TYPES = (*ADDRESS_TYPES, "CNAME")
PER_PAGE = 1000
MAX_PAGES = 20  # of the records at one name; more cannot be right
_ZONE_ID = re.compile(r"[\w-]{1,64}", re.ASCII)  # it becomes part of a path
_TOKEN = re.compile(r"[!-~]+")  # otherwise the HTTP library puts the whole header into its error
# Published: 1,200 calls in five minutes for a user's tokens and dashboard together; some are left for people.
CALLS, WINDOW_S = 1000, 300.0
MIN_TTL_S, MIN_TTL_ENTERPRISE_S, MAX_TTL_S = 60, 30, 86400
BATCH_LIMIT_FREE, BATCH_LIMIT_PAID = 200, 3500


class CloudflareOptions(BaseModel):
    """The API token, and the zone's plan, which limits the size of a call. Times in s."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    token: Annotated[SecretStr, PanelSetting("dns.cloudflare_token")] = Field(min_length=1)
    plan: Literal["free", "pro", "business", "enterprise"] = "free"
    api_url: Annotated[ApiUrl, PanelSetting("dns.cloudflare_url")] = API_URL
    timeout_s: float = Field(default=20.0, gt=0, le=120)

    @field_validator("token")
    @classmethod
    def _printable(cls, value: SecretStr) -> SecretStr:
        token = value.get_secret_value().strip()  # copying, or reading from a file, adds a line end
        if not _TOKEN.fullmatch(token):
            raise ValueError(
                Reason("must be one word of ASCII characters, as Cloudflare shows it")
            )  # without the value itself
        return SecretStr(token)


class Cloudflare:
    """One API token, for one zone. May be used from several threads."""

    name: ClassVar[str] = "cloudflare"
    Options: ClassVar[type[BaseModel]] = CloudflareOptions

    def __init__(self, zone: str, options: BaseModel) -> None:
        if not isinstance(options, CloudflareOptions):
            raise TypeError(f"options of cloudflare, not {type(options).__name__}")
        if not _ZONE_ID.fullmatch(zone):
            raise PermanentError(
                Reason("zone {zone!r} is not the id of a zone, which is on the zone's overview page", zone=zone)
            )
        self._zone = zone
        self._path = f"zones/{zone}/dns_records"
        self._names_in_zone: set[str] = set()  # names that are known to be in the zone
        self._api = Api(options.api_url, options.token, options.timeout_s)
        digest = hashlib.sha256(options.token.get_secret_value().encode()).hexdigest()
        self._account = Account(id=f"{self.name} {digest[:32]}", calls=CALLS, window_s=WINDOW_S)
        self._capabilities = Capabilities(
            min_ttl=MIN_TTL_ENTERPRISE_S if options.plan == "enterprise" else MIN_TTL_S,
            max_ttl=MAX_TTL_S,
            automatic_ttl=True,
            atomic=True,
            batch=BATCH_LIMIT_FREE if options.plan == "free" else BATCH_LIMIT_PAID,
            marks="comment",
            check_calls=4,
            texts=True,
        )

    def __repr__(self) -> str:
        return f"Cloudflare(zone={self._zone!r})"

    @property
    def capabilities(self) -> Capabilities:
        """Return what the zone's plan allows."""
        return self._capabilities

    @property
    def account(self) -> Account:
        """Return the token's account, with a digest of it as id."""
        return self._account

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def read(self, name: str) -> tuple[Record, ...]:
        """Return the addresses and aliases at exactly `name`; one call per thousand records."""
        return tuple(record_of(row) for row in self._rows(name) if row.type in TYPES)

    def _rows(self, name: str) -> list[Row]:
        rows: dict[str, Row] = {}  # by id: a write in the meantime may shift a record to the next page
        page = pages = 1
        while page <= pages:
            query = {"name.exact": name, "per_page": str(PER_PAGE), "page": str(page)}
            listed = parsed(RecordPage, self._api.call("GET", self._path, DNS_READ, query=query))
            rows |= {row.id: row for row in listed.result}
            pages = listed.result_info.total_pages if listed.result else page
            if pages > MAX_PAGES:
                raise TransientError(
                    Reason(
                        "Cloudflare gave {unreadable}: {pages} pages of records at one name",
                        unreadable=UNREADABLE,
                        pages=pages,
                    )
                )
            page += 1
        at_name = [row for row in rows.values() if row.name.lower() == name]
        if at_name:
            self._names_in_zone.add(name)
        return at_name

    def apply(self, name: str, changes: Changes) -> int:
        """Make the changes in one call, or in several if the plan's limit asks: creates first, deletes last."""
        calls = 0
        if changes.creates and name not in self._names_in_zone:
            calls += self._refuse_other_zones(name)
        for batch in self._batches(name, changes):
            self._send(name, batch)
            calls += 1
        return calls

    def add_text(self, name: str, text: str) -> None:
        """Create a TXT record, unless the name has it."""
        if any(_holds(row, text) for row in self._rows(name)):
            return
        if name not in self._names_in_zone:
            self._refuse_other_zones(name)
        self._send(name, {"posts": [text_body(name, text, TEXT_TTL_S)]})

    def remove_text(self, name: str, text: str) -> None:
        """Delete a TXT record, if the name has it."""
        found = [row.id for row in self._rows(name) if _holds(row, text)]
        if found:
            self._send(name, {"deletes": [{"id": record_id} for record_id in found]})

    def _send(self, name: str, batch: dict[str, list[dict[str, Any]]]) -> None:
        done = parsed(Batched, self._api.call("POST", f"{self._path}/batch", DNS_EDIT, body=batch)).result
        # A name that does not end in the zone's is taken as relative to it.
        astray = [row.id for row in done.posts or () if row.name.lower() != name]
        if astray:
            undo = {"deletes": [{"id": record_id} for record_id in astray]}
            undone = self._tried("POST", f"{self._path}/batch", DNS_EDIT, body=undo)
            left = (
                Reason(
                    "; records were created at {name}.ZONE, and deleting them failed: {undone}; delete them there",
                    name=name,
                    undone=undone,
                )
                if isinstance(undone, Exception)
                else ""
            )
            raise OutsideZone(
                Reason(
                    "name {name!r} is not in zone {zone}; set the zone that it is in{left}",
                    name=name,
                    zone=self._zone,
                    left=left,
                )
            )
        self._names_in_zone.add(name)

    def check(self, name: str) -> list[Finding]:
        """Check token, zone and permissions with four calls that change nothing."""
        verified = self._tried("GET", "user/tokens/verify", "any")
        if isinstance(verified, TransientError):
            return [Finding("token", ok=False, detail=str(verified), certain=False)]
        used = self._tried("GET", f"{self._path}/usage", DNS_READ)
        if isinstance(used, Exception):
            token = str(verified) if isinstance(verified, Exception) else "it is active"
            return [
                Finding("token", ok=not isinstance(verified, Exception), detail=token),
                Finding("records", ok=False, detail=str(used), certain=not isinstance(used, TransientError)),
            ]
        # A token of an account, unlike one of a user, fails verification but works all the same.
        usage = parsed(Usage, used.get("result"))
        quota = "the account's quota" if usage.record_quota is None else f"{usage.record_quota} allowed"
        return [
            Finding("token", ok=True, detail=Reason("it is active and may read the zone's records")),
            Finding(
                "records",
                ok=True,
                detail=Reason("{record_usage} in the zone, {quota}", record_usage=usage.record_usage, quota=quota),
            ),
            self._zone_found(name),
            self._edit_found(),
        ]

    def _zone_found(self, name: str) -> Finding:
        shown = self._tried("GET", f"zones/{self._zone}", ZONE_READ)
        if isinstance(shown, TransientError):
            return Finding("zone", ok=False, detail=str(shown), certain=False)
        if isinstance(shown, Exception):
            told = Reason(
                "whether it holds {name!r} cannot be told without the permission {zone_read!r}; the first change shows",
                name=name,
                zone_read=ZONE_READ,
            )
            return Finding("zone", ok=True, detail=told)
        zone = parsed(Zone, shown.get("result")).name
        if not encloses(zone, name):
            return Finding(
                "zone", ok=False, detail=Reason("it is {zone!r}, which {name!r} is not in", zone=zone, name=name)
            )
        return Finding("zone", ok=True, detail=Reason("it is {zone!r}, which {name!r} is in", zone=zone, name=name))

    def _edit_found(self) -> Finding:
        """Send an empty batch: a token without the permission is refused before the content is read."""
        sent = self._tried("POST", f"{self._path}/batch", DNS_EDIT, body={})
        if not isinstance(sent, Exception):
            return Finding("edit", ok=True, detail=Reason("the token has {dns_edit!r}", dns_edit=DNS_EDIT))
        if isinstance(sent, TransientError) or DNS_EDIT in str(sent):
            return Finding("edit", ok=False, detail=str(sent), certain=not isinstance(sent, TransientError))
        return Finding(
            "edit",
            ok=True,
            detail=Reason("whether the token has {dns_edit!r} cannot be told: {sent}", dns_edit=DNS_EDIT, sent=sent),
        )

    def _tried(self, method: str, path: str, needs: str, body: Any = None) -> dict[str, Any] | Exception:
        try:
            return self._api.call(method, path, needs, body=body)
        except Blocked:
            raise
        except (TransientError, PermanentError) as error:
            return error

    def _refuse_other_zones(self, name: str) -> int:
        """Raise if the name is not in the zone, as far as the token may read that; return the number of calls."""
        shown = self._tried("GET", f"zones/{self._zone}", ZONE_READ)
        if isinstance(shown, TransientError):
            raise shown
        if isinstance(shown, dict):
            zone = parsed(Zone, shown.get("result")).name
            if not encloses(zone, name):
                raise OutsideZone(
                    Reason(
                        "name {name!r} is not in zone {zone!r} ({published}); set the zone that it is in",
                        name=name,
                        zone=zone,
                        published=self._zone,
                    )
                )
            self._names_in_zone.add(name)
        return 1

    def _batches(self, name: str, changes: Changes) -> Iterator[dict[str, list[dict[str, Any]]]]:
        """Split the changes into request bodies; if several, creates come first, so that the name is never empty."""
        items = [
            *(("posts", body_of(name, record)) for record in changes.creates),
            *(("patches", {"id": old.handle, **body_of(name, new)}) for old, new in changes.updates),
            *(("deletes", {"id": record.handle}) for record in changes.deletes),
        ]
        for start in range(0, len(items), self._capabilities.batch):
            batch: dict[str, list[dict[str, Any]]] = {}
            for kind, item in items[start : start + self._capabilities.batch]:
                batch.setdefault(kind, []).append(item)
            yield batch


def _holds(row: Row, text: str) -> bool:
    return row.type == "TXT" and row.content.strip('"') == text
