"""Sets of destination rules: listed, made, changed after a look at who is cut off from what, and deleted."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api import rule_sets as api
from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import After
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.previews import preview_rule_set
from wgfleet.panel.api.rule_sets import ChangedRuleSet, NewRuleSet, RuleSetReference, RuleSetView
from wgfleet.panel.errors import PanelError
from wgfleet.panel.services.access.callers import READ
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm, typed_name_is
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page
from wgfleet.protocol.destination_words import rule_of, rule_text
from wgfleet.protocol.errors import FieldError

router = page_router()
SECTIONS = (Section(marked("Rule sets"), "/rule-sets", 23, READ, forms=("/new/rule-set",)),)
PAGE = 50
OTHERWISE = (("true", marked("let through")), ("false", marked("refused")))


@router.get("/rule-sets")
def list_rule_sets(request: Request, panel: ThePanel, caller: Reader, after: After = None) -> Response:
    """List the sets; who is limited to some configs sees those that these use."""
    found = api.list_rule_sets(panel, caller, after, PAGE)
    context = {
        "sets": found.items,
        "first": "/rule-sets" if after else None,
        "following": with_query("/rule-sets", {"after": found.next}) if found.next else None,
    }
    return page(request, "rule_sets/list.html", context)


@router.get("/new/rule-set")
def new_rule_set_page(request: Request, _caller: Writer) -> Response:
    return _new(request, SubmittedForm())


@router.post("/new/rule-set")
@all_at_once
def create_rule_set(request: Request, panel: ThePanel, caller: Writer, form: TheForm) -> Response:
    body = _body(form, NewRuleSet)
    if body is None:
        return _new(request, form)
    try:
        made = api.create_rule_set(panel, caller, body)
    except REFUSALS as error:
        return _new(request, _refused(form, error))
    return gone_on(request, f"/rule-sets/{made.id}")


@router.get("/rule-sets/{rule_set}")
def rule_set_page(request: Request, panel: ThePanel, caller: Reader, rule_set: RuleSetReference) -> Response:
    """Show a set; who may change it has the form for that."""
    return _edit(request, api.show_rule_set(panel, caller, rule_set), SubmittedForm(edits=True))


@router.post("/rule-sets/{rule_set}")
@all_at_once
def update_rule_set(
    request: Request, panel: ThePanel, caller: Writer, rule_set: RuleSetReference, form: TheForm
) -> Response:
    """Change a set. A form that has not agreed comes back with who would reach what no more."""
    shown = api.show_rule_set(panel, caller, rule_set)
    body = _body(form, ChangedRuleSet)
    if body is None or form.overtaken(partial(_edit, request, shown, form)):
        return _edit(request, shown, form)
    try:
        noticed = [] if form.ticked("agreed") else preview_rule_set(panel, caller, shown.id, body).effects
        if noticed:
            return _edit(request, shown, form, noticed)
        api.update_rule_set(panel, caller, shown.id, body)
    except REFUSALS as error:
        return _edit(request, shown, _refused(form, error))
    return gone_on(request, f"/rule-sets/{shown.id}")


@router.get("/rule-sets/{rule_set}/delete")
def delete_page(request: Request, panel: ThePanel, caller: Writer, rule_set: RuleSetReference) -> Response:
    return _delete(request, api.show_rule_set(panel, caller, rule_set), SubmittedForm())


@router.post("/rule-sets/{rule_set}/delete")
def delete_rule_set(
    request: Request, panel: ThePanel, caller: Writer, rule_set: RuleSetReference, form: TheForm
) -> Response:
    """Delete a set that nobody has."""
    shown = api.show_rule_set(panel, caller, rule_set)
    try:
        typed_name_is(form, shown.name)
        api.delete_rule_set(panel, caller, shown.id)
    except REFUSALS as error:
        return _delete(request, shown, form.refused(error))
    return gone_on(request, "/rule-sets")


def _body(form: SubmittedForm, model: type[Any]) -> Any:
    """Return the body that a form asks for, a rule a line; None: the form says what is wrong."""
    rules = []
    for number, line in enumerate(filter(None, map(str.strip, form.get("rules").splitlines())), 1):
        try:
            rules.append(rule_of(line))
        except ValueError as error:
            form.wrong["rules"] = f"rule {number}: {error}"
            return None
    more = {"rules": rules, "otherwise_allowed": form.get("otherwise_allowed") != "false"}
    return form.read(model, without={"rules", "otherwise_allowed"}, more=more)


def _refused(form: SubmittedForm, error: PanelError | FieldError) -> SubmittedForm:
    """Note why a set was refused, with the number of the rule that is wrong."""
    form.refused(error)
    name, _, rest = (error.field or "").partition("[")
    if name == "rules" and rest:
        form.wrong["rules"] = f"rule {int(rest.partition(']')[0]) + 1}: {form.wrong['rules']}"
    return form


def _new(request: Request, form: SubmittedForm) -> Response:
    return page(request, "rule_sets/new.html", {"form": form, "otherwise": OTHERWISE}, status=form.status)


def _edit(request: Request, found: RuleSetView, form: SubmittedForm, noticed: Sequence[str] = ()) -> Response:
    lines = [rule_text(rule.model_dump()) for rule in found.rules]
    context = {"found": found, "lines": lines, "form": form, "noticed": noticed, "otherwise": OTHERWISE}
    return page(request, "rule_sets/rule_set.html", context, status=form.status)


def _delete(request: Request, found: RuleSetView, form: SubmittedForm) -> Response:
    return page(request, "rule_sets/delete.html", {"found": found, "form": form}, status=form.status)
