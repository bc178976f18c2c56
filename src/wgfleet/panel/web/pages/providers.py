"""Sign-in providers: OpenID providers, directories and proxies that vouch for people; made, tested and changed."""

from functools import partial
from typing import Annotated, Any

from fastapi import Path, Request
from pydantic import BaseModel
from starlette.responses import Response

from wgfleet.panel.api.auth import Admin
from wgfleet.panel.api.models import Reference
from wgfleet.panel.api.oidc import RETURN_PATH
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.sign_in_providers import (
    ChangedProvider,
    ForwardedSettings,
    LdapSettings,
    NewProvider,
    OidcSettings,
    ProviderTestView,
    create_sign_in_provider,
    delete_sign_in_provider,
    list_sign_in_providers,
    show_sign_in_provider,
    sync_sign_in_provider,
    try_sign_in_provider,
    update_sign_in_provider,
)
from wgfleet.panel.domain.identities import ProviderKind
from wgfleet.panel.errors import PanelError
from wgfleet.panel.services.access.callers import Caller, Role
from wgfleet.panel.web.addresses import from_outside
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm, typed_name_is
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page
from wgfleet.protocol.errors import FieldError

router = page_router()
OPTIONS: dict[ProviderKind, type[BaseModel]] = {
    ProviderKind.OIDC: OidcSettings,
    ProviderKind.LDAP: LdapSettings,
    ProviderKind.FORWARDED: ForwardedSettings,
}
Kind = Annotated[ProviderKind, Path()]
WRONG_ROLES = marked("give lines such as vpn-admins = admin; roles are admin, operator, viewer, self-service")


@router.get("/settings/providers")
def list_providers(request: Request, panel: ThePanel, caller: Admin) -> Response:
    found = list_sign_in_providers(panel, caller).items
    return page(request, "providers/list.html", {"providers": found, "kinds": list(ProviderKind)})


@router.get("/new/provider/{kind}")
def new_provider_page(request: Request, panel: ThePanel, _caller: Admin, kind: Kind) -> Response:
    return _edit(request, panel, kind, SubmittedForm(), None)


@router.post("/new/provider/{kind}")
@all_at_once
def make_provider(request: Request, panel: ThePanel, caller: Admin, kind: Kind, form: TheForm) -> Response:
    """Make a provider; go on to its page, where it can be tested."""
    body = _read(form, kind, NewProvider)
    if body is None:
        return _edit(request, panel, kind, form, None)
    try:
        made = create_sign_in_provider(panel, caller, body)
    except REFUSALS as error:
        return _edit(request, panel, kind, _refused(form, error), None)
    return gone_on(request, f"/settings/providers/{made.id}")


@router.get("/settings/providers/{provider}")
def show_provider(request: Request, panel: ThePanel, caller: Admin, provider: Reference) -> Response:
    return _show(request, panel, caller, provider)


@router.post("/settings/providers/{provider}/test")
def try_provider(request: Request, panel: ThePanel, caller: Admin, provider: Reference) -> Response:
    """Ask it now, and show what it says; nobody signs in."""
    return _show(request, panel, caller, provider, try_sign_in_provider(panel, caller, provider))


@router.post("/settings/providers/{provider}/sync")
def sync_provider(request: Request, panel: ThePanel, caller: Admin, provider: Reference) -> Response:
    """Look who is still in a directory, and disable who is gone."""
    done = sync_sign_in_provider(panel, caller, provider)
    return page(
        request,
        "providers/synced.html",
        {"provider": show_sign_in_provider(panel, caller, provider), "done": done},
    )


@router.get("/settings/providers/{provider}/edit")
def edit_page(request: Request, panel: ThePanel, caller: Admin, provider: Reference) -> Response:
    row = show_sign_in_provider(panel, caller, provider)
    return _edit(request, panel, row.kind, SubmittedForm(edits=True), row)


@router.post("/settings/providers/{provider}/edit")
@all_at_once
def update_provider(request: Request, panel: ThePanel, caller: Admin, provider: Reference, form: TheForm) -> Response:
    """Change a provider. The secret stays where none is given, unless another server is asked now."""
    row = show_sign_in_provider(panel, caller, provider)
    body = _read(form, row.kind, ChangedProvider, getattr(row, row.kind))
    if body is None or form.overtaken(partial(_edit, request, panel, row.kind, form, row)):
        return _edit(request, panel, row.kind, form, row)
    try:
        update_sign_in_provider(panel, caller, provider, body)
    except REFUSALS as error:
        return _edit(request, panel, row.kind, _refused(form, error), row)
    return gone_on(request, f"/settings/providers/{provider}")


@router.get("/settings/providers/{provider}/delete")
def delete_page(request: Request, panel: ThePanel, caller: Admin, provider: Reference) -> Response:
    return _delete(request, panel, caller, provider, SubmittedForm())


@router.post("/settings/providers/{provider}/delete")
def delete_provider(request: Request, panel: ThePanel, caller: Admin, provider: Reference, form: TheForm) -> Response:
    try:
        typed_name_is(form, show_sign_in_provider(panel, caller, provider).name)
        delete_sign_in_provider(panel, caller, provider)
    except REFUSALS as error:
        return _delete(request, panel, caller, provider, form.refused(error))
    return gone_on(request, "/settings/providers")


def _read(form: SubmittedForm, kind: ProviderKind, model: type[Any], now: BaseModel | None = None) -> Any:
    """Return the API's body for a form: the options of its kind are fields beside the others.

    `now`: those that a provider has; what the form leaves unchanged stays as it is there.
    """
    boxes = {"starttls"} if kind == ProviderKind.LDAP else set()
    many = {"scopes"} if kind == ProviderKind.OIDC else set()
    options = form.read(OPTIONS[kind], many=many, boxes=boxes, whole=True)
    if options is not None and now is not None:
        kept = {name: value for name, value in now.model_dump().items() if form.unchanged(name)}
        options = options.model_copy(update=kept)
    roles: dict[str, str] = {}
    for line in form.get("roles").splitlines():
        group, separator, role = line.rpartition("=")
        if line.strip() and (not separator or role.strip() not in set(Role)):
            form.wrong["roles"] = WRONG_ROLES
        elif line.strip():
            roles[group.strip()] = role.strip()
    more = {} if options is None else {str(kind): options.model_dump(), "roles": roles}
    body = form.read(model, boxes={"makes_users", "enabled"}, keep_empty={"default_role"}, more=more)
    return None if form.wrong else body


def _refused(form: SubmittedForm, error: PanelError | FieldError) -> SubmittedForm:
    """Note a refusal at the field without the name of the kind before it."""
    if error.field is not None:
        error.field = error.field.rpartition(".")[2]
    return form.refused(error)


def _show(
    request: Request, panel: Panel, caller: Caller, provider: str, tested: ProviderTestView | None = None
) -> Response:
    context = {"provider": show_sign_in_provider(panel, caller, provider), "tested": tested}
    return page(request, "providers/provider.html", context)


def _edit(request: Request, panel: Panel, kind: ProviderKind, form: SubmittedForm, row: Any) -> Response:
    context = {
        "form": form,
        "kind": kind,
        "provider": row,
        "options": getattr(row, kind) if row else None,
        "back_to": from_outside(request, panel, RETURN_PATH),
    }
    return page(request, "providers/edit.html", context, status=form.status)


def _delete(request: Request, panel: Panel, caller: Caller, provider: str, form: SubmittedForm) -> Response:
    context = {"provider": show_sign_in_provider(panel, caller, provider), "form": form}
    return page(request, "providers/delete.html", context, status=form.status)
