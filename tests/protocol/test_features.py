"""What 0.1.0 does not know is tied to a feature, and left out for those that do not have it."""

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, get_args

import msgspec
import pytest
from msgspec import NODEFAULT, Struct

from wgfleet.protocol import backbone, desired, destinations, features, messages, open_flows, quota, reach, relay, usage
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, FloatingSettings, InterfaceDelta, InterfaceSettings
from wgfleet.protocol.features import ALL, NONE, Feature
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.messages import Takeover, TakeoverPeer, WatchMessage

# What the agent of 0.1.0 takes in requests; it refuses any other field. Frozen: nothing is ever added here.
REQUESTS_OF_0_1_0: dict[type[Struct], str] = {
    DesiredInterface: "generation settings peers",
    InterfaceDelta: "name config_id base generation settings upsert remove",
    InterfaceSettings: (
        "name config_id private_key listen_port addresses routes mtu masquerade enabled floating"
    ),
    FloatingSettings: "addresses witnesses probe_key give_up_after_s",
    DesiredPeer: "allowed_ips preshared_key persistent_keepalive",
    Takeover: "peers timeout_s",
    TakeoverPeer: "public_key endpoint source",
    messages.ProbeRequest: "interface targets timeout_s",
    messages.ProbeTarget: "endpoint public_key private_key",
    messages.Certificate: "certificate ca",
}  # fmt: skip
# What later releases brought, as it was when it came.
REQUESTS_SINCE: dict[type[Struct], str] = {
    desired.MuteSettings: "witnesses probe_key",
    destinations.RuleSet: "name rules otherwise_allowed",
    destinations.DestinationRule: "allow networks transport ports place",
    reach.Reach: "node_ports denied_networks interfaces",
    messages.Revoked: "crl",
    backbone.Backbone: "number private_key port tunnel_port nodes",
    backbone.BackboneNode: "number name public_key endpoint",
    relay.RelayRequest: "config_id peers for_s",
    relay.RelayEnd: "peers",
    relay.RelayProlongation: "peers for_s",
    relay.RelayedPeer: "public_key endpoint target",
    open_flows.FlowQuestion: "networks",
    open_flows.EndedFlows: "flows",
    usage.UsageRequest: "epoch sequence",
    quota.QuotaUpdate: "configs whole",
    quota.Quota: "public_key life counted left",
}
# What it answers and reports. Frozen as well.
ANSWERS_OF_0_1_0: dict[type[Struct], str] = {
    messages.Applied: "generation changed verified seconds drift held",
    messages.Refusal: "title status detail reason type field generation config_id",
    messages.TakeoverResult: "answered unanswered",
    messages.ProbeResult: "answered unanswered unsent",
    messages.InterfaceStatus: "name config_id generation peers up drift summary",
    messages.AgentStatus: (
        "node_id version backend started_at now certificate_expires_at scan_interval_s interfaces"
    ),
    messages.InterfaceReport: "name config_id generation up summary drift held peers removed_peers",
    messages.Snapshot: "status interfaces",
    messages.Change: "now interfaces gone",
    messages.Load: "cpu memory bandwidth bandwidth_bps",
    messages.Heartbeat: "now load",
    messages.Refused: "now remote reason",
    messages.CertificateRequest: "csr",
    messages.EnrollRequest: "token csr port",
}  # fmt: skip
KINDS_OF_0_1_0 = {"snapshot", "change", "heartbeat", "refused"}

KEY = "A" * 43 + "="
SETTINGS = InterfaceSettings(
    InterfaceName("wg0"), ConfigId("c1"), PrivateKey(KEY), 51820,
    floating=FloatingSettings(("203.0.113.1",), (), PrivateKey(KEY), 3.0),
)  # fmt: skip
WHOLE = DesiredInterface(Generation(7), SETTINGS, {PublicKey(KEY): DesiredPeer(("10.0.0.2/32",))})


