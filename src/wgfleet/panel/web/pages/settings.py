"""Settings: how the panel itself is doing, and the value of each setting, with the reason for its default."""

from typing import Any

from fastapi import Request
from pydantic import BaseModel, SecretStr
from starlette.responses import Response

from wgfleet.panel.api.auth import Admin, Reader
from wgfleet.panel.api.monitoring import status_of
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.web_certificates import retry_web_certificate, web_certificate
from wgfleet.panel.services import incarnations
from wgfleet.panel.services.access.callers import READ
from wgfleet.panel.settings import Settings
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page

router = page_router()
SECTIONS = (Section(marked("Settings"), "/settings", 90, READ, whole=True, forms=("/new/user", "/new/provider/")),)
HIDDEN, NOTHING = "(set)", "\u2013"


@router.get("/settings")
def show_panel(request: Request, panel: ThePanel, _caller: Reader) -> Response:
    """Show how the panel is doing, and the ways to what can be set."""
    with panel.store.read() as tx:
        status = status_of(panel.name, panel.reports(), incarnations.superseded(tx))
        certificate = web_certificate(tx, panel)
    return page(request, "settings/panel.html", {"status": status, "certificate": certificate}, blocks={"now"})


@router.post("/settings/certificate")
def retry_certificate(request: Request, panel: ThePanel, caller: Admin) -> Response:
    """Ask the CA again now."""
    retry_web_certificate(panel, caller)
    return gone_on(request, "/settings")


@router.get("/settings/thresholds")
def show_thresholds(request: Request, panel: ThePanel, _caller: Admin) -> Response:
    """Show the settings. They are changed where they come from, and count from the next start."""
    return page(request, "settings/thresholds.html", {"groups": _groups(panel.settings)})


def _groups(settings: Settings) -> list[dict[str, Any]]:
    own: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = [{"name": "", "about": "", "settings": own}]
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            about = (type(value).__doc__ or "").strip()
            rows = [_setting(settings, value, each, f"{name}.{each}") for each in type(value).model_fields]
            found.append({"name": name, "about": about, "settings": rows})
        else:
            own.append(_setting(settings, settings, name, name))
    return found


def _setting(settings: Settings, group: BaseModel, name: str, key: str) -> dict[str, Any]:
    """Return a setting: its value, where that comes from, its default and the reason for that. No secret is shown."""
    field, value = type(group).model_fields[name], getattr(group, name)
    default = field.get_default(call_default_factory=False)
    return {
        "key": key,
        "value": _shown(value),
        "default": _shown(default),
        "changed": value != default,
        "place": settings.place_of(key),
        "variable": "WGFLEET_" + key.replace(".", "__").upper(),
        "reason": field.description or "",
    }


def _shown(value: object) -> str:
    if value is None or value in ((), {}):
        return NOTHING
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list | set | frozenset):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
