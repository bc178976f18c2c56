"""Forms with several wrong fields: all of them are named at once.

Models of the API's bodies name all values that are no values. What a service refuses it says one at a time. So the rest
of a refused form is tried without what is wrong so far, as often as that finds something more; nothing of it stays.
"""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from starlette.exceptions import HTTPException
from starlette.responses import Response

from wgfleet.panel import clock, host_names
from wgfleet.panel.web.forms import REFUSALS, WAS, SubmittedForm

if TYPE_CHECKING:
    from wgfleet.panel.api.panel import Panel

MOST_TRIES = 12
_NAMES = {"name", "config_name", "peer_name"}
# What a form for something new cannot do without, while the rest of it is tried.
_STAND_INS = {"endpoint_addresses": "198.19.0.1", "pools": "198.18.0.0/16", "scopes": "read"}
# What makes sense only with another field: it is not judged where that one is wrong.
_PARTS = {
    "config": ("addresses",),
    "field": ("value", "period"),
    "pools": ("addresses", "server_addresses"),
}

Page = TypeVar("Page", bound=Callable[..., Response])


def all_at_once(answer: Page) -> Page:
    """Have a page that takes a form name all that is wrong with it.

    The page may be asked several times for one form: what it does has to be in transactions of the store, and what goes
    beyond these must be harmless when it is done again.
    """

    @functools.wraps(answer)
    def asked(**given: Any) -> Response:
        form: SubmittedForm = given["form"]
        with host_names.remembering():
            answered = answer(**given)
            if not form.wrong or form.others:
                return answered
            more = _more(answer, given)
            return answer(**{**given, "form": form.tried_again(more)}) if more else answered

    return cast("Page", asked)


def _more(answer: Callable[..., Response], given: Mapping[str, Any]) -> dict[str, str]:
    """Return what else is wrong with a form that was refused, by the names of the fields."""
    form: SubmittedForm = given["form"]
    panel: Panel = given["panel"]
    found: dict[str, str] = {}
    for _ in range(MOST_TRIES):
        tried = _without(form, {*form.wrong, *found})
        try:
            with panel.store.rehearsing():
                answer(**{**given, "form": tried})
        except (*REFUSALS, HTTPException):
            break  # of the whole, or of what was to be there by now
        # What was left empty may be missed only since something else was left out now.
        new = {name: said for name, said in tried.wrong.items() if name not in {*form.wrong, *found} and form.get(name)}
        if tried.others or not new:
            break
        found |= new
    return found


def _without(form: SubmittedForm, wrong: set[str]) -> SubmittedForm:
    """Return a form with these fields, and what only makes sense with them, as if nobody had filled them in."""
    lists = {name: list(values) for name, values in form.lists.items()}
    for name in {*wrong, *(part for each in wrong for part in _PARTS.get(each, ()))}:
        lists.pop(name, None)
        before = form.values.get(WAS + name)
        stand_in = f"t{clock.new_id()[-8:]}" if name in _NAMES else _STAND_INS.get(name)
        if before is not None or stand_in is not None:
            lists[name] = [str(before if before is not None else stand_in)]
    values = {name: each[-1] for name, each in lists.items()} | {
        name: value for name, value in form.values.items() if name not in form.lists
    }
    return SubmittedForm(values, lists, edits=form.edits, trial=True)