def fields(kind: type[Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}


@pytest.mark.parametrize("kind", REQUESTS_OF_0_1_0 | REQUESTS_SINCE)
def test_each_field_of_a_request_that_0_1_0_does_not_know_is_tied_to_a_feature(kind: type[Struct]) -> None:
    """A new field: tie it in `protocol.features.FIELDS`, with a default; never add it to the list here."""
    assert fields(kind) - set((REQUESTS_OF_0_1_0 | REQUESTS_SINCE)[kind].split()) == features.FIELDS[kind].keys()


def test_what_is_tied_to_a_feature_has_a_default() -> None:
    tied = [(kind, name) for kind, names in features.FIELDS.items() for name in names]
    found = {(kind, field.name): field for kind, _ in tied for field in msgspec.structs.fields(kind)}
    assert [each for each in tied if found[each].required] == []


def test_every_request_is_in_the_list() -> None:
    assert features.FIELDS.keys() == REQUESTS_OF_0_1_0.keys() | REQUESTS_SINCE.keys()
    strict = {
        kind
        for module in (backbone, desired, destinations, messages, open_flows, quota, reach, relay, usage)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Struct) and kind.__struct_config__.forbid_unknown_fields
    }
    assert strict == REQUESTS_OF_0_1_0.keys() | REQUESTS_SINCE.keys()


@pytest.mark.parametrize("kind", REQUESTS_OF_0_1_0)
def test_a_field_at_its_default_is_not_sent(kind: type[Struct]) -> None:
    assert kind.__struct_config__.omit_defaults


@pytest.mark.parametrize("kind", ANSWERS_OF_0_1_0)
def test_an_answer_of_0_1_0_is_understood(kind: type[Struct]) -> None:
    """A new field of an answer has a default, and what is unknown in it is skipped."""
    old = set(ANSWERS_OF_0_1_0[kind].split())
    assert old <= fields(kind)
    new = [field for field in msgspec.structs.fields(kind) if field.encode_name not in old]
    assert [f.name for f in new if f.default is NODEFAULT and f.default_factory is NODEFAULT] == []
    assert not kind.__struct_config__.forbid_unknown_fields


def test_a_new_kind_of_watch_message_is_sent_to_those_that_know_it() -> None:
    kinds = {kind.__struct_config__.tag: kind for kind in get_args(WatchMessage)}
    assert {kind for tag, kind in kinds.items() if tag not in KINDS_OF_0_1_0} == features.MESSAGES.keys()
    assert all(features.for_panel(msgspec.convert({"now": 1.0}, messages.Heartbeat), known) for known in (NONE, ALL))


def names(value: Any, kind: str = "") -> Iterator[str]:
    """Every field of an encoded push."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from names(item, kind)


class Later(Struct, frozen=True, omit_defaults=True):
    """As a struct of a request with two new fields, one of them of a feature that all agents have by now."""

    name: str
    inner: "tuple[Later, ...]" = ()
    by_name: "dict[str, Later]" = {}
    fresh: str = ""


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "FIELDS", {Later: MappingProxyType({"fresh": Feature.FEATURES})})


@pytest.mark.usefixtures("later")
def test_what_the_other_side_does_not_know_is_left_out_at_every_depth() -> None:
    leaf = Later("leaf", fresh="x")
    tree = Later("root", inner=(Later("a", by_name={"k": leaf}), leaf), by_name={"l": leaf}, fresh="y")
    old = msgspec.json.encode(features.for_agent(tree, NONE))
    assert b"fresh" not in old
    assert msgspec.json.decode(old, type=Later) == Later(
        "root", inner=(Later("a", by_name={"k": Later("leaf")}), Later("leaf")), by_name={"l": Later("leaf")}
    )
    assert features.for_agent(tree, ALL) is tree


def test_a_push_that_has_nothing_new_is_the_same_object() -> None:
    assert features.for_agent(WHOLE, NONE) is WHOLE


def test_an_agent_of_0_1_0_understands_a_whole_and_a_delta() -> None:
    allowed = {name for text in REQUESTS_OF_0_1_0.values() for name in text.split()} | {"type", KEY}
    delta = InterfaceDelta(
        name=InterfaceName("wg0"),
        config_id=ConfigId("c1"),
        base=Generation(1),
        generation=Generation(2),
        settings=SETTINGS,
    )
    for push in (WHOLE, delta):
        sent = msgspec.json.decode(msgspec.json.encode(features.for_agent(push, NONE)))
        assert set(names(sent)) <= allowed


def test_names_of_a_later_release_are_skipped() -> None:
    assert features.known(["features", "of the year 2040"]) == {Feature.FEATURES}
    assert features.from_header("features, of the year 2040,") == {Feature.FEATURES}
    assert features.from_header(None) == NONE
    assert features.from_header(features.header()) == ALL


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, 0), ("", 0), ("150.0", 150), ("7", 7), ("-1", 0), ("soon", 0), ("nan", 0), ("inf", 3600), ("1e9", 3600)],
)
def test_for_how_long_counters_are_held_back_is_a_sane_number(value: str | None, seconds: float) -> None:
    assert features.held_back_s(value) == seconds
