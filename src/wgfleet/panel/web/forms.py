"""Forms that pages send: read, known to come from a page of ours, and checked by the models of the API's bodies.

A change needs two things that a stranger's page does not have: the browser's word that it comes from this site, and the
token that our forms carry.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Request
from markupsafe import Markup
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.problems import field_words
from wgfleet.panel.errors import Conflict, Forbidden, Invalid, PanelError
from wgfleet.panel.web.isolation import without_isolation
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.visitors import TheVisitor
from wgfleet.protocol.digits import ascii_digits
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.quantities import speed_of

TOKEN = "form_token"  # noqa: S105 - the name of a field
WAS = "was:"  # how names of fields begin that have what another one showed first
SAFE = {"GET", "HEAD"}
MOST_FIELDS = 500
_URLENCODED = "application/x-www-form-urlencoded"
ELSEWHERE = marked("the form was sent from another site; open the page here and send it again")
OTHER_NAME = marked("is another name; nothing was done")
OVERTAKEN = marked("was changed by somebody else meanwhile; save again to have yours")
OLD_FORM = marked("the form is of an earlier visit; go back, load the page again and send it again")

VALUES = frozenset({
    "addresses", "agent_host", "agent_port", "backbone_port", "bandwidth_mbps", "capacity", "client_allowed_ips",
    "code", "count", "days", "denied_networks", "device_limit", "dns", "dns.record_name", "domain", "download_speed",
    "drain_window_s", "endpoint_address", "endpoint_addresses", "endpoint_name", "endpoint_port", "excluded_networks",
    "expires_at", "file_names", "hours", "keepalive", "limit_date", "limit_gib", "listen_port", "min_nodes", "mtu",
    "networks", "node_ports", "pools", "port", "priority", "public_backbone_port", "public_port", "relay_hours",
    "rules", "server_addresses", "ttl", "upload_speed", "value", "weight", "windows",
})  # fmt: skip
"""Fields in which digits may be of any keyboard.

They are of numbers, dates, addresses, sizes and times, and of names in ASCII, those of hosts and files.
"""

DECIMALS = frozenset({
    "download_speed", "drain_window_s", "hours", "limit_gib", "relay_hours", "upload_speed", "value", "weight",
})  # fmt: skip
"""Fields of numbers with a fraction, before which many languages have a comma."""
_COMMA = re.compile(r"(\s*(?:0|\d+(?=,(?!\d{3}\b)))),(\d+\s*[A-Za-z/]*\s*)", re.ASCII)  # but for 1,500: not surely 1.5

REFUSALS = (PanelError, FieldError)
"""What pages catch around a service, to show the form again with what is wrong."""

Model = TypeVar("Model", bound=BaseModel)


@dataclass(slots=True)
class SubmittedForm:
    """What was sent, by the names of the fields, and what is wrong with it. A form that is shown first is empty."""

    values: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, list[str]] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    error: PanelError | None = None
    edits: bool = False
    """Whether it is of something that is there, and is shown for the first time."""
    others: dict[str, str] = field(default_factory=dict)
    """What somebody else has set meanwhile, of fields that this form was to change as well."""
    trial: bool = False
    """Whether it is tried only (`all_at_once`), and nothing stays of what it does."""
    also: Mapping[str, str] = field(default_factory=dict)
    """What else is wrong with it than what is found first."""
    _now: dict[str, str] = field(default_factory=dict)

    @property
    def remembers(self) -> bool:
        """Whether its page has what the fields showed first, so that what is not changed in it stays as it is."""
        return self.edits or any(name.startswith(WAS) for name in self.values)

    def was(self, name: str, value: object) -> object:
        """Return what a field showed first; `value`: what it would show now. Where that was said, it is the latter."""
        self._now[name] = str(value)
        return value if name in self.others else self.values.get(WAS + name, value)

    def overtaken(self, draw: Callable[[], object]) -> bool:
        """Say whether somebody else has changed what this form changes, since it was drawn. `draw` draws it again.

        It has to be drawn once more then, and says so at each such field. Sent again, it counts: from then on the field
        is one that showed what the other had set.
        """
        if self.remembers:
            draw()  # which calls `was` with what is stored now
        for name, now in self._now.items():
            before = self.values.get(WAS + name)
            sent = _plain(" ".join(sorted(self.lists.get(name, ()))))
            if before is not None and _plain(before) not in {sent, _plain(now)} and _plain(now) != sent:
                self.others[name] = now
                self.wrong[name] = OVERTAKEN
        return bool(self.others)

    def tried_again(self, also: Mapping[str, str]) -> "SubmittedForm":
        """Return the form as it was sent, of which is known what else is wrong."""
        return SubmittedForm(self.values, self.lists, edits=self.edits, also=also)

    def say_all(self) -> None:
        """Have `wrong` name also what is known to be wrong besides; a page calls it before it is made."""
        if self.wrong:
            self.wrong = {**self.also, **self.wrong}

    def unchanged(self, name: str) -> bool:
        """Whether a field was sent as it was shown: somebody else may have changed it meanwhile."""
        before = self.values.get(WAS + name)
        return before is not None and _plain(" ".join(sorted(self.lists.get(name, ())))) == _plain(before)

    def get(self, name: str, default: str = "") -> str:
        """Return the text of a field."""
        return self.values.get(name, default)

    def chosen(self, name: str) -> list[str]:
        """Return all values of a field that may come more than once."""
        return self.lists.get(name, [])

    def words(self, name: str) -> list[str]:
        """Return what commas or spaces part in a field."""
        return self.get(name).replace(",", " ").split()

    def ticked(self, name: str) -> bool:
        """Say whether a box is ticked."""
        return name in self.values

    @property
    def place(self) -> Markup:
        """What stands in a page where `form_summaries` puts what is wrong with the form."""
        return Markup(f"<!--form {id(self)}-->" if self.wrong or self.error is not None else "")  # noqa: S704 - a number

    @property
    def refused_at(self) -> str | None:
        """The field that a service refused; of a list, the field that has it."""
        field = None if self.error is None else self.error.field
        return None if field is None else field.partition("[")[0]

    @property
    def sent(self) -> bool:
        """Whether somebody sent it; a form that is shown first may have fields that a link has filled in."""
        return TOKEN in self.values

    def refused(self, error: PanelError | FieldError) -> "SubmittedForm":
        """Note why a service refused it (one of `REFUSALS`), at its field where it names one."""
        if isinstance(error, FieldError):
            error = Invalid(error.said or error.detail, field=error.field)
        if error.field is not None:
            self.wrong[error.field.partition("[")[0]] = error.said or error.detail
        # Not where it was raised: the frames there hold this form, and with it all that was sent and made of it.
        error.__traceback__ = error.__context__ = error.__cause__ = None
        self.error = error
        return self

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note what a block is refused for, and go on after it."""
        try:
            yield
        except REFUSALS as error:
            self.refused(error)

    @property
    def status(self) -> int:
        """The status of the answer that shows it."""
        if self.error is not None:
            return self.error.status
        if self.others:
            return Conflict.status
        return Invalid.status if self.wrong else HTTPStatus.OK

    def read(
        self,
        model: type[Model],
        *,
        many: Collection[str] = (),
        boxes: Collection[str] = (),
        keep_empty: Collection[str] = (),
        prefix: str = "",
        without: Collection[str] = (),
        more: Mapping[str, Any] = MappingProxyType({}),
        whole: bool = False,
    ) -> Model | None:
        """Return the body of the API's call that the form stands for; None: `wrong` says at which field it is.

        Of `many`, each line or what commas part is a value. Fields that are left empty are left out, but for
        `keep_empty`. `boxes` are true where they are ticked, and false where not. `prefix`: how the names of fields
        begin in the form, where the body is a part of another. `without`: fields of the body that no text stands for.
        `more`: values that are no text. Fields that are `unchanged` are left out, unless the `whole` is wanted.
        """
        data: dict[str, Any] = {}
        kept = set() if whole else {name for name in model.model_fields if self.unchanged(prefix + name)}
        for name in model.model_fields.keys() - set(without) - kept:
            text = self.get(prefix + name).strip()
            if name in boxes:
                data[name] = self.ticked(prefix + name)
            elif name in many:
                if text or name in keep_empty:
                    data[name] = text.replace(",", "\n").split()
            elif text or (name in keep_empty and prefix + name in self.values):
                data[name] = text or None
        data.update({name: value for name, value in more.items() if name not in kept})
        try:
            return model.model_validate(data, strict=False)
        except ValidationError as error:
            for item in error.errors():
                path, detail = field_words({**item, "loc": ("body", *item["loc"])})
                self.wrong.setdefault(prefix + path.partition("[")[0], detail)
            return None


