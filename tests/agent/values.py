"""Values that tests push."""

import base64
import os
import subprocess

from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, InterfaceSettings
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PresharedKey, PrivateKey, PublicKey
from wgfleet.protocol.reach import Reach


def random_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def private_key() -> PrivateKey:
    """A clamped key, as an interface shows it."""
    return PrivateKey(subprocess.run(["wg", "genkey"], capture_output=True, text=True, check=True).stdout.strip())


def public_key(private: str) -> PublicKey:
    done = subprocess.run(["wg", "pubkey"], input=private, capture_output=True, text=True, check=True)
    return PublicKey(done.stdout.strip())


def peer(number: int, *, psk: bool = True, keepalive: int = 0) -> DesiredPeer:
    return DesiredPeer(
        allowed_ips=(f"10.8.{number >> 8}.{number & 255}/32",),
        preshared_key=PresharedKey(random_key()) if psk else None,
        persistent_keepalive=keepalive,
    )


def peers(count: int) -> dict[PublicKey, DesiredPeer]:
    return {PublicKey(random_key()): peer(number + 2) for number in range(count)}


def settings(
    name: str = "wg0",
    *,
    config_id: str = "config-1",
    key: PrivateKey | None = None,
    addresses: tuple[str, ...] = ("10.8.0.1/16",),
    routes: tuple[str, ...] = (),
    mtu: int | None = None,
    masquerade: bool = False,
    enabled: bool = True,
    reach: Reach | None = None,
) -> InterfaceSettings:
    return InterfaceSettings(
        name=InterfaceName(name),
        config_id=ConfigId(config_id),
        private_key=key or private_key(),
        listen_port=51820,
        addresses=addresses,
        routes=routes,
        mtu=mtu,
        masquerade=masquerade,
        enabled=enabled,
        reach=reach,
    )


def whole(
    generation: int, made: InterfaceSettings | None = None, having: dict[PublicKey, DesiredPeer] | None = None
) -> DesiredInterface:
    return DesiredInterface(
        generation=Generation(generation), settings=made or settings(), peers=peers(3) if having is None else having
    )
