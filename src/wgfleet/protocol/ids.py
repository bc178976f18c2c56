"""Typed identifiers and names."""

import re
from typing import NewType

from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason

NodeId = NewType("NodeId", str)
NodeGroupId = NewType("NodeGroupId", str)
ConfigId = NewType("ConfigId", str)
PeerId = NewType("PeerId", str)
OperationId = NewType("OperationId", str)
BackupId = NewType("BackupId", str)
Generation = NewType("Generation", int)
InterfaceName = NewType("InterfaceName", str)

# IFNAMSIZ is 16 with the terminating zero (linux/if.h); the alphabet is what wg-quick accepts as a file name. A leading
# dash would read as an option, and some words mean something else to wg(8) or in /proc/sys/net.
_INTERFACE_NAME = re.compile(r"[a-zA-Z0-9_=+.][a-zA-Z0-9_=+.-]{0,14}")
_RESERVED_NAMES = frozenset({".", "..", "all", "default", "help", "interfaces", "lo"})


def parse_interface_name(text: str, field: str = "name") -> InterfaceName:
    """Parse a Linux interface name as `wg-quick` accepts it; raise `FieldError` otherwise."""
    if not _INTERFACE_NAME.fullmatch(text) or text in _RESERVED_NAMES:
        raise FieldError(
            field,
            Reason("must be 1 to 15 characters of a-z A-Z 0-9 _ = + . - with no dash in front, and no reserved name"),
        )
    return InterfaceName(text)
