"""The registry of sealed columns is complete, keeps its contexts, and finds every secret of a database."""

import base64

import pytest

from tests.panel.dns.desk import Desk
from tests.panel.world import ACTOR, World
from wgfleet.panel.domain.identities import ProviderKind
from wgfleet.panel.services import backups, configs, installation, web_certificates
from wgfleet.panel.services.access import providers, users
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.access.providers import ProviderSpec
from wgfleet.panel.services.access.users import UserSpec
from wgfleet.panel.services.fleet import authority_rotation, nodes, peers, probe_keys
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.panel.services.fleet.peers import PeerSpec
from wgfleet.panel.services.web_certificates import ShownCertificate
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store import sealed
from wgfleet.panel.store.tables import Base, Config, EndpointGroup, Peer, User
from wgfleet.panel.vault import Vault, VaultError


def test_every_column_that_ends_in_sealed_is_in_the_registry_and_no_other() -> None:
    columns = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.tables.values()
        for column in table.columns
        if column.name.endswith("_sealed")
    }
    assert {f"{column.class_.__tablename__}.{column.key}" for column in sealed.SEALED} == columns


def test_contexts_stay_as_they_are_bound_into_ciphertexts() -> None:
    contexts = {f"{c.class_.__tablename__}.{c.key}": sealed.context(c, "ID") for c in sealed.SEALED}
    assert contexts == {
        "authority.key_sealed": "authority.key",
        "authority_rotation.key_sealed": "authority_rotation.key:ID",
        "assignments.next_probe_private_key_sealed": "assignments.next_probe_private_key:ID",
        "assignments.private_key_sealed": "assignments.private_key:ID",
        "assignments.probe_private_key_sealed": "assignments.probe_private_key:ID",
        "backups.content_sealed": "backups:ID",
        "configs.private_key_sealed": "configs.private_key:ID",
        "configs.probe_private_key_sealed": "configs.probe_private_key:ID",
        "dns_syncs.options_sealed": "dns_syncs.options:ID",
        "endpoint_groups.address_options_sealed": "endpoint_groups.address_options:ID",
        "endpoint_groups.dns_options_sealed": "endpoint_groups.dns_options:ID",
        "peers.preshared_key_sealed": "peers.preshared_key:ID",
        "peers.private_key_sealed": "peers.private_key:ID",
        "probe_key_rotations.private_key_sealed": "probe_key_rotations.private_key:ID",
        "sign_in_providers.secret_sealed": "sign_in_providers.secret:ID",
        "users.totp_sealed": "users.totp:ID",
        "web_certificates.account_key_sealed": "web_certificates.account_key:ID",
        "web_certificates.key_sealed": "web_certificates.key:ID",
        "witness_keys.next_probe_private_key_sealed": "witness_keys.next_probe_private_key:ID",
        "witness_keys.probe_private_key_sealed": "witness_keys.probe_private_key:ID",
    }


def test_all_secrets_of_a_populated_database_are_found_and_open(world: World) -> None:
    desk = Desk(world)
    cluster, own = world.config("wg0"), world.config("wg1", mode="independent", pools=("10.9.0.0/24",))
    [fra1] = world.serving(cluster, "fra1")
    world.assign(own, fra1)
    desk.publish(cluster, options={"token": "very secret"})
    with world.store.write() as tx:
        nodes.create_witness(tx, world.vault, ACTOR, NodeSpec("helper", (), agent_host="198.51.100.9", witness=True))
        config = configs.get(tx, cluster.id)
        peers.create(tx, ACTOR, config, peers.draft(world.vault, [PeerSpec(f"p{number}") for number in range(3)]))
        probe_keys.start(tx, world.vault, ACTOR, config)
        installation.keep_authority(tx, world.vault, "panel", "certificate", "key")
        authority_rotation.start(tx, world.vault, ACTOR, name="next", certificate="next certificate", key="next key")
        assignment = assignment_rows.get(tx, cluster.id, fra1.id)
        assert assignment is not None
        backups.create(tx, world.vault, ACTOR, config, fra1, assignment, reason="test")
        group = endpoint_group_rows.get(tx, cluster.id)
        assert group is not None
        user, _ = users.create(tx, ACTOR, UserSpec("anna", Role.VIEWER))
        user.totp_sealed = sealed.seal(world.vault, User.totp_sealed, user.id, "of an app")
        oidc = {"issuer": "https://id.example.com", "client_id": "panel"}
        providers.create(tx, world.vault, ACTOR, ProviderSpec("company", ProviderKind.OIDC, oidc, "of a client"))
        web_certificates.next_need(tx, world.vault, "https://ca.example/dir", ["example.com"], "of an account")
        names = frozenset({"example.com"})
        web_certificates.keep(tx, world.vault, ShownCertificate(names, "chain", "of a certificate", 2e9))
        group.address_options_sealed = sealed.seal(
            world.vault, EndpointGroup.address_options_sealed, cluster.id, "of a cloud"
        )
    with world.store.read() as tx:
        found = list(sealed.secrets(tx))
    assert {(secret.table, secret.column) for secret in found} == {(c.class_, c.key) for c in sealed.SEALED}
    opened = [world.vault.open(secret.value, secret.context) for secret in found]
    assert all(opened)
    assert len({secret.context for secret in found}) == len(found)
    of_others = {"of a client", "of a cloud", "of an app", "of an account", "of a certificate"}
    assert {"key", "next key"} | of_others < set(opened)
    assert sum(secret.table is Peer for secret in found) == 6
    keys = [text for secret, text in zip(found, opened, strict=True) if secret.table is Peer]
    assert {len(base64.b64decode(key)) for key in keys} == {32}


def test_a_value_opens_in_its_own_row_only(world: World) -> None:
    one, other = world.config("wg0"), world.config("wg1", pools=("10.9.0.0/24",))
    assert sealed.unseal(world.vault, Config.private_key_sealed, one)
    one.private_key_sealed = other.private_key_sealed
    with pytest.raises(VaultError, match="belongs to another row"):
        sealed.unseal(world.vault, Config.private_key_sealed, one)
    one.private_key_sealed = None
    with pytest.raises(VaultError, match=f"configs.private_key:{one.id}"):
        sealed.unseal(Vault([bytes(32)]), Config.private_key_sealed, one)
