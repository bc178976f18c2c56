"""Rule sets in pages: written a rule a line, looked at before they count, given to a peer, a tag and a config."""

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import submit
from wgfleet.panel.api import Panel
from wgfleet.panel.services.fleet import peers

WEB = "allow tcp/443,8000-8100 outside\nallow udp/53"


@pytest.fixture(scope="module")
def peer(panel: Panel) -> str:
    sample.make(panel, peers=3)
    with panel.store.read() as tx:
        return f"/peers/{peers.page(tx, None)[0].id}"


def test_a_set_is_made_given_after_a_look_changed_and_deleted(admin: httpx.Client, peer: str) -> None:
    assert "There is no rule set yet" in admin.get("/rule-sets").text
    made = submit(admin, "/new/rule-set", name="guests <b>", rules=WEB, otherwise_allowed="false")
    path = made.url.path
    assert path.startswith("/rule-sets/"), made.text
    assert "allow tcp/443,8000-8100 outside" in made.text
    assert "guests &lt;b&gt;" in admin.get("/rule-sets").text
    set_id = path.rpartition("/")[2]
    asked = submit(admin, "/configs/wg0/rules", rule_set=set_id)
    assert "Nothing is changed yet" in asked.text
    assert "no longer reach" in asked.text
    given = submit(admin, "/configs/wg0/rules", rule_set=set_id, agreed="true")
    assert "Nothing is changed yet" not in given.text
    assert "guests &lt;b&gt;" in admin.get(peer).text
    own = submit(admin, f"{peer}/rules", rule_set="none", agreed="true")
    assert "No rules: all" in own.text
    assert "its own" not in own.text
    asked = submit(admin, path, name="guests <b>", rules=f"{WEB}\nallow icmp", otherwise_allowed="false")
    assert "reach from now on" in asked.text
    changed = submit(admin, path, name="guests", rules=f"{WEB}\nallow icmp", otherwise_allowed="false", agreed="true")
    assert (changed.url.path, "allow icmp" in changed.text) == (path, True)
    refused = submit(admin, f"{path}/delete", typed_name="guests")
    assert (refused.status_code, "config &#39;wg0&#39;" in refused.text) == (409, True)
    submit(admin, "/configs/wg0/rules", rule_set="none", agreed="true")
    submit(admin, f"{peer}/rules", rule_set="inherit", agreed="true")
    assert submit(admin, f"{path}/delete", typed_name="guests").url.path == "/rule-sets"


def test_a_tag_has_a_set_and_its_page_says_which(admin: httpx.Client, peer: str) -> None:
    assert peer
    tag = submit(admin, "/new/tag", name="office", color="#2fb344").url.path
    made = submit(admin, "/new/rule-set", name="apart", rules="deny users", otherwise_allowed="true").url.path
    given = submit(admin, f"{tag}/rules", rule_set=made.rpartition("/")[2])
    assert made in given.text
    assert "office" in admin.get("/rule-sets").text


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("allow tcp\npermit udp", "rule 2: "),
        ("allow 10.0.0.0/8\n\ndeny 10.0.0.1/8", "rule 2: "),
        ("allow tcp/99999", "rule 1: "),
        ("allow sctp", "is neither a protocol"),
    ],
)
def test_a_wrong_rule_is_named_by_its_number(admin: httpx.Client, peer: str, rules: str, said: str) -> None:
    assert peer
    answer = submit(admin, "/new/rule-set", name="wrong", rules=rules)
    assert answer.status_code == 422
    assert 'id="rules-wrong"' in answer.text
    assert said in answer.text


@pytest.mark.parametrize("at", ["/configs/wg0", "peer", "tag"])
def test_a_set_that_no_form_offers_is_refused_and_nothing_fails(admin: httpx.Client, peer: str, at: str) -> None:
    if at == "tag":
        at = submit(admin, "/new/tag", name="long", color="#2fb344").url.path
    answer = submit(admin, f"{peer if at == 'peer' else at}/rules", rule_set="x" * 300)
    assert answer.status_code == 422
    assert "must have 64 characters at most" in answer.text
