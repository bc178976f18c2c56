from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.strategies import (
    clamp,
    desired_interfaces,
    interface_addresses,
    networks,
    private_keys,
    public_keys,
    text,
)
from wgfleet.protocol.desired import (
    DesiredInterface,
    DesiredPeer,
    InterfaceDelta,
    apply_delta,
    check_allowed_ips,
    delta_between,
    parse_push,
    tunnels_changed,
)
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.keys import PublicKey

KEY, OTHER_KEY = text(bytes([1]) * 32), text(bytes([2]) * 32)
PRIVATE = text(clamp(bytes([7]) * 32))


def whole(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": "whole",
        "generation": 3,
        "settings": {
            "name": "wg0",
            "config_id": "config",
            "private_key": PRIVATE,
            "listen_port": 51820,
            "addresses": ["10.8.0.1/24", "fd00::1/64"],
            "routes": ["10.20.0.0/16"],
        },
        "peers": {KEY: {"allowed_ips": ["10.8.0.2/32", "fd00::2/128"], "persistent_keepalive": 25}},
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = body
        for parent in parents:
            target = target[parent]
        target[last] = value
    return body


def delta(**changes: Any) -> dict[str, Any]:
    body = {"type": "delta", "name": "wg0", "config_id": "config", "base": 3, "generation": 4}
    return {**body, "upsert": {KEY: {"allowed_ips": ["10.8.0.2/32"]}}, "remove": [OTHER_KEY], **changes}


def refusal(body: object, name: str = "wg0") -> FieldError:
    with pytest.raises(FieldError) as caught:
        parse_push(body if isinstance(body, bytes) else msgspec.json.encode(body), name)
    return caught.value


def test_a_whole_push_is_read_with_its_defaults() -> None:
    push = parse_push(msgspec.json.encode(whole()), "wg0")
    assert isinstance(push, DesiredInterface)
    assert push.generation == 3
    assert (push.settings.mtu, push.settings.masquerade, push.settings.enabled) == (None, False, True)
    assert push.peers[PublicKey(KEY)] == DesiredPeer(("10.8.0.2/32", "fd00::2/128"), None, 25)


def test_a_delta_is_read_with_its_defaults() -> None:
    push = parse_push(msgspec.json.encode(delta()), "wg0")
    assert isinstance(push, InterfaceDelta)
    assert (push.base, push.generation, push.settings, push.remove) == (3, 4, None, (OTHER_KEY,))


@given(desired_interfaces())
def test_what_is_encoded_is_read_back_the_same(desired: DesiredInterface) -> None:
    assert parse_push(msgspec.json.encode(desired), "wg0") == desired


@pytest.mark.parametrize(
    ("changes", "field", "detail"),
    [
        ({"surprise": 1}, "surprise", "is not a known field"),
        ({"settings__surprise": 1}, "settings.surprise", "is not a known field"),
        ({"generation": 0}, "generation", "must be 1 or more"),
        ({"generation": "3"}, "generation", "expected `int`, got `str`"),
        ({"generation": 3.5}, "generation", "expected `int`, got `float`"),
        ({"generation": True}, "generation", "expected `int`, got `bool`"),
        ({"settings": {}}, "settings.name", "is required"),
        ({"settings": None}, "settings", "expected `object`, got `null`"),
        ({"settings__name": "wg1"}, "settings.name", "'wg1' does not match the path, 'wg0'"),
        ({"settings__private_key": KEY}, "settings.private_key", "is not a clamped"),
        ({"settings__private_key": "secret"}, "settings.private_key", "must be a key of 32 bytes"),
        ({"settings__listen_port": 0}, "settings.listen_port", "must be a port"),
        ({"settings__listen_port": 65536}, "settings.listen_port", "must be a port"),
        ({"settings__mtu": 1279}, "settings.mtu", "must be 1280 to 65455 bytes"),
        ({"settings__mtu": 65456}, "settings.mtu", "must be 1280 to 65455 bytes"),
        ({"settings__addresses": ["10.8.0.1/24", "10.8.0.1"]}, "settings.addresses[1]", "no prefix length"),
        ({"settings__addresses": ["FD00::1/64"]}, "settings.addresses[0]", "write fd00::1/64"),
        ({"settings__addresses": ["fe80::1/64"]}, "settings.addresses[0]", "link-local"),
        ({"settings__routes": ["10.20.0.1/16"]}, "settings.routes[0]", "host bits set; the network is 10.20.0.0/16"),
        ({"peers": {"short": {"allowed_ips": []}}}, "peers.short", "must be a key of 32 bytes"),
        ({"peers": {KEY[:42] + "F=": {"allowed_ips": []}}}, f"peers.{KEY[:42]}F=", "not a canonical base64 key"),
        ({"peers": {KEY: {}}}, "peers[...].allowed_ips", "is required"),
        ({"peers": {KEY: {"allowed_ips": ["x"]}}}, f"peers.{KEY}.allowed_ips[0]", "is not a network"),
        ({"peers": {KEY: {"allowed_ips": ["10.8.0.2"]}}}, f"peers.{KEY}.allowed_ips[0]", "write 10.8.0.2/32"),
        ({"peers": {KEY: {"allowed_ips": [], "endpoint": "1.2.3.4:5"}}}, "peers[...].endpoint", "is not a known field"),
        (
            {"peers": {KEY: {"allowed_ips": [], "persistent_keepalive": 65536}}},
            "peers[...].persistent_keepalive",
            "expected `int` <= 65535",
        ),
        (
            {"peers": {KEY: {"allowed_ips": [], "preshared_key": text(bytes(32))}}},
            f"peers.{KEY}.preshared_key",
            "is all zeros",
        ),
        (
            {"peers": {KEY: {"allowed_ips": ["10.8.0.2/32"]}, OTHER_KEY: {"allowed_ips": ["10.8.0.2/32"]}}},
            f"peers.{OTHER_KEY}.allowed_ips",
            f"10.8.0.2/32 is already an allowed IP of peer {KEY}",
        ),
    ],
)
def test_a_wrong_whole_push_is_refused_with_the_field(changes: dict[str, Any], field: str, detail: str) -> None:
    error = refusal(whole(**changes))
    assert error.field == field
    assert detail in error.detail


@pytest.mark.parametrize(
    ("changes", "field", "detail"),
    [
        ({"name": "wg1"}, "name", "'wg1' does not match the interface in the path, 'wg0'"),
        ({"name": "../etc"}, "name", "must be 1 to 15 characters"),
        ({"base": 4}, "generation", "must be above base 4, not 4"),
        ({"base": -2, "generation": 0}, "generation", "must be 1 or more"),
        ({"remove": [OTHER_KEY, "short"]}, "remove[1]", "must be a key of 32 bytes"),
        ({"upsert": {KEY: {"allowed_ips": ["10.8.0.3/24"]}}}, f"upsert.{KEY}.allowed_ips[0]", "host bits set"),
        ({"settings": {**whole()["settings"], "name": "wg1"}}, "settings.name", "does not match the path"),
        ({"peers": {}}, "peers", "is not a known field"),
    ],
)
def test_a_wrong_delta_is_refused_with_the_field(changes: dict[str, Any], field: str, detail: str) -> None:
    error = refusal(delta(**changes))
    assert error.field == field
    assert detail in error.detail


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b"7", b'"x"', b"\xff", b'{"type":"whole","settings":{"name":"\xff"}}', b"[" * 100_000],
)
def test_a_body_that_is_no_object_is_refused_as_the_body(body: bytes) -> None:
    assert refusal(body).field == "body"


