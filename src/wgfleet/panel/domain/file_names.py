"""Names of files that users get, for every system that they may open them on."""

import hashlib
import re
import unicodedata
from collections.abc import Collection

from wgfleet.panel.errors import Invalid
from wgfleet.protocol.reasons import Reason

_PORTS = [f"{port}{number}" for port in ("com", "lpt") for number in "0123456789\u00b9\u00b2\u00b3"]
# Windows has devices in place of files of these names, whatever comes after a dot.
DEVICES = frozenset({"con", "prn", "aux", "nul", "conin$", "conout$", *_PORTS})
MAX_STEM = 15  # wg-quick names the interface after the file, and IFNAMSIZ leaves 15 characters
MAX_TEMPLATE = 60
FIELDS = ("config", "peer", "node")
_FIELD = re.compile(r"\{([^{}]*)\}")
_OF_INTERFACES = re.compile(r"[a-zA-Z0-9_=+.-]*")
MAX_BYTES = 200  # of a name without its ending; file systems take 255


def is_device(name: str) -> bool:
    """Tell whether Windows takes a file's name for a device."""
    return name.partition(".")[0].rstrip(" ").lower() in DEVICES


def file_stem(title: str, identifier: str, taken: Collection[str]) -> str:
    """Return a file's name, without ending, for a thing that people call `title`.

    It leads to no other folder, is none of Windows' devices, and is not among `taken`, casefolded, since some systems
    take cases for one.
    """
    stem = re.sub(r"[^\w.@+-]", "_", title).strip(".")
    stem = stem.encode()[:MAX_BYTES].decode(errors="ignore") or identifier
    stem = f"wg-{stem}" if is_device(stem) else stem
    return f"{stem}-{identifier}" if stem.casefold() in taken else stem


def check_template(template: str, field: str) -> None:
    """Refuse a template of names, such as `{config}-{peer}`, that cannot be filled in; say what is wrong with it."""
    known = ", ".join(f"{{{name}}}" for name in FIELDS)
    for name in _FIELD.findall(template):
        if name not in FIELDS:
            raise Invalid(
                Reason("{{{name}}} is none of {known}; what stands for the peer is {{peer}}", name=name, known=known),
                field=field,
            )
    if not 0 < len(template) <= MAX_TEMPLATE:
        raise Invalid(
            Reason("must have 1 to {most} characters, such as {{config}}-{{peer}}", most=MAX_TEMPLATE), field=field
        )
    if not _OF_INTERFACES.fullmatch(_FIELD.sub("", template)):
        raise Invalid(
            Reason(
                "beside {known} it may have ASCII letters, digits and _=+.- only: devices name the interface after the "
                "file",
                known=known,
            ),
            field=field,
        )


def filled_in(template: str, *, config: str, peer: str, node: str) -> str:
    """Return a file's name, without ending, by a template; it is one of an interface."""
    values = {"config": config, "peer": peer, "node": node}
    return interface_stem(_FIELD.sub(lambda found: values[found[1]], template))


def interface_stem(title: str) -> str:
    """Return a name for a file that wg-quick makes an interface of, without ending.

    Accents go, and other characters become `-`. Where more is lost than that, four digits of a digest keep two names
    apart that begin alike.
    """
    plain = "".join(each for each in unicodedata.normalize("NFKD", title) if not unicodedata.combining(each))
    stem = re.sub(r"[^a-zA-Z0-9_=+.-]+", "-", plain).strip("-.")
    stem = f"wg-{stem}" if is_device(stem) else stem
    if len(stem) <= MAX_STEM and stem and plain.replace(" ", "").isascii():
        return stem
    return apart(stem, title)


def apart(stem: str, title: str) -> str:
    """Return a stem that tells things with other titles apart, and is short enough for an interface."""
    digest = hashlib.sha256(title.encode()).hexdigest()
    return f"{stem[: MAX_STEM - 5].rstrip('-.') or 'wg'}-{digest[:4]}"


def unused(stem: str, identifier: str, taken: Collection[str]) -> str:
    """Return the stem, or where it is among `taken`, casefolded, another one with a part of the identifier's digest."""
    return apart(stem, identifier) if stem.casefold() in taken else stem
