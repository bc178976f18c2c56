"""Moving in: files of another program are sent, looked at, and imported; then it is said what is left to do."""

import binascii
import hashlib
from base64 import urlsafe_b64decode
from urllib.parse import unquote

import msgspec
from fastapi import Request
from starlette.responses import Response

from wgfleet.imports.fleet import ImportedFleet, ImportedInterface, UnreadableError
from wgfleet.panel.api import imports
from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.imports import ImportCall, ImportView
from wgfleet.panel.api.models import Reference
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import endpoint_groups
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm, made_of
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page
from wgfleet.protocol.reasons import Reason, words_of

router = page_router()
ASKED = ("source", "interface", "config", "pools", "listen_port", "commented_out", "files", "text")
SHOWN = 200
SOURCES = (
    ("wg-quick", marked("a server's file of wg-quick, with users' files beside it: by hand, or by a script")),
    ("pivpn", "PiVPN"),
    ("wgdashboard", "WGDashboard"),
    ("wg-easy", "wg-easy"),
    ("wireguard-ui", "wireguard-ui"),
    ("wg-portal", "wg-portal"),
    ("opnsense", "OPNsense"),
    ("pfsense", "pfSense"),
)
CHOOSE = marked("choose files, or paste a text")


@router.get("/new/import")
def import_page(request: Request, _panel: ThePanel, _caller: Writer) -> Response:
    return _page(request, SubmittedForm())


@router.post("/new/import")
@all_at_once
def send_source(request: Request, panel: ThePanel, caller: Writer, form: TheForm) -> Response:
    """Show what would become of each peer; sent again with that seen, import."""
    fleet, found = None, None
    try:
        fleet = _read(form)
        body = _body(fleet, _chosen(fleet, form.get("interface")), form)
        found = imports.looked_at(panel, caller, body)
        if form.get("seen") != _digest(form) or not form.get("do"):
            return _page(request, form, fleet, found)
        done = imports.done(panel, caller, body)
        return gone_on(request, f"/configs/{done.config}/moving-in")
    except REFUSALS as error:
        form.refused(error)
        return _page(request, form, fleet, found)


@router.get("/configs/{config}/moving-in")
def moving_in_page(request: Request, panel: ThePanel, _caller: Reader, config: Reference) -> Response:
    """Say what is left to do once a config was imported."""
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        domain = endpoint_groups.domains(tx, [row.id]).get(row.id)
        return page(request, "imports/moving_in.html", {"config": row, "domain": domain})


def _read(form: SubmittedForm) -> ImportedFleet:
    from wgfleet.imports import sent_files  # noqa: PLC0415 - the readers are for those who move in

    source, text = form.get("source"), form.get("text")
    if source not in dict(SOURCES):
        raise Invalid(Reason("{source!r} is no source", source=source), field="source")
    lines, commented_out = form.get("files").split(), form.get("commented_out") == "true"
    try:
        if lines:
            sent = [sent_files.SentFile(*_sent(line)) for line in lines]
            return sent_files.read(source, sent, commented_out=commented_out)
        if not text.strip():
            raise Invalid(CHOOSE, field="text")
        return sent_files.read(source, [sent_files.pasted(source, text)], commented_out=commented_out)
    except UnreadableError as error:
        raise Invalid(words_of(error), field="files" if lines else "text") from None


def _sent(line: str) -> tuple[str, bytes]:
    """Return name and content of a file that the browser sent."""
    name, _, content = line.partition(":")
    try:
        return unquote(name), urlsafe_b64decode(f"{content}==")
    except (binascii.Error, ValueError):
        raise Invalid(CHOOSE, field="files") from None


def _chosen(fleet: ImportedFleet, name: str) -> ImportedInterface:
    """Return the interface of that name, or the first."""
    return next((each for each in fleet.interfaces if each.name == name), fleet.interfaces[0])


def _body(fleet: ImportedFleet, interface: ImportedInterface, form: SubmittedForm) -> ImportCall:
    return made_of(
        ImportCall,
        interface=msgspec.to_builtins(interface),
        config=form.get("config").strip() or None,
        pools=form.words("pools") or None,
        listen_port=form.get("listen_port").strip() or None,
        tags=msgspec.to_builtins(fleet.tags),
    )


def _digest(form: SubmittedForm) -> str:
    """Return what stands for all that was asked for: where it is another than was shown, it is shown first."""
    return hashlib.sha256("\0".join(form.get(name) for name in ASKED).encode()).hexdigest()


def _page(
    request: Request, form: SubmittedForm, fleet: ImportedFleet | None = None, found: ImportView | None = None
) -> Response:
    context = {
        "form": form,
        "sources": SOURCES,
        "sent": [unquote(line.partition(":")[0]) for line in form.get("files").split()],
        "interfaces": [] if fleet is None else [each.name for each in fleet.interfaces],
        "warnings": () if fleet is None else fleet.warnings,
        "found": found,
        "rows": [] if found is None else [each for each in found.peers if each.fate != "same"],
        "shown": SHOWN,
        "seen": _digest(form),
    }
    return page(request, "imports/new.html", context, status=form.status)