@pytest.mark.parametrize("tag", ["part", None, 1])
def test_a_push_of_another_type_is_refused(tag: object) -> None:
    assert refusal({"type": tag}).field == "type"


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_field_error(body: bytes) -> None:
    refusal(body)


def test_a_refusal_does_not_carry_the_private_key() -> None:
    secret = text(bytes([9]) * 32)
    assert secret not in str(refusal(whole(settings__private_key=secret)))


@given(private_keys, st.lists(interface_addresses(), max_size=3), st.lists(networks(), max_size=3), public_keys)
def test_every_canonical_value_is_accepted(private: str, addresses: list[str], routes: list[str], key: str) -> None:
    body = whole(settings__private_key=private, settings__addresses=addresses, settings__routes=routes)
    body["peers"] = {key: {"allowed_ips": routes}}
    assert parse_push(msgspec.json.encode(body), "wg0").generation == 3


def test_one_peer_may_name_a_network_twice() -> None:
    check_allowed_ips({PublicKey(KEY): DesiredPeer(("10.8.0.2/32", "10.8.0.2/32"))})


@given(desired_interfaces(1), desired_interfaces(2))
def test_applying_the_delta_between_two_states_gives_the_second(old: DesiredInterface, new: DesiredInterface) -> None:
    change = delta_between(old, new)
    assert apply_delta(old, change) == new
    assert parse_push(msgspec.json.encode(change), "wg0") == change


@given(desired_interfaces(1), desired_interfaces(2))
def test_a_delta_names_only_what_changes(old: DesiredInterface, new: DesiredInterface) -> None:
    change = delta_between(old, new)
    assert (change.settings is None) == (old.settings == new.settings)
    assert set(change.remove) == set(old.peers) - set(new.peers)
    assert all(old.peers.get(key) != peer for key, peer in change.upsert.items())
    assert all(old.peers[key] == new.peers[key] for key in set(new.peers) - set(change.upsert))


@given(desired_interfaces(1), desired_interfaces(2), desired_interfaces(3))
def test_deltas_one_after_the_other_give_the_last_state(
    first: DesiredInterface, second: DesiredInterface, third: DesiredInterface
) -> None:
    moved = apply_delta(first, delta_between(first, second))
    assert apply_delta(moved, delta_between(second, third)) == third


@given(desired_interfaces(1), desired_interfaces(2))
def test_applying_a_delta_leaves_the_old_state_as_it_was(old: DesiredInterface, new: DesiredInterface) -> None:
    before = msgspec.json.encode(old)
    apply_delta(old, delta_between(old, new))
    assert msgspec.json.encode(old) == before


def test_a_speed_alone_is_nothing_for_wireguard() -> None:
    before = {PublicKey("a"): DesiredPeer(("10.8.0.2/32",)), PublicKey("b"): DesiredPeer(("10.8.0.3/32",))}
    upsert = {
        PublicKey("a"): DesiredPeer(("10.8.0.2/32",), download=1_000_000),
        PublicKey("b"): DesiredPeer(("10.8.0.4/32",), upload=1_000_000),
        PublicKey("c"): DesiredPeer(("10.8.0.5/32",)),
    }
    assert list(tunnels_changed(before, upsert)) == ["b", "c"]
