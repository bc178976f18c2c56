"""DNS names, parsed at the edge and kept as DNS has them: lower case, A-labels, no final dot."""

import re

from idna import IDNAError
from idna.core import check_bidi, check_hyphen_ok, check_initial_combiner, check_nfc, uts46_remap, valid_contextj

from wgfleet.protocol.addresses import pasted
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_DIGITS = re.compile(r"[0-9.]*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_A_LABEL = "xn--"  # RFC 5890, section 2.3.2.1
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"


def parse_domain(text: str, field: str) -> str:
    """Parse a DNS name; return it in lower case, international labels as A-labels, without a final dot.

    Names are read as browsers read them (UTS 46, non-transitional): "ß" is a letter of its own. Underscores may be in
    any label, as in those of Active Directory. Raises `FieldError`.
    """
    text = pasted(text)
    try:
        name = ".".join(_ascii(label) for label in _mapped(text).removesuffix(".").split("."))
    except (UnicodeError, IDNAError):
        raise FieldError(
            field, Reason("{text!r} is not a domain name: it has letters that no name has", text=text)
        ) from None
    if name.startswith("*."):
        raise FieldError(
            field,
            Reason("{text!r} stands for many names; give one of them, such as vpn{name}", text=text, name=name[1:]),
        )
    refuse_number(name, field, text)
    # RFC 1123, section 2.1: the last label is never all digits, which is what tells a name from an address.
    if not _NAME.fullmatch(name) or _DIGITS.fullmatch(name):
        more = (
            Reason("; give the name alone, without scheme, port or path") if any(sign in name for sign in ":/") else ""
        )
        raise FieldError(
            field, Reason("{text!r} is not a domain name such as vpn.example.com{more}", text=text, more=more)
        )
    return name


def refuse_number(name: str, field: str, text: str | None = None) -> None:
    """Refuse a name that programs read as an IPv4 address: inet_aton(3) and browsers do where its end is a number.

    Not what is plainly meant for an address, of digits and dots alone. `text`: what was given for the name.
    """
    if not _DIGITS.fullmatch(name) and _NUMBER.fullmatch(name.lower().removesuffix(".").rpartition(".")[2]):
        raise FieldError(
            field,
            Reason(
                "{text!r} ends in a number, which some programs read as an address; give a domain name such as "
                "vpn.example.com, or an address as 192.0.2.1",
                text=text or name,
            ),
        )


def refuse_single_label(domain: str, field: str) -> None:
    """Refuse a name without a dot, parsed before: beyond its own network nobody finds it."""
    if "." not in domain:
        raise FieldError(
            field,
            Reason(
                "{text!r} is only the first part of a domain name, which devices elsewhere cannot look up; give all of "
                "it, such as {text}.example.com",
                text=domain,
            ),
        )


def _mapped(text: str) -> str:
    return text.lower() if text.isascii() else uts46_remap(text, std3_rules=False, transitional=False)


def _ascii(label: str) -> str:
    """Return a label as DNS has it, checked as UTS 46 does (section 4.1); unlike IDNA 2008 it takes symbols."""
    if label.startswith(_A_LABEL):
        label = label.removeprefix(_A_LABEL).encode("ascii").decode("punycode")
        if label.isascii() or _mapped(label) != label:
            raise IDNAError("it stands for a label that is never written so")
    if label.isascii():
        return label
    check_nfc(label)
    check_hyphen_ok(label)
    check_initial_combiner(label)
    check_bidi(label)
    if not all(valid_contextj(label, at) for at, character in enumerate(label) if character in _JOINERS):
        raise IDNAError("it has a joiner where none can be")
    return f"{_A_LABEL}{label.encode('punycode').decode()}"
