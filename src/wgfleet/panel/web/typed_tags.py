"""Tags that somebody types on a peer's form: those that there are not yet are made with it, or not at all.

Nobody makes tags whom a limit keeps from those of others: a name may be taken there, and only there.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from wgfleet.panel.api import tags as api
from wgfleet.panel.api.panel import Panel
from wgfleet.panel.api.tags import NewTag
from wgfleet.panel.errors import NotFound
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.fleet import tags
from wgfleet.panel.web.forms import REFUSALS, WAS, SubmittedForm, made_of
from wgfleet.panel.web.languages import marked
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason

FIELD = "new_tags"
NOT_YOURS = marked("no peer of yours has the tag {name!r}; an administrator gives a new tag to its first peer")


@contextmanager
def typed_tags(panel: Panel, caller: Caller, form: SubmittedForm) -> Iterator[list[str]]:
    """Yield the ids of the tags that a form has as text; where it is refused, those made for it are gone again."""
    made: list[str] = []
    found: list[str] = []
    try:
        found += [_id(panel, caller, name, made) for name in _names(form)]
        yield [each for each in found if each not in made] if form.trial else found  # those made for a trial are gone
    except REFUSALS:
        with panel.store.write() as tx:
            tags.delete_unused(tx, caller.actor, made)
        raise


def there_already(panel: Panel, caller: Caller, form: SubmittedForm) -> list[str]:
    """Return the ids of the tags that a form has as text and that there are; none is made."""
    found = []
    with panel.store.read() as tx:
        for name in _names(form):
            with suppress(NotFound):
                found.append(tags.get(tx, name, caller.limit).id)
    return found


def _names(form: SubmittedForm) -> list[str]:
    """Return what is typed; raise `FieldError` before any of more than a peer may have is made."""
    names = list(dict.fromkeys(name for each in form.get(FIELD).split(",") if (name := each.strip())))
    if len(names) > tags.MAX_TAGS:
        raise FieldError(
            FIELD, Reason("a peer has at most {most} tags, not {count}", most=tags.MAX_TAGS, count=len(names))
        )
    return names


def merged(form: SubmittedForm, now: Sequence[str], typed: Sequence[str]) -> list[str]:
    """Return the ids of the tags that a peer is to have. `now`: of those it has; `typed`: what the form has as text.

    Others may have changed them since the form was drawn: what was ticked then and is so yet stays as they left it.
    """
    before = form.values[WAS + "tags"].split() if WAS + "tags" in form.values else now
    ticked = form.chosen("tags")
    stay = [each for each in now if each in ticked or each not in before]
    return list(dict.fromkeys([*stay, *(each for each in ticked if each not in before), *typed]))


def _id(panel: Panel, caller: Caller, name: str, made: list[str]) -> str:
    with panel.store.read() as tx:
        try:
            return tags.get(tx, name, caller.limit).id
        except NotFound:
            if caller.limit is not None:
                raise FieldError(FIELD, Reason(NOT_YOURS, name=name)) from None
    try:
        made.append(api.create_tag(panel, caller, made_of(NewTag, name=name)).id)
    except REFUSALS as error:
        raise FieldError(FIELD, getattr(error, "said", None) or error.detail) from None
    return made[-1]