def _plain(text: str) -> str:
    """Return a text without what browsers make of the ends of lines."""
    return text.replace("\r\n", "\n").strip()


def made_of(model: type[Model], **values: Any) -> Model:
    """Return the body of the API's call that some values stand for; raise `Invalid` where it takes them not.

    For values of a form that `SubmittedForm.read` does not know: call it where `REFUSALS` are caught.
    """
    try:
        return model.model_validate(values, strict=False)
    except ValidationError as error:
        item = error.errors()[0]
        path, detail = field_words({**item, "loc": ("body", *item["loc"])})
        raise Invalid(detail, field=path) from None


def given_speed(form: SubmittedForm, name: str) -> int | None:
    """Return the speed that a field gives, in bits per second; None: it is empty. Raise `FieldError`."""
    if not (text := form.get(name).strip()):
        return None
    try:
        return speed_of(text)
    except ValueError as error:
        raise FieldError(name, error.args[0]) from None


def typed_name_is(form: SubmittedForm, name: str) -> None:
    """Raise `Invalid` unless the name of what is to be destroyed was typed (`forms.typed_name` in templates)."""
    if without_isolation(form.get("typed_name")).strip() != name:
        raise Invalid(OTHER_NAME, field="typed_name")


async def _form(request: Request, visitor: TheVisitor, panel: ThePanel) -> SubmittedForm:
    """Read the form of a change, and refuse one that no page of ours has sent."""
    if request.method in SAFE:
        return SubmittedForm()
    if not _from_here(request, panel.settings.public_url):
        raise Forbidden(ELSEWHERE)
    if not request.headers.get("content-type", _URLENCODED).startswith(_URLENCODED):
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    try:
        pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise HTTPException(HTTPStatus.BAD_REQUEST) from None
    lists: dict[str, list[str]] = {}
    for name, value in pairs:
        lists.setdefault(name, []).append(_number(name, ascii_digits(value)) if name in VALUES else value)
    form = SubmittedForm({name: values[-1] for name, values in lists.items()}, lists)
    if not visitor.owns(form.get(TOKEN)):
        raise Forbidden(OLD_FORM)
    return form


def _number(name: str, text: str) -> str:
    """Return what a field has, with a point where its number has a comma."""
    found = _COMMA.fullmatch(text) if name in DECIMALS else None
    return text if found is None else f"{found[1]}.{found[2]}"


def _from_here(request: Request, public_url: str | None) -> bool:
    """Say whether a change comes from this site, as far as the browser says; programs say nothing."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    if origin is None:
        return True
    try:
        asked = urlsplit(origin).netloc
    except ValueError:
        return False
    return asked in {request.headers.get("host"), urlsplit(public_url or "").netloc or None}


TheForm = Annotated[SubmittedForm, Depends(_form)]
