"""What is Cloudflare's own: one call a change, its limits, its proxy, its names, its failures and permissions."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from tests.providers.cloudflare.environment import SECRET, ZONE, ZONE_ID, CloudflareEnvironment, cloudflare
from tests.providers.cloudflare.misbehaviour import Fault
from tests.providers.cloudflare.zones import Zone
from wgfleet.panel.dns.providers import Blocked, Finding, Provider, Raced
from wgfleet.panel.dns.providers.cloudflare import PER_PAGE, Cloudflare, CloudflareOptions
from wgfleet.panel.dns.providers.cloudflare_api import Api
from wgfleet.panel.domain.dns.records import Changes, Record, mark
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.testing.dns_provider import ours, values

NAME = f"vpn.{ZONE}"
OWNER = mark("panel1", "config1")
V4, V4_B = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def environment() -> Iterator[CloudflareEnvironment]:
    with cloudflare() as opened:
        yield opened


@pytest.fixture
def provider(environment: CloudflareEnvironment) -> Iterator[Provider]:
    made = environment.provider()
    yield made
    made.close()


def address(number: int) -> str:
    return f"198.51.{100 + number // 256}.{number % 256}"


def create(provider: Provider, *records: Record) -> int:
    return provider.apply(NAME, Changes(creates=records))


def calls(environment: CloudflareEnvironment) -> list[tuple[str, str]]:
    return [
        (call["method"], call["path"].rpartition("/zones/" + ZONE_ID)[2]) for call in environment.stand_in.exchanges
    ]


def finding(provider: Provider, subject: str, name: str = NAME) -> Finding:
    return next(found for found in provider.check(name) if found.subject == subject)


def test_a_change_is_one_call_that_says_all_of_each_record(
    environment: CloudflareEnvironment, provider: Provider
) -> None:
    create(provider, ours("A", V4, OWNER), ours("A", V4_B, OWNER))
    first, second = sorted(provider.read(NAME), key=lambda record: record.content)
    environment.stand_in.exchanges.clear()
    changes = Changes((first,), ((second, replace(second, ttl=60)),), (ours("AAAA", "2001:db8::1", OWNER),))
    assert provider.apply(NAME, changes) == 1
    (call,) = environment.stand_in.exchanges
    written = {"name": NAME, "proxied": False, "comment": OWNER}
    assert call["request"] == {
        "posts": [{"type": "AAAA", "content": "2001:db8::1", "ttl": 300, **written}],
        "patches": [{"id": second.handle, "type": "A", "content": V4_B, "ttl": 60, **written}],
        "deletes": [{"id": first.handle}],
    }


def test_the_zone_is_asked_for_its_name_only_before_the_first_record(
    environment: CloudflareEnvironment, provider: Provider
) -> None:
    assert create(provider, ours("A", V4, OWNER)) == 2
    assert create(provider, ours("A", V4_B, OWNER)) == 1
    assert calls(environment) == [("GET", ""), ("POST", "/dns_records/batch"), ("POST", "/dns_records/batch")]


def test_more_than_a_batch_takes_is_split_with_the_new_first(
    environment: CloudflareEnvironment, provider: Provider
) -> None:
    create(provider, *(ours("A", address(number), OWNER) for number in range(150)))
    old = provider.read(NAME)
    environment.stand_in.exchanges.clear()
    new = tuple(ours("A", address(number), OWNER) for number in range(150, 300))
    assert provider.apply(NAME, Changes(deletes=old, creates=new)) == 2
    sent = [{kind: len(items) for kind, items in call["request"].items()} for call in environment.stand_in.writes]
    assert sent == [{"posts": 150, "deletes": 50}, {"deletes": 100}]
    assert values(provider.read(NAME)) == set(new)


@pytest.mark.slow
def test_all_pages_of_a_name_are_read(environment: CloudflareEnvironment, provider: Provider) -> None:
    environment.rows.plan = "pro"
    for number in range(PER_PAGE + 1):
        environment.plant(NAME, "A", address(number))
    environment.stand_in.exchanges.clear()
    assert len(provider.read(NAME)) == PER_PAGE + 1
    assert [call["query"]["page"] for call in environment.stand_in.exchanges] == ["1", "2"]


def test_a_proxied_record_is_seen_and_what_we_write_is_not_proxied(
    environment: CloudflareEnvironment, provider: Provider
) -> None:
    environment.plant(NAME, "A", V4, proxied=True, comment="by hand")
    (found,) = provider.read(NAME)
    assert (found.proxied, found.owner) == (True, "by hand")
    provider.apply(NAME, Changes(updates=((found, replace(found, proxied=False, ttl=60, owner=OWNER)),)))
    assert environment.rows.answers(NAME, "A") == {(V4, 60)}


def test_a_name_of_another_zone_is_refused_before_a_record_is_made(
    environment: CloudflareEnvironment, provider: Provider
) -> None:
    with pytest.raises(PermanentError, match=r"'vpn\.example\.net' is not in zone 'example\.com'"):
        provider.apply("vpn.example.net", Changes(creates=(ours("A", V4, OWNER),)))
    assert environment.rows.records == {}
    assert environment.stand_in.writes == []


def test_a_token_that_may_not_see_the_zone_leaves_no_record_astray(
    environment: CloudflareEnvironment, provider: Provider
) -> None:
    environment.token.permissions[ZONE_ID].remove("zone:read")
    with pytest.raises(PermanentError, match=r"'vpn\.example\.net' is not in zone"):
        provider.apply("vpn.example.net", Changes(creates=(ours("A", V4, OWNER),)))
    assert environment.rows.records == {}
    create(provider, ours("A", V4, OWNER))
    assert values(provider.read(NAME)) == {ours("A", V4, OWNER)}


@pytest.mark.parametrize("code", [81057, 81058])
def test_a_record_that_exists_is_a_race(environment: CloudflareEnvironment, provider: Provider, code: int) -> None:
    environment.rows.duplicate_code = code
    environment.plant(NAME, "A", V4)
    with pytest.raises(Raced, match=rf"\[{code}\] .* already exists"):
        create(provider, ours("A", V4, OWNER), ours("A", V4_B, OWNER))
    assert environment.records(NAME) == {("A", V4, 300)}


def test_a_record_that_is_gone_is_a_race_and_nothing_is_done(
    environment: CloudflareEnvironment, provider: Provider
) -> None:
    create(provider, ours("A", V4, OWNER))
    old = provider.read(NAME)
    environment.rows.records.clear()
    with pytest.raises(Raced, match=r"\[81044\] Record does not exist"):
        provider.apply(NAME, Changes(deletes=old, creates=(ours("A", V4_B, OWNER),)))
    assert environment.records(NAME) == set()


def test_an_alias_is_a_race_for_the_next_look_to_find(environment: CloudflareEnvironment, provider: Provider) -> None:
    environment.plant(NAME, "CNAME", "target.example.com")
    with pytest.raises(Raced, match=r"\[81054\] A CNAME record"):
        create(provider, ours("A", V4, OWNER))


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (ours("A", V4, OWNER, ttl=30), r"\[9021\] TTL must be between 60 and 86400"),
        (ours("A", V4, "x" * 101), r"\[9208\] Comment exceeds 100"),
    ],
)
def test_a_refusal_is_permanent_in_cloudflares_own_words(provider: Provider, record: Record, words: str) -> None:
    with pytest.raises(PermanentError, match=words):
        create(provider, record)


LOST = [
    {"kind": "error", "status": 500},
    {"kind": "error", "status": 502},
    {"kind": "error", "status": 503},
    {"kind": "html"},
    {"kind": "cut"},
    {"kind": "silence"},
]


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fault", LOST, ids=lambda fault: " ".join(map(str, fault.values())))
def test_a_lost_answer_is_transient_and_the_call_is_not_made_twice(
    environment: CloudflareEnvironment, fault: dict[str, Any], when: str
) -> None:
    environment.stand_in.misbehave(Fault.model_validate({**fault, "when": when}))
    with closing(environment.provider(timeout_s=3.0 if fault["kind"] == "silence" else 20.0)) as provider:
        with pytest.raises(TransientError) as failure:
            create(provider, ours("A", V4, OWNER))
        assert not isinstance(failure.value, Blocked | Raced)
        assert len(environment.stand_in.writes) == 1
        assert values(provider.read(NAME)) == ({ours("A", V4, OWNER)} if when == "after" else set())


def test_a_slow_answer_is_waited_for(environment: CloudflareEnvironment, provider: Provider) -> None:
    environment.stand_in.misbehave(Fault(kind="slow", seconds=0.3))
    create(provider, ours("A", V4, OWNER))
    assert values(provider.read(NAME)) == {ours("A", V4, OWNER)}


def test_a_block_says_how_long_it_lasts(environment: CloudflareEnvironment, provider: Provider) -> None:
    environment.stand_in.misbehave(Fault(kind="blocked", on="any", seconds=120))
    for call in (
        lambda: provider.read(NAME),
        lambda: create(provider, ours("A", V4, OWNER)),
        lambda: provider.check(NAME),
    ):
        with pytest.raises(Blocked) as failure:
            call()
        assert failure.value.retry_after_s == pytest.approx(120, abs=2)
    assert environment.rows.records == {}


def test_the_call_beyond_the_limit_blocks_every_one_for_five_minutes(
    environment: CloudflareEnvironment, provider: Provider
) -> None:
    environment.stand_in.limit.calls = 2
    provider.read(NAME)
    provider.read(NAME)
    with pytest.raises(Blocked) as failure:
        provider.read(NAME)
    assert failure.value.retry_after_s == pytest.approx(300, abs=2)


def test_a_revoked_token_names_what_it_must_have(environment: CloudflareEnvironment, provider: Provider) -> None:
    environment.stand_in.misbehave(Fault(kind="revoked"))
    with pytest.raises(PermanentError, match=r"\[9109\] Invalid access token; .*'Zone / DNS / Edit' on this zone"):
        provider.apply(NAME, Changes(creates=(ours("A", V4, OWNER),), deletes=()))


def test_a_token_that_may_only_read_is_told_what_it_lacks(
    environment: CloudflareEnvironment, provider: Provider
) -> None:
    environment.token.permissions[ZONE_ID] = {"zone:read", "dns:read"}
    assert provider.read(NAME) == ()
    with pytest.raises(PermanentError, match=r"\[10000\] Authentication error; .*'Zone / DNS / Edit'"):
        create(provider, ours("A", V4, OWNER))
    found = finding(provider, "edit")
    assert not found.ok
    assert "'Zone / DNS / Edit'" in found.detail


def test_a_zone_that_is_not_the_tokens_is_permanent(environment: CloudflareEnvironment) -> None:
    environment.stand_in.api.zones["f" * 32] = Zone("f" * 32, "example.org")
    for zone, words in (("f" * 32, r"\[10000\]"), ("not-an-id", r"\[7003\] Could not route")):
        provider = environment.provider(zone=zone)
        with pytest.raises(PermanentError, match=words):
            provider.read(NAME)
        assert [found.subject for found in provider.check(NAME) if not found.ok] == ["records"]
        provider.close()


def test_a_check_says_what_it_cannot_tell(environment: CloudflareEnvironment, provider: Provider) -> None:
    assert finding(provider, "zone").detail == "it is 'example.com', which 'vpn.example.com' is in"
    environment.token.permissions[ZONE_ID].remove("zone:read")
    found = finding(provider, "zone")
    assert found.ok
    assert "cannot be told" in found.detail


def test_a_check_changes_nothing(environment: CloudflareEnvironment, provider: Provider) -> None:
    environment.plant(NAME, "A", V4)
    before = dict(environment.rows.records)
    provider.check(NAME)
    assert environment.rows.records == before
    assert [call["request"] for call in environment.stand_in.writes] == [{}]


def test_the_log_of_exchanges_does_not_hold_the_token(environment: CloudflareEnvironment, provider: Provider) -> None:
    provider.read(NAME)
    assert SECRET not in str(environment.stand_in.exchanges)
    assert environment.stand_in.exchanges[0]["token"] == environment.token.id


def test_the_plan_says_what_the_zone_takes(environment: CloudflareEnvironment) -> None:
    options = CloudflareOptions.model_validate({"token": SECRET, "plan": "enterprise"})
    provider = Cloudflare(ZONE_ID, options)
    assert (provider.capabilities.min_ttl, provider.capabilities.batch) == (30, 3500)
    assert SECRET not in f"{options!r} {options.model_dump()} {provider!r}"
    provider.close()
    assert environment.provider().capabilities.min_ttl == 60


@pytest.mark.parametrize("zone", ["", "../user/tokens", "a/dns_records?x=", "a#b", "a b"])
def test_a_zone_that_would_be_another_path_is_refused(environment: CloudflareEnvironment, zone: str) -> None:
    with pytest.raises(PermanentError, match="is not the id of a zone"):
        environment.provider(zone=zone)


@pytest.mark.parametrize("token", [f"{SECRET}\nx", f"{SECRET}\u2026", f"{SECRET} x", f"{SECRET}\x00"])
def test_a_token_that_no_header_can_carry_is_refused_without_being_told(token: str) -> None:
    with pytest.raises(ValidationError) as failure:
        CloudflareOptions.model_validate({"token": token})
    assert SECRET not in f"{failure.value} {failure.value.errors()[0]['msg']}"


def test_a_line_that_ends_with_the_token_is_the_token(environment: CloudflareEnvironment) -> None:
    provider = environment.provider(f" {SECRET}\n")
    assert provider.read(NAME) == ()
    assert provider.account == environment.provider().account
    provider.close()


def test_a_list_that_never_ends_is_no_answer(
    environment: CloudflareEnvironment, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.plant(NAME, "A", V4)
    asked = []
    real = Api.call

    def endless(self: Api, *args: Any, **values: Any) -> dict[str, Any]:
        asked.append(values)
        answer = real(self, *args, **values)
        answer["result_info"]["total_pages"] = pages
        return answer

    monkeypatch.setattr(Api, "call", endless)
    pages = 10**9
    with pytest.raises(TransientError, match="pages of records at one name"):
        provider.read(NAME)
    assert len(asked) == 1
    pages = 2
    assert [record.content for record in provider.read(NAME)] == [V4], "the second page is empty"


def test_a_refusal_by_any_code_names_the_permission() -> None:
    body = {"success": False, "errors": [{"code": 0, "message": "requires permission dns.edit"}], "result": None}
    answer = httpx.Response(403, json=body)
    with pytest.raises(PermanentError, match=r"requires permission dns\.edit; .*'Zone / DNS / Edit'"):
        Api("http://127.0.0.1", SecretStr(SECRET), 1)._read(answer, "Zone / DNS / Edit", reads=False)  # noqa: SLF001 - no stand-in says it
