"""DNS names are read as browsers read them."""

import pytest

from wgfleet.protocol.domains import parse_domain
from wgfleet.protocol.errors import FieldError

RIGHT = {
    "VPN.Example.com.": "vpn.example.com",
    "vpn.stra\u00dfe.example": "vpn.xn--strae-oqa.example",
    "vpn.xn--strae-oqa.example": "vpn.xn--strae-oqa.example",
    "M\u00dcNCHEN.de": "xn--mnchen-3ya.de",
    "mu\u0308nchen.de": "xn--mnchen-3ya.de",
    "\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.ir": "xn--mgba3gch31f060k.ir",
    "a\u3002example": "a.example",
    "\u2603.example": "xn--n3h.example",
    "0x7f.example": "0x7f.example",
    "1e400": "1e400",
    "a.1e400": "a.1e400",
    "_sip._udp.ad._corp.local": "_sip._udp.ad._corp.local",
}
WRONG = (
    "", ".", "a..b", "*.example.com", "vpn.*.com", "192.0.2.1", "1.2.3", "vpn example", "-a.example", "a-.example",
    "xn--a.example", "xn--strasse-.example", "a\u200d.example", "\u0301a.example", "vpn.example.com:51820",
    "0x7f000001", "0X10", "a.0x7f", "a.0x", "a.1", "017700000001", "127.1", "0x7f.1", "a.0x7f.", "\uff10x10",
    "https://vpn.example.com", "a" * 64 + ".example", "\u00fc" * 63 + ".example", "a\n.example", "\u05d0a.example",
)  # fmt: skip


@pytest.mark.parametrize("text", RIGHT)
def test_a_name_has_one_form(text: str) -> None:
    assert parse_domain(text, "domain") == RIGHT[text]
    assert parse_domain(RIGHT[text], "domain") == RIGHT[text]


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_name_is_refused_with_the_field(text: str) -> None:
    with pytest.raises(FieldError) as refused:
        parse_domain(text, "domain")
    assert refused.value.field == "domain"
