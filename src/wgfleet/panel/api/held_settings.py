"""Settings that nodes hold peers to, as bodies and answers have them: of a peer, a tag, a config, and in effect."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from wgfleet.panel.api.models import UNCHANGED, Body, PatchBody, View
from wgfleet.panel.domain.client_settings import InEffect
from wgfleet.panel.domain.held_settings import HELD
from wgfleet.protocol.quantities import LEAST_SPEED, MAX_SPEED

_RANGE = f"in bits per second, {LEAST_SPEED} to {MAX_SPEED}; 0: no limit, null: as tags or the config say"
Speed = Annotated[int | None, Field(ge=0, le=MAX_SPEED, examples=[20_000_000])]
DOWNLOAD, UPLOAD = f"How fast each peer gets, {_RANGE}.", f"How fast each peer sends, {_RANGE}."


class NewHeldSettings(Body):
    """What nodes hold peers to."""

    download_speed: Speed = Field(default=None, description=DOWNLOAD)
    upload_speed: Speed = Field(default=None, description=UPLOAD)


class ChangedHeldSettings(PatchBody):
    """What of it is to change."""

    download_speed: Speed = Field(default=UNCHANGED, description=DOWNLOAD)
    upload_speed: Speed = Field(default=UNCHANGED, description=UPLOAD)


class HeldSettingsView(View):
    """What nodes hold peers to, as it was set here."""

    download_speed: int | None = Field(description=DOWNLOAD)
    upload_speed: int | None = Field(description=UPLOAD)


class HeldInEffectView(View):
    """What nodes hold a peer to."""

    name: Literal["download_speed", "upload_speed"]
    value: int | None = Field(description="In bits per second; null and 0: no limit.")
    origin: str = Field(description="What set it: `peer`, `config`, or a tag.", examples=["tag 'office'"])


def held(settings: Mapping[str, InEffect]) -> list[HeldInEffectView]:
    """Show settings in effect."""
    return [HeldInEffectView.model_validate({"name": name, **settings[name]._asdict()}) for name in HELD]
