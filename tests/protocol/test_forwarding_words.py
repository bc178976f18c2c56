"""Sentences of agents on forwarding: the panel finds what each was made of, and takes none for another."""

import errno
from typing import Any

import pytest

from wgfleet.agent.interfaces import forwarding_faults
from wgfleet.agent.interfaces.forwarding_verdict import Evidence, verdict
from wgfleet.protocol import diff, forwarding_words
from wgfleet.protocol.forwarding_words import recognized
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.reasons import Reason

WG0 = InterfaceName("wg0")
PANEL = forwarding_words.PANEL.format(address="192.0.2.9")
NODE = forwarding_words.NODE.format(endpoint="[2001:db8::7]:51820")
FAULTS = forwarding_faults._refusals(WG0, 4)  # noqa: SLF001 - what an agent says of the kernel's answers
CHAIN = forwarding_words.CHAIN_DROPS.format(chain="FORWARD", table="ip filter", command="ufw route allow in on wg0")


@pytest.mark.parametrize(
    "found",
    [
        {"came_back": [PANEL]},
        {"came_back": [forwarding_words.ROUTER]},
        {"default_route": False, "came_back": [NODE]},
        {"default_route": False},
        {"default_route": False, "version": 6},
        {"masquerade": False},
        {"only_here": [NODE]},
        {"silent": [NODE, PANEL]},
        {},
        {"obstacle": diff.NO_IPV6},
        {"obstacle": forwarding_words.ADDRESS_TAKEN},
        {"obstacle": forwarding_words.NO_WIREGUARD.format(port=51820)},
        {"obstacle": forwarding_words.ALL_IN_USE.format(network="10.8.0.0/30")},
        {"faults": [CHAIN]},
        *({"faults": [FAULTS[number]]} for number in (errno.EHOSTUNREACH, errno.EXDEV, errno.EACCES)),
    ],
)
def test_each_sentence_is_found_again(found: dict[str, Any]) -> None:
    known: dict[str, Any] = {"version": 4, "network": "10.8.0.0/16", "masquerade": True} | found
    said = verdict(Evidence(WG0, **known)).why
    assert type(said) is str, "it is sent as JSON"
    made = recognized(said)
    assert isinstance(made, Reason)
    assert made == said
    for name in {"who", "asked"} & made.values.keys():
        assert isinstance(made.values[name], Reason), made.values


@pytest.mark.parametrize(
    "text",
    [
        "", "{who}", "it has no default route", "the first router", f"{forwarding_words.NOBODY} any more",
        forwarding_words.NOT_FORWARDED.replace("{name}", "wg0", 1).format(name="wg1", version=4),
    ],
)  # fmt: skip
def test_what_is_none_of_them_stays_a_text(text: str) -> None:
    assert recognized(text) == text
    assert not isinstance(recognized(text), Reason)


def test_a_value_with_braces_is_one() -> None:
    said = forwarding_words.CAME_BACK.format(who="{0.__class__} {x}")
    assert str(recognized(said)) == said
