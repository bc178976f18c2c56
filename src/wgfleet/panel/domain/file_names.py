"""Names of files that users get, for every system that they may open them on."""

import re
from collections.abc import Collection

_PORTS = [f"{port}{number}" for port in ("com", "lpt") for number in "0123456789\u00b9\u00b2\u00b3"]
# Windows has devices in place of files of these names, whatever comes after a dot.
DEVICES = frozenset({"con", "prn", "aux", "nul", "conin$", "conout$", *_PORTS})
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
