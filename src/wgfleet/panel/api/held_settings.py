"""Settings that nodes hold peers to, as bodies and answers have them: of a peer, a tag, a config, and in effect."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from wgfleet.panel.api.models import UNCHANGED, Body, PatchBody, View
from wgfleet.panel.domain.client_settings import InEffect
from wgfleet.panel.domain.held_settings import HELD
from wgfleet.panel.services import held_settings, rule_sets
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Config, Peer, Tag
from wgfleet.protocol.destinations import MAX_NAME
from wgfleet.protocol.quantities import LEAST_SPEED, MAX_SPEED

_RANGE = f"in bits per second, {LEAST_SPEED} to {MAX_SPEED}; 0: no limit, null: as tags or the config say"
Speed = Annotated[int | None, Field(ge=0, le=MAX_SPEED, examples=[20_000_000])]
RuleSetReference = Annotated[str | None, Field(max_length=MAX_NAME, examples=["guests"])]
DOWNLOAD, UPLOAD = f"How fast each peer gets, {_RANGE}.", f"How fast each peer sends, {_RANGE}."

RULE_SET = "Id or name of the set of destination rules for each peer; empty: none, null: as tags or the config say."
_SHOWN_RULE_SET = "Name of the set of destination rules; empty: none, null: as tags or the config say."


class NewHeldSettings(Body):
    """What nodes hold peers to."""

    download_speed: Speed = Field(default=None, description=DOWNLOAD)
    upload_speed: Speed = Field(default=None, description=UPLOAD)
    rule_set: RuleSetReference = Field(default=None, description=RULE_SET)


class ChangedHeldSettings(PatchBody):
    """What of it is to change."""

    download_speed: Speed = Field(default=UNCHANGED, description=DOWNLOAD)
    upload_speed: Speed = Field(default=UNCHANGED, description=UPLOAD)
    rule_set: RuleSetReference = Field(default=UNCHANGED, description=RULE_SET)


class HeldSettingsView(View):
    """What nodes hold peers to, as it was set here."""

    download_speed: int | None = Field(description=DOWNLOAD)
    upload_speed: int | None = Field(description=UPLOAD)
    rule_set: str | None = Field(description=_SHOWN_RULE_SET)


class HeldInEffectView(View):
    """What nodes hold a peer to."""

    name: Literal["download_speed", "upload_speed", "rule_set"]
    value: int | str | None = Field(
        description="A speed in bits per second; null and 0: no limit. A name of a set of rules; null and empty: none."
    )
    origin: str = Field(description="What set it: `peer`, `config`, or a tag.", examples=["tag 'office'"])


def set_here(tx: Tx, rows: Iterable[Peer | Tag | Config]) -> dict[str, dict[str, Any]]:
    """Return what rows set, by their ids, as answers have it."""
    found = {row.id: held_settings.of_row(row) for row in rows}
    names = rule_sets.names(tx, [each.rule_set for each in found.values()])
    return {row_id: _named(each._asdict(), names) for row_id, each in found.items()}


def held(tx: Tx, settings: Mapping[str, InEffect]) -> list[HeldInEffectView]:
    """Show settings in effect."""
    names = rule_sets.names(tx, [settings["rule_set"].value])
    values = _named({name: settings[name].value for name in HELD}, names)
    return [
        HeldInEffectView.model_validate({"name": name, "value": values[name], "origin": settings[name].origin})
        for name in HELD
    ]


def _named(values: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    set_id = values["rule_set"]
    return {**values, "rule_set": None if set_id is None else names.get(set_id, set_id)}
