"""Settings of floating addresses."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from wgfleet.panel.settings.fields import Group, Servers

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


def _program_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("a program's name is 1 to 32 of a-z, 0-9 and -")
    return text


def _command(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words or not words[0].startswith("/"):
        raise ValueError("must begin with the absolute path of the program")
    if any("\0" in word for word in words):
        raise ValueError("must not hold NUL characters")
    return words


Command = Annotated[tuple[str, ...], Field(max_length=32), AfterValidator(_command)]
ProgramName = Annotated[str, AfterValidator(_program_name)]


class FloatingAddressSettings(Group):
    """How floating addresses are brought to nodes."""

    allowed_servers: Servers = Field(
        default=(),
        description="Networks, addresses and names of servers inside, such as 10.0.0.0/8 or cloud.example.internal, to "
        "which address providers may connect although they are not on the internet. Options of an endpoint group, "
        "which a key with the scope `write` sets, cannot name any other.",
    )
    programs: Mapping[ProgramName, Command] = Field(
        default={},
        description="Programs of this machine that the address provider `command` may run, by a name that endpoint "
        'groups give: { move = ["/usr/local/bin/move-address", "--zone", "fra1"] }. The first word is an absolute '
        "path; there is no shell, and secrets do not belong here.",
    )
