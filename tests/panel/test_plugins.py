"""Plugins and their options, whatever they are for: found, checked, stored, and their secrets kept to themselves."""

from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr

from wgfleet.panel import plugins
from wgfleet.panel.errors import Invalid, PermanentError
from wgfleet.panel.plugins import HIDDEN, PanelSetting, Plugin, Plugins

SETTINGS = SimpleNamespace(mail=SimpleNamespace(token=SecretStr("panel's"), url="https://mail.example"))
NO_SETTINGS = SimpleNamespace(mail=SimpleNamespace(token=None, url="https://mail.example"))


class Account(BaseModel):
    """A group of options with a secret in it."""

    user: str
    password: SecretStr


class MailOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    token: Annotated[SecretStr, PanelSetting("mail.token")]
    url: Annotated[str, PanelSetting("mail.url")] = "https://default.example"
    size: int = 1
    account: Account | None = None
    headers: dict[str, SecretStr] = {}


class Mail:
    name: ClassVar[str] = "mail"
    Options: ClassVar[type[BaseModel]] = MailOptions


class Senders(Plugins[Plugin]):
    group = "test.senders"
    subject = "sender"
    name_field = "sender"
    options_field = "sender_options"
    kept_with = "all other options"


def installed(monkeypatch: pytest.MonkeyPatch, settings: object = None, **values: str) -> Senders:
    points = [EntryPoint(name, value, Senders.group) for name, value in values.items()]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points if group == Senders.group else [])
    return Senders.installed(settings)


@pytest.fixture
def senders() -> Senders:
    return Senders({"mail": Mail})


def field_of(call: Any, *given: Any) -> tuple[str | None, str]:
    with pytest.raises(Invalid) as refusal:
        call(*given)
    return refusal.value.field, refusal.value.detail


def test_one_that_is_missing_and_one_that_is_broken_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    found = installed(monkeypatch, mail=f"{__name__}:Mail", gone="no.such.module:X", wrong=f"{__name__}:SETTINGS")
    assert found.names == ["mail"]
    assert found.find("mail").name == "mail"
    with pytest.raises(PermanentError, match=r"^there is no sender 'post'; installed: mail$"):
        found.find("post")
    with pytest.raises(PermanentError, match=r"^sender 'gone' cannot be loaded from no\.such\.module:X: No module"):
        found.find("gone")
    with pytest.raises(PermanentError, match=r"'wrong' cannot be loaded from .*:SETTINGS: not a plugin"):
        found.find("wrong")
    assert field_of(found.require, "post") == ("sender", "there is no sender 'post'; installed: mail")
    assert field_of(Senders({}).require, "post") == ("sender", "there is no sender 'post'; installed: none")


def test_an_error_names_the_field_and_repeats_no_input(senders: Senders) -> None:
    field, detail = field_of(senders.canonical, "mail", {"token": "hush", "size": "hush"})
    assert field == "sender_options.size"
    assert "hush" not in detail
    given = {"token": "hush", "account": {"user": "a", "password": 7}}
    assert field_of(senders.canonical, "mail", given)[0] == "sender_options.account.password"
    assert field_of(senders.canonical, "mail", {"token": "hush", "other": 1})[0] == "sender_options.other"


def test_what_is_stored_is_what_was_given_and_validates_again(senders: Senders) -> None:
    stored = senders.canonical("mail", {"token": "hush", "size": "3", "headers": {"X-Key": "x"}, "account": None})
    assert stored == {"token": "hush", "size": 3, "headers": {"X-Key": "x"}, "account": None}
    assert senders.canonical("mail", stored) == stored


def test_no_secret_is_shown_however_deep_it_is(senders: Senders) -> None:
    options = {"token": "t", "size": 3, "headers": {"X": "x"}, "account": {"user": "u", "password": "p"}, "old": 1}
    hidden = {"token": HIDDEN, "size": 3, "headers": HIDDEN, "account": HIDDEN, "old": HIDDEN}
    assert senders.shown("mail", options) == hidden
    assert Senders({}).shown("mail", {"token": "t", "size": 3}) == {"token": HIDDEN, "size": HIDDEN}


@pytest.mark.parametrize("given", [None, {"size": 3}, {"size": 3, "token": HIDDEN}])
def test_a_secret_is_kept_while_all_else_is_unchanged(senders: Senders, given: dict[str, Any] | None) -> None:
    kept = {"size": 3, "token": "hush"}
    assert senders.with_kept("mail", given, kept) == kept
    assert senders.with_kept("mail", {"size": 3, "token": "new"}, kept) == {"size": 3, "token": "new"}


def test_a_secret_does_not_follow_changed_options(senders: Senders) -> None:
    kept = {"url": "https://a.example", "token": "hush"}
    changed = {"url": "https://b.example"}
    assert senders.with_kept("mail", changed, kept) == changed
    told = ("sender_options.token", "re-enter this secret: it is kept only if all other options are unchanged")
    assert field_of(senders.with_kept, "mail", {**changed, "token": HIDDEN}, kept) == told
    assert field_of(senders.with_kept, "mail", {"token": HIDDEN}, {}) == told


def test_the_panel_s_credential_serves_those_without_their_own_and_goes_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = installed(monkeypatch, SETTINGS, mail=f"{__name__}:Mail")
    assert "panel's" not in repr(found)
    secret = {"token": "x", "account": {"user": "u", "password": "p"}, "headers": {}}
    for given, token, url in (
        ({}, "panel's", "https://mail.example"),
        (secret, "x", "https://default.example"),
    ):
        options = found.options("mail", given)
        assert isinstance(options, MailOptions)
        assert (options.token.get_secret_value(), options.url) == (token, url)
    assert found.canonical("mail", {"size": 2}) == {"size": 2}
    field, detail = field_of(found.options, "mail", {"url": "https://evil.example"})
    assert field == "sender_options"
    assert detail.startswith("url can only be overridden together with")


def test_without_the_panel_s_credential_an_error_says_where_to_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = installed(monkeypatch, NO_SETTINGS, mail=f"{__name__}:Mail")
    assert field_of(found.options, "mail", {}) == (
        "sender_options.token",
        "must be given, or mail.token (WGFLEET_MAIL__TOKEN) in the panel's settings",
    )
