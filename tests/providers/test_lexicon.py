"""What is particular to lexicon: changes record by record, services that say no or nothing at all, its settings."""

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from pydantic import ValidationError

from tests.providers.knot import ADDRESS
from tests.providers.powerdns import PowerDns, powerdns
from wgfleet.panel.dns.providers import Blocked, lexicon_client
from wgfleet.panel.dns.providers.lexicon import Lexicon, LexiconOptions
from wgfleet.panel.domain.dns.records import Changes, mark
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.testing.dns_provider import ours

OWNER, OTHER = mark("panel1", "config1"), mark("panel2", "config1")
NAME = "vpn.zone.example"
V4, V4_B = "192.0.2.1", "192.0.2.2"
CREDENTIAL = "the-secret-token"


@pytest.fixture(scope="module")
def server() -> Iterator[PowerDns]:
    with powerdns() as running:
        yield running


@contextmanager
def answering(status: int, headers: dict[str, str] | None = None, body: str = "") -> Iterator[str]:
    """A service that answers everything alike; gives its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with http.server.HTTPServer((ADDRESS, 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://{ADDRESS}:{listening.server_port}"
        listening.shutdown()
        thread.join()


def at(url: str) -> Lexicon:
    settings = {"pdns_server": url, "auth_token": CREDENTIAL}
    return Lexicon("zone.example", LexiconOptions.model_validate({"provider": "powerdns", "settings": settings}))


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, PermanentError), (403, PermanentError), (404, PermanentError), (422, PermanentError), (500, TransientError),
     (503, TransientError), (200, TransientError)],
)  # fmt: skip
def test_a_status_is_worth_another_try_or_not_and_comes_with_the_services_words(
    status: int, expected: type[Exception]
) -> None:
    with answering(status, body=f"no such thing: {CREDENTIAL}") as url, pytest.raises(expected) as failure:
        at(url).read(NAME)
    assert "powerdns" in str(failure.value)
    assert ("no such thing" in str(failure.value)) == (status != 200)
    assert CREDENTIAL not in str(failure.value)


def test_a_service_that_turns_the_account_away_says_for_how_long() -> None:
    with answering(429, {"Retry-After": "17"}) as url, pytest.raises(Blocked) as failure:
        at(url).read(NAME)
    assert failure.value.retry_after_s == 17


def test_a_service_that_never_answers_holds_nobody_up_and_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicon_client, "CALL_S", 0.2)
    with socket.create_server((ADDRESS, 0)) as silent:
        provider = at(f"http://{ADDRESS}:{silent.getsockname()[1]}")
        with pytest.raises(TransientError, match="did not answer within"):
            provider.read(NAME)
        with pytest.raises(TransientError, match="still without an answer"):
            provider.read(NAME)


@pytest.mark.servers
def test_an_address_that_changes_is_there_before_the_old_one_goes(
    server: PowerDns, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, steps = server.provider(), []
    provider.apply(NAME, Changes(creates=(ours("A", V4, OWNER),)))
    for step in ("create", "delete"):
        done = getattr(lexicon_client.Session, step)

        def note(session: object, name: str, *what: object, done: object = done) -> None:
            done(session, name, *what)  # type: ignore[operator]
            steps.append((name.removesuffix(NAME), {content for kind, content, _ in server.records(NAME)}))

        monkeypatch.setattr(lexicon_client.Session, step, note)
    provider.apply(NAME, Changes(deletes=provider.read(NAME), creates=(ours("A", V4_B, OWNER),)))
    assert steps == [("_wgfleet.", {V4}), ("", {V4, V4_B}), ("", {V4_B}), ("_wgfleet.", {V4_B})]
    provider.apply(NAME, Changes(deletes=provider.read(NAME)))
    assert server.records(f"_wgfleet.{NAME}") == set()


@pytest.mark.servers
def test_a_ttl_that_is_one_for_all_changes_only_where_all_are_ours(server: PowerDns) -> None:
    name, provider = f"shared.{server.zone}", server.provider()
    server.plant(name, "A", V4)
    provider.apply(name, Changes(creates=(ours("A", V4_B, OWNER),)))
    mine = next(record for record in provider.read(name) if record.owner == OWNER)
    provider.apply(name, Changes(updates=((mine, replace(mine, ttl=600)),)))
    assert {(record.content, record.owner) for record in provider.read(name)} == {(V4, None), (V4_B, OWNER)}


@pytest.mark.servers
def test_of_two_marks_for_one_record_everybody_believes_the_same(server: PowerDns) -> None:
    name = f"twice.{server.zone}"
    server.plant(name, "A", V4)
    server.replace(f"_wgfleet.{name}", "TXT", [f'"{owner} A {V4}"' for owner in (OTHER, OWNER)])
    assert [record.owner for record in server.provider().read(name)] == [OWNER]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"provider": "powerdsn"}, "no provider 'powerdsn'; it has aliyun"),
        ({"provider": "auto"}, "no provider 'auto'"),
        ({"provider": "softlayer"}, "pip install 'dns-lexicon"),
        ({"provider": "powerdns", "settings": {"auth_tokn": CREDENTIAL}}, "no setting auth_tokn; it has auth_token"),
    ],
)
def test_settings_that_lexicon_does_not_have_are_refused_with_those_it_has(
    values: dict[str, object], says: str
) -> None:
    with pytest.raises(ValidationError, match=says) as failure:
        LexiconOptions.model_validate(values)
    assert CREDENTIAL not in failure.value.errors()[0]["msg"]
