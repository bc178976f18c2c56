import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.interface_model import LinkModel, carry_out
from tests.protocol.strategies import clamp, desired_interfaces, text
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, FloatingSettings, InterfaceSettings
from wgfleet.protocol.diff import NO_IPV6, Drift, InterfacePlan, PlanStep, diff, harms_no_user, peer_drift, same
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PresharedKey, PrivateKey, PublicKey
from wgfleet.protocol.observed import ObservedInterface, ObservedPeer

KEY, OTHER_KEY = PublicKey(text(bytes([1]) * 32)), PublicKey(text(bytes([2]) * 32))
PRIVATE = PrivateKey(text(clamp(bytes([7]) * 32)))
PRESHARED = PresharedKey(text(bytes([8]) * 32))


def make(desired: DesiredInterface) -> LinkModel:
    """A link brought to a desired state from nothing."""
    link = carry_out(diff(desired, None), desired, None)
    assert link is not None
    return link


def seen(link: LinkModel | None) -> ObservedInterface | None:
    return None if link is None else link.observe()


def desired(
    peers: dict[PublicKey, DesiredPeer] | None = None,
    *,
    addresses: tuple[str, ...] = ("10.8.0.1/24", "fd00::1/64"),
    routes: tuple[str, ...] = ("10.20.0.0/16",),
    mtu: int | None = None,
    enabled: bool = True,
) -> DesiredInterface:
    settings = InterfaceSettings(
        name=InterfaceName("wg0"),
        config_id=ConfigId("config"),
        private_key=PRIVATE,
        listen_port=51820,
        addresses=addresses,
        routes=routes,
        mtu=mtu,
        masquerade=True,
        enabled=enabled,
    )
    return DesiredInterface(generation=Generation(1), settings=settings, peers=peers or {})


def holding(state: DesiredInterface, *addresses: str) -> DesiredInterface:
    floating = FloatingSettings(addresses, (), PRIVATE, 3.0)
    return msgspec.structs.replace(state, settings=msgspec.structs.replace(state.settings, floating=floating))


@given(desired_interfaces())
def test_a_link_made_from_nothing_is_as_wanted(wanted: DesiredInterface) -> None:
    plan = diff(wanted, make(wanted).observe())
    assert not plan
    assert plan == InterfacePlan(steps=(), drift=())


@given(desired_interfaces(1), desired_interfaces(2))
def test_carrying_out_a_plan_on_any_link_makes_it_as_wanted(before: DesiredInterface, wanted: DesiredInterface) -> None:
    link = make(before)
    carry_out(diff(wanted, link.observe()), wanted, link)
    assert not diff(wanted, link.observe())


@given(desired_interfaces(1), desired_interfaces(2), st.data())
def test_a_plan_cut_short_at_any_step_is_finished_by_the_next(
    before: DesiredInterface, wanted: DesiredInterface, data: st.DataObject
) -> None:
    link: LinkModel | None = make(before) if data.draw(st.booleans()) else None
    plan = diff(wanted, seen(link))
    done = data.draw(st.integers(0, len(plan.steps)))
    link = carry_out(msgspec.structs.replace(plan, steps=plan.steps[:done]), wanted, link)
    link = carry_out(diff(wanted, seen(link)), wanted, link)
    assert not diff(wanted, seen(link))


@given(desired_interfaces(1), desired_interfaces(2))
def test_a_plan_is_empty_exactly_when_it_names_no_drift(before: DesiredInterface, wanted: DesiredInterface) -> None:
    plan = diff(wanted, make(before).observe())
    assert bool(plan) == bool(plan.drift)
    assert list(plan.steps) == sorted(plan.steps, key=list(PlanStep).index)


@given(desired_interfaces(1), desired_interfaces(2))
def test_drift_never_shows_a_secret(before: DesiredInterface, wanted: DesiredInterface) -> None:
    told = str([*diff(wanted, make(before).observe()).drift, *diff(wanted, None).drift])
    for state in (before, wanted):
        assert state.settings.private_key not in told
        for peer in state.peers.values():
            assert peer.preshared_key is None or peer.preshared_key not in told


@given(desired_interfaces(1), desired_interfaces(2))
def test_the_fields_of_a_peer_differ_exactly_when_the_peer_does(
    before: DesiredInterface, wanted: DesiredInterface
) -> None:
    for key, seen in make(before).peers.items():
        if (peer := wanted.peers.get(key)) is not None:
            assert same(peer, seen) == (not peer_drift(key, peer, seen))


def test_an_absent_link_is_created_first_and_its_routes_come_after_it_is_up() -> None:
    plan = diff(desired({KEY: DesiredPeer(("10.8.0.2/32",))}, mtu=1300), None)
    assert plan.steps == (
        PlanStep.CREATE_LINK,
        PlanStep.SET_DEVICE,
        PlanStep.UPSERT_PEERS,
        PlanStep.SET_MTU,
        PlanStep.ADD_ADDRESSES,
        PlanStep.SET_LINK,
        PlanStep.ADD_ROUTES,
        PlanStep.SET_MASQUERADE,
    )
    assert plan.drift[0].field == "link"


def test_peers_are_removed_before_others_take_over_their_networks() -> None:
    link = make(desired({KEY: DesiredPeer(("10.8.0.2/32",))}))
    plan = diff(desired({OTHER_KEY: DesiredPeer(("10.8.0.2/32",))}), link.observe())
    assert plan.steps == (PlanStep.REMOVE_PEERS, PlanStep.UPSERT_PEERS)
    assert (plan.remove_peers, plan.upsert_peers) == ((KEY,), (OTHER_KEY,))


