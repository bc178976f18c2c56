"""Imports of interfaces of other programs, as they were planned: the config with the same key, tags, peers.

Few peers are made in one transaction; of many, each step here is one of its own, and all of them are a batch, which is
undone where it cannot be ended (`fleet.peer_batches`).
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from wgfleet.imports.fleet import ImportedInterface
from wgfleet.imports.numbers import number
from wgfleet.panel import clock
from wgfleet.panel.domain import imports
from wgfleet.panel.errors import Conflict, Invalid, PanelError
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, configs, import_details, tunnel_networks
from wgfleet.panel.services.configs import ConfigSpec
from wgfleet.panel.services.fleet import endpoint_groups, peer_batches, peers, tags
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.services.fleet.peers import PeerDraft
from wgfleet.panel.services.fleet.tags import TagChanges
from wgfleet.panel.services.import_checks import FIELD
from wgfleet.panel.services.import_details import CarriedOver
from wgfleet.panel.services.import_plans import DEFAULT_ALLOWED, ImportPlan, ImportTarget, target_of
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import tags as tag_rows
from wgfleet.panel.store.tables import Config, Peer
from wgfleet.panel.vault import Vault
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason, words_of

DEFAULT_KEEPALIVE_S = 25
_OTHERS = {"pools": HintCode.OTHER_POOLS, "listen_port": HintCode.OTHER_PORT}


def make_config(
    tx: Tx,
    vault: Vault,
    actor: str,
    interface: ImportedInterface,
    name: str,
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
) -> ImportTarget:
    """Make the config of an interface, without peers."""
    if interface.private_key is None:
        raise Invalid(
            Reason(
                "the source has no private key of the server, without which its users' files stop working; read it "
                "from the server's own file"
            ),
            field="private_key",
        )
    networks = imports.pools(interface)
    spec = ConfigSpec(
        name=name,
        mode=configs.CLUSTER,
        pools=networks,
        server_addresses=imports.servers(interface, networks),
        listen_port=interface.listen_port,
        mtu=interface.mtu,
        dns=interface.dns,
        client_allowed_ips=interface.client_allowed_ips or DEFAULT_ALLOWED,
        keepalive=DEFAULT_KEEPALIVE_S if interface.keepalive is None else interface.keepalive,
        private_key=interface.private_key,
    )
    try:
        config = configs.create(tx, vault, actor, spec, panel_hosts=panel_hosts)
    except (FieldError, PanelError) as error:
        if error.field != "name" or isinstance(error, Conflict):
            raise _with_way_out(error) from None
        if name != interface.name:
            raise Invalid(words_of(error), field="config") from None
        raise Invalid(
            Reason(
                "the interface, or its file, is called {name!r}, which no config can be ({error}); give the config "
                "another name",
                name=name,
                error=words_of(error),
            ),
            field="config",
        ) from None
    if interface.endpoint is not None:
        endpoint_groups.put(tx, vault, actor, config, _endpoint(interface.endpoint))
    return target_of(tx, config, created=True)


def _with_way_out(error: FieldError | PanelError) -> FieldError | PanelError:
    """Return why a config cannot have a range, or a port, with the way out: another one."""
    name = (error.field or "").partition("[")[0]
    if name not in _OTHERS:
        return error
    kind = Invalid if isinstance(error, FieldError) else type(error)
    return kind(words_of(error), Hint(_OTHERS[name]), field=error.field)


def _endpoint(text: str) -> EndpointGroupSpec:
    """Return the endpoint that files of users say."""
    host, _, last = text.rpartition(":")
    port = number(last)
    if not host or port is None:
        raise Invalid(Reason("must be a host and a port, such as vpn.example.com:51820"), field="endpoint")
    return EndpointGroupSpec(domain=host.strip("[]"), port=port)


def draft(vault: Vault, plan: ImportPlan) -> list[PeerDraft]:
    """Seal the secrets of the new peers; call it before the transactions."""
    return [
        dataclasses.replace(
            each,
            private_key_sealed=_sealed(vault, Peer.private_key_sealed, each.id, source.private_key),
            preshared_key_sealed=_sealed(vault, Peer.preshared_key_sealed, each.id, source.preshared_key),
        )
        for each, source in zip(peers.draft(vault, plan.new), plan.sources, strict=True)
    ]


def _sealed(vault: Vault, column: sealed.Column, peer_id: str, secret: str | None) -> bytes | None:
    return sealed.seal(vault, column, peer_id, secret) if secret else None


def make_tags(tx: Tx, actor: str, wanted: Sequence[TagChanges], batch_id: str | None = None) -> None:
    """Make those of some tags that there are not yet, as part of a batch or not."""
    made = [tags.create(tx, actor, each).id for each in wanted if tag_rows.find(tx, each["name"]) is None]
    if batch_id is not None:
        peer_batches.add_made(tx, batch_id, made)


def make_peers(
    tx: Tx,
    actor: str,
    config: Config,
    plan: ImportPlan,
    drafts: Sequence[PeerDraft],
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
) -> None:
    """Make all peers at once, and note the import."""
    if drafts:
        peers.create(tx, actor, config, drafts, field=FIELD, panel_hosts=panel_hosts)
        import_details.give(tx, config.id, _of(drafts, plan.carried), clock.now())
    _record(tx, actor, config, plan)


def begin(tx: Tx, batch_id: str, config: Config, plan: ImportPlan, drafts: Sequence[PeerDraft]) -> None:
    """Note that peers are about to be made. `batch_id`: as in `peer_batches.begin`."""
    peer_batches.begin(tx, batch_id, config, drafts, made_config=plan.target.created)


def add(
    tx: Tx,
    batch_id: str,
    config: Config,
    plan: ImportPlan,
    drafts: Sequence[PeerDraft],
    slice_: slice,
    spoken_for: Collection[str],
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
) -> None:
    """Make a slice of the peers. No node hears of it yet. `spoken_for`: as in `peer_batches.add`."""
    part = drafts[slice_]
    peer_batches.add(tx, batch_id, config, part, slice_.start, panel_hosts=panel_hosts, spoken_for=spoken_for)
    import_details.give(tx, config.id, _of(part, plan.carried[slice_]), clock.now())


def complete(tx: Tx, batch_id: str, actor: str, config: Config, plan: ImportPlan, drafts: Sequence[PeerDraft]) -> None:
    """End a batch whose peers are all made, have nodes get them, and note the import."""
    peer_batches.complete(tx, batch_id, actor, config, drafts)
    _record(tx, actor, config, plan)


def _record(tx: Tx, actor: str, config: Config, plan: ImportPlan) -> None:
    counts = import_details.counted(plan.carried)
    audit.record(
        tx, actor, "imported", "config", config.id, name=config.name, new=len(plan.new), same=plan.same, **counts
    )


def _of(drafts: Sequence[PeerDraft], carried: Sequence[CarriedOver]) -> dict[str, CarriedOver]:
    return {draft.id: each for draft, each in zip(drafts, carried, strict=True)}
