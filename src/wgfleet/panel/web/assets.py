"""Scripts and styles: what `script/assets` has built, each under a name that changes with its content."""

import gzip
import json
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path

import structlog
from fastapi import Request, Response

from wgfleet.panel.web.page_router import page_router

FOLDER = Path(__file__).parent / "static"
FOREVER = "public, max-age=31536000, immutable"
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}

router = page_router()
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class BuiltFile:
    """A file as it is sent."""

    media_type: str
    content: bytes
    compressed: bytes


@cache
def names() -> dict[str, str]:
    """Return the name of each built file by the name that templates use; nothing where none were built."""
    try:
        found: dict[str, str] = json.loads((FOLDER / "manifest.json").read_text())
    except FileNotFoundError:
        log.warning("web.no_assets", way_out="pages have no style: run script/assets in the checkout")
        return {}
    return found


@cache
def files() -> dict[str, BuiltFile]:
    """Return the built files by the names under which they are asked for."""
    contents = {name: (FOLDER / name).read_bytes() for name in names().values()}
    return {
        name: BuiltFile(TYPES[Path(name).suffix], content, gzip.compress(content, mtime=0))
        for name, content in contents.items()
    }


@router.get("/static/{name}")
async def static_file(name: str, request: Request) -> Response:
    file = files().get(name)
    if file is None:
        return Response(status_code=HTTPStatus.NOT_FOUND)
    headers = {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(file.compressed, media_type=file.media_type, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


@router.get("/favicon.ico")
async def icon() -> Response:
    return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Cache-Control": "public, max-age=86400"})
