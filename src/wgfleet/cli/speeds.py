"""Options for what nodes hold peers to, which a peer, a tag or a config may have: speeds, and destination rules."""

from typing import Annotated

import typer

from wgfleet.cli.client import Document
from wgfleet.protocol.quantities import speed_of, speed_text

Download = Annotated[
    str | None, typer.Option(help="How fast each peer gets: 20mbit, 500kbit; 0: no limit.", metavar="SPEED")
]
Upload = Annotated[str | None, typer.Option(help="How fast each peer sends; 0: no limit.", metavar="SPEED")]

RuleSet = Annotated[
    str | None,
    typer.Option("--rule-set", help="Destination rules for each peer, by name; '': none.", metavar="NAME"),
]


def body(download: str | None, upload: str | None, rule_set: str | None = None) -> Document:
    """Return what was given of it, as the API has it."""
    found: Document = {} if rule_set is None else {"rule_set": rule_set}
    for option, text in (("download", download), ("upload", upload)):
        if text is not None:
            try:
                found[f"{option}_speed"] = speed_of(text)
            except ValueError as error:
                raise typer.BadParameter(str(error), param_hint=f"--{option}") from None
    return found


def in_effect(details: Document) -> Document:
    """Return what a peer is held to in words, each with what set it."""
    return {
        each["name"]: f"{_words(each['value'])} ({each['origin']})" if each["value"] else None
        for each in details["held"]
    }


def _words(value: int | str) -> str:
    return speed_text(value) if isinstance(value, int) else value