def test_a_network_that_moves_between_two_peers_ends_at_the_right_one() -> None:
    link = make(desired({KEY: DesiredPeer(("10.8.0.2/32",)), OTHER_KEY: DesiredPeer(())}))
    wanted = desired({KEY: DesiredPeer(()), OTHER_KEY: DesiredPeer(("10.8.0.2/32",))})
    carry_out(diff(wanted, link.observe()), wanted, link)
    assert link.peers[OTHER_KEY].allowed_ips == {"10.8.0.2/32"}
    assert not link.peers[KEY].allowed_ips


def test_disabling_takes_the_link_down_and_does_not_ask_back_what_goes_with_it() -> None:
    link = make(desired())
    off = desired(enabled=False)
    plan = diff(off, link.observe())
    assert plan.steps == (PlanStep.REMOVE_ROUTES, PlanStep.SET_LINK, PlanStep.SET_MASQUERADE)
    carry_out(plan, off, link)
    assert link.addresses == {"10.8.0.1/24"}
    assert not diff(off, link.observe())


def test_enabling_again_puts_back_addresses_and_routes() -> None:
    off = desired(enabled=False)
    link = make(off)
    on = desired()
    carry_out(diff(on, link.observe()), on, link)
    assert link.addresses == {"10.8.0.1/24", "fd00::1/64"}
    assert link.routes == {"10.20.0.0/16"}


def test_the_drivers_own_mtu_is_no_drift_when_none_is_wanted() -> None:
    link = make(desired())
    link.mtu = 1380
    assert not diff(desired(mtu=None), link.observe())
    assert diff(desired(mtu=1420), link.observe()).steps == (PlanStep.SET_MTU,)


def test_drift_of_a_peer_names_each_field_with_what_was_wanted_and_seen() -> None:
    peer = DesiredPeer(("10.8.0.2/32", "10.8.0.1/32"), PRESHARED, 25)
    fields = {
        drift.field: (drift.desired, drift.observed)
        for drift in peer_drift(KEY, peer, ObservedPeer(frozenset({"10.9.0.0/24"}), None, 0))
    }
    assert fields == {
        f"peers.{KEY}.allowed_ips": ("10.8.0.1/32, 10.8.0.2/32", "10.9.0.0/24"),
        f"peers.{KEY}.preshared_key": ("(secret)", "absent"),
        f"peers.{KEY}.persistent_keepalive": ("25 s", "0 s"),
    }
    assert [drift.observed for drift in peer_drift(KEY, peer, None)] == ["absent"]


def test_the_order_of_allowed_ips_does_not_matter() -> None:
    assert same(DesiredPeer(("a", "b")), ObservedPeer(frozenset({"b", "a"}), None, 0))


def test_a_floating_address_goes_first_and_comes_last() -> None:
    before = holding(desired(), "198.18.0.100")
    wanted = holding(desired(routes=()), "198.18.0.101")
    plan = diff(wanted, make(before).observe())
    assert (plan.steps[0], plan.steps[-1]) == (PlanStep.REMOVE_FLOATING, PlanStep.ADD_FLOATING)
    assert (plan.remove_floating, plan.add_floating) == (("198.18.0.100",), ("198.18.0.101",))
    assert [drift.field for drift in plan.drift if drift.field.startswith("floating")] == [
        "floating.198.18.0.100",
        "floating.198.18.0.101",
    ]


def test_an_address_that_must_not_be_here_is_drift_that_no_step_mends() -> None:
    wanted = holding(desired(), "198.18.0.100")
    link = make(desired())
    plan = diff(wanted, link.observe(), {"198.18.0.100": "somebody has it"})
    assert not plan
    assert plan.drift == (Drift("floating.198.18.0.100", "present", "somebody has it"),)
    link.floating.add("198.18.0.100")
    plan = diff(wanted, link.observe(), {"198.18.0.100": "somebody has it"})
    assert plan.steps == (PlanStep.REMOVE_FLOATING,)


def test_an_interface_that_is_off_holds_no_floating_address() -> None:
    on = holding(desired(), "198.18.0.100")
    off = msgspec.structs.replace(on, settings=msgspec.structs.replace(on.settings, enabled=False))
    assert diff(off, make(on).observe()).remove_floating == ("198.18.0.100",)


def test_what_the_machine_refuses_is_drift_that_no_step_repairs_and_costs_no_other() -> None:
    wanted = desired()
    address, *others = wanted.settings.addresses
    bare = msgspec.structs.replace(
        wanted, settings=msgspec.structs.replace(wanted.settings, addresses=(), routes=wanted.settings.routes)
    )
    plan = diff(wanted, make(bare).observe(), refused={f"addresses.{address}": NO_IPV6})
    assert plan.add_addresses == tuple(sorted(others))
    assert Drift(f"addresses.{address}", "present", f"absent: {NO_IPV6}") in plan.drift
    done = make(msgspec.structs.replace(bare, settings=msgspec.structs.replace(bare.settings, addresses=tuple(others))))
    plan = diff(wanted, done.observe(), refused={f"addresses.{address}": NO_IPV6})
    assert not plan
    assert harms_no_user(plan.drift)
    assert not harms_no_user((*plan.drift, Drift("mtu", "1420", "1400")))
    assert harms_no_user(())
