"""Options for the speeds that nodes hold peers to, which a peer, a tag or a config may have."""

from typing import Annotated

import typer

from wgfleet.cli.client import Document
from wgfleet.protocol.quantities import speed_of, speed_text

Download = Annotated[
    str | None, typer.Option(help="How fast each peer gets: 20mbit, 500kbit; 0: no limit.", metavar="SPEED")
]
Upload = Annotated[str | None, typer.Option(help="How fast each peer sends; 0: no limit.", metavar="SPEED")]


def body(download: str | None, upload: str | None) -> Document:
    """Return the speeds that were given, as the API has them."""
    found: Document = {}
    for option, text in (("download", download), ("upload", upload)):
        if text is not None:
            try:
                found[f"{option}_speed"] = speed_of(text)
            except ValueError as error:
                raise typer.BadParameter(str(error), param_hint=f"--{option}") from None
    return found


def in_effect(details: Document) -> Document:
    """Return the speeds of a peer in words, each with what set it."""
    return {
        each["name"]: f"{speed_text(each['value'])} ({each['origin']})" if each["value"] else None
        for each in details["held"]
    }
