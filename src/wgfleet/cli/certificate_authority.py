"""`wgfleet certificate rotate-ca`: the CA by which panel and agents recognize each other."""

import contextlib
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from wgfleet.cli import connection
from wgfleet.cli.client import CallFailed, Client, Document, panel
from wgfleet.cli.confirmation import Yes, go_on
from wgfleet.cli.output import AsJson, say, show_json, text
from wgfleet.cli.plain_text import plain

PATH = "/api/authority"


def rotate_ca(
    *,
    status: Annotated[bool, typer.Option("--status", help="Show how far it is, and begin nothing.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Replace the CA by which panel and agents recognize each other; says first what happens."""
    with panel() as client:
        found = client.get(PATH)
        if not status and not yes and found["rotation"] is None:
            for line in _beforehand(found, client.all("/api/nodes")):
                say(line, err=True)
            go_on("Replace the CA?")
        if not status:
            found = client.call("POST", PATH)
        if found["rotation"] is not None:
            _keep(found["rotation"]["certificate"])
        else:
            _forget_others(found["fingerprint"])
    if as_json:
        show_json(found)
        return
    for line in _says(found):
        say(line)


def _keep(certificate: str) -> None:
    """Have this machine believe the panel also when its listener shows a certificate of the new CA."""
    access = connection.load(os.environ)
    if access.ca_file is not None and not connection.add_ca(certificate, access, os.environ):
        say(f"warning: {access.ca_file} has to hold the new CA too: its certificate is in --json", err=True)


def _forget_others(fingerprint: str) -> None:
    """Believe the panel by its one CA again, as soon as its listener shows a certificate of that."""
    access = connection.load(os.environ)
    certificate = connection.alone(fingerprint, access, os.environ)
    if certificate is None:
        return
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(certificate)
        file.flush()
        try:
            with contextlib.closing(Client(replace(access, ca_file=Path(file.name)))) as client:
                client.get(PATH)
        except CallFailed:
            return  # it takes some seconds
    connection.save_ca(certificate, os.environ)
    say("this machine does not believe the old CA any more", err=True)


def _beforehand(found: Document, nodes: list[Document]) -> list[str]:
    away = [node["name"] for node in nodes if node["certificate_expires_at"] and not node["connected"]]
    departed = found["departed"]
    end = (
        "In the end, what the old CA has certified is refused, certificates in files included. Where the panel shows a "
        "certificate of its own, other machines that know it by the old CA log in again, by the new fingerprint: "
        "`wgfleet login --ca-fingerprint`."
    )
    return [
        "Agents learn to trust a new CA, then forget the old one. Users and health notice nothing.",
        end,
        *([f"It waits for {', '.join(away)}, whose agents are not connected."] if away else []),
        *(
            [f"The agents of {', '.join(departed)}, deleted, have not heard of that yet; after it they never will."]
            if departed
            else []
        ),
    ]


def _says(found: Document) -> list[str]:
    rotation = found["rotation"]
    if rotation is None:
        return [
            f"CA fingerprint: {found['fingerprint']}, until {text(found['expires_at'])}",
            "It is not being replaced.",
        ]
    names = ", ".join(plain(name) for name in rotation["waits_for"])
    return [
        f"step '{rotation['step']}' since {text(rotation['step_since'])}{f'; waits for {names}' if names else ''}",
        f"old CA: {found['fingerprint']}",
        f"new CA: {rotation['fingerprint']}",
    ]
