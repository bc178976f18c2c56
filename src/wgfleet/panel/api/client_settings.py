"""Settings of users' files as bodies and answers have them: of a peer, of a tag, and in effect."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from wgfleet.panel.api.held_settings import HeldInEffectView, held
from wgfleet.panel.api.models import UNCHANGED, Body, PatchBody, View
from wgfleet.panel.domain.client_settings import SETTINGS, InEffect
from wgfleet.panel.domain.fields import MAX_LIST, MAX_NETWORKS
from wgfleet.panel.services.configs import MAX_KEEPALIVE_S
from wgfleet.panel.store import Tx

Text = Annotated[str, Field(max_length=64)]
AllowedIps = Annotated[
    list[Text] | None,
    Field(max_length=MAX_NETWORKS, description="Networks that files route through the tunnel."),
]
ExcludedNetworks = Annotated[
    list[Text] | None,
    Field(max_length=MAX_NETWORKS, description="Networks that files leave out of those; the pools of the config stay."),
]
Dns = Annotated[
    list[Annotated[str, Field(max_length=253)]] | None,
    Field(max_length=MAX_LIST, description="DNS servers and search domains; an empty list: none."),
]
Mtu = Annotated[int | None, Field(ge=576, le=65535, description="MTU in bytes.")]
Keepalive = Annotated[
    int | None, Field(ge=0, le=MAX_KEEPALIVE_S, description="Keepalive interval in seconds; 0 turns it off.")
]
EndpointPort = Annotated[int | None, Field(ge=1, le=65535, description="Port that files say in place of the config's.")]


class NewClientSettings(Body):
    """Settings of files; null: as tags or the config say."""

    client_allowed_ips: AllowedIps = None
    excluded_networks: ExcludedNetworks = None
    dns: Dns = None
    mtu: Mtu = None
    keepalive: Keepalive = None
    endpoint_port: EndpointPort = None


class ChangedClientSettings(PatchBody):
    """Settings of files to change; null: as tags or the config say."""

    client_allowed_ips: AllowedIps = UNCHANGED
    excluded_networks: ExcludedNetworks = UNCHANGED
    dns: Dns = UNCHANGED
    mtu: Mtu = UNCHANGED
    keepalive: Keepalive = UNCHANGED
    endpoint_port: EndpointPort = UNCHANGED


class ClientSettingsView(View):
    """Settings of files as they were set here; null: as tags or the config say."""

    client_allowed_ips: list[str] | None
    excluded_networks: list[str] | None
    dns: list[str] | None
    mtu: int | None
    keepalive: int | None
    endpoint_port: int | None


class SettingView(View):
    """A setting as the peer's file has it."""

    name: Literal["client_allowed_ips", "excluded_networks", "dns", "mtu", "keepalive", "endpoint_port"]
    value: list[str] | int | None = Field(description="null: the file says nothing of it.")
    origin: str = Field(description="What set it: `peer`, `config`, or a tag.", examples=["tag 'office'"])


class PeerDetailsView(View):
    """What of a peer only its administrators and its file know."""

    notes: str
    settings: list[SettingView] = Field(description="In effect: the nearest of the peer, its tags by name, its config.")
    held: list[HeldInEffectView] = Field(description="What nodes hold it to, by the same order.")


def details(tx: Tx, notes: str, settings: Mapping[str, InEffect], of_nodes: Mapping[str, InEffect]) -> PeerDetailsView:
    """Show notes, and settings in effect: those of the file, and those of nodes."""
    rows = [{"name": name, **settings[name]._asdict()} for name in SETTINGS]
    return PeerDetailsView.model_validate({"notes": notes, "settings": rows, "held": held(tx, of_nodes)})
