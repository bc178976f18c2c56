"""Destination rules as they come over the wire: what is refused, at which field."""

import msgspec
import pytest

from wgfleet.protocol import features
from wgfleet.protocol.desired import DesiredPeer, InterfaceSettings
from wgfleet.protocol.destinations import (
    DestinationPlace,
    DestinationRule,
    DestinationTransport,
    RuleSet,
    check_rule_sets,
)
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.features import Feature
from wgfleet.protocol.ids import ConfigId, InterfaceName
from wgfleet.protocol.keys import PrivateKey

GOOD = DestinationRule(
    allow=True, networks=("10.0.0.0/8", "fd00::/8"), transport=DestinationTransport.TCP, ports=("443", "8000-8100")
)


def test_sets_with_rules_of_all_kinds_are_taken() -> None:
    everything = RuleSet("all", (GOOD, *(DestinationRule(allow=False, place=place) for place in DestinationPlace)))
    check_rule_sets((everything, RuleSet("nothing", otherwise_allowed=False)))
    assert msgspec.json.decode(msgspec.json.encode(everything), type=RuleSet) == everything


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"networks": ("10.0.0.1/8",)}, "networks[0]"),
        ({"networks": ("here",)}, "networks[0]"),
        ({"ports": ("0",)}, "ports[0]"),
        ({"ports": ("443", "70000")}, "ports[1]"),
        ({"ports": ("90-80",)}, "ports[0]"),
        ({"ports": ("80-80",)}, "ports[0]"),
        ({"ports": ("https; accept",)}, "ports[0]"),
        ({"transport": DestinationTransport.ICMP}, "transport"),
        ({"transport": DestinationTransport.ANY}, "transport"),
        ({"networks": ("10.0.0.0/8",) * 501}, "networks"),
    ],
)
def test_a_wrong_rule_is_refused_at_its_field(changes: dict[str, object], field: str) -> None:
    with pytest.raises(FieldError) as refused:
        check_rule_sets((RuleSet("web", (GOOD, msgspec.structs.replace(GOOD, **changes))),))
    assert refused.value.field == f"settings.rule_sets[0].rules[1].{field}"


@pytest.mark.parametrize("sets", [(RuleSet("web"), RuleSet("web")), (RuleSet(""),), (RuleSet("x" * 65),)])
def test_each_set_has_a_name_of_its_own(sets: tuple[RuleSet, ...]) -> None:
    with pytest.raises(FieldError, match="name"):
        check_rule_sets(sets)


def test_an_agent_without_the_feature_gets_neither_sets_nor_names() -> None:
    settings = InterfaceSettings(
        InterfaceName("wg0"), ConfigId("c"), PrivateKey(""), 51820, rule_sets=(RuleSet("web"),)
    )
    older = features.ALL - {Feature.RULES}
    assert features.for_agent(settings, older).rule_sets == ()
    assert features.for_agent(DesiredPeer((), rule_set="web"), older) == DesiredPeer(())
