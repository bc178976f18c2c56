"""`wgfleet job` and `peer limits`: values as people write them, whom a job would hit, and what is shown of it."""

import httpx
import pytest

from tests.cli.conftest import Run
from tests.cli.test_commands import document
from tests.panel.conftest import made
from wgfleet.cli.client import CallFailed
from wgfleet.cli.job import _seconds, value_of, when
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.services.jobs import decisions

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("total_data", "50GB", 50_000_000_000),
        ("total_data", "1.5 GiB", 1_610_612_736),
        ("total_sent", "7", 7),
        ("date", "30d", 2_592_000),
        ("date", "2027-03-31T00:00Z", "2027-03-31T00:00Z"),
        ("endpoints", "2", 2),
        ("total_data", "\N{EXTENDED ARABIC-INDIC DIGIT FIVE}GB", 5_000_000_000),
        ("endpoints", "\N{EXTENDED ARABIC-INDIC DIGIT TWO}", 2),
        ("schedule", None, None),
    ],
)
def test_values_are_read_as_they_are_written(field: str, text: str | None, value: object) -> None:
    assert value_of(field, text) == value


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        *(
            ("total_data", text, "no number of bytes")
            for text in ("lots", "-5GB", "-.5", "NaN", "9EB", "1e3GB", "\N{DEVANAGARI DIGIT FIVE}GB", "")
        ),
        *(("date", text, "no moment") for text in ("2026-02-30", "3x", "")),
        *(("endpoints", text, "no number of devices") for text in ("abc", "-1", "\N{DEVANAGARI DIGIT TWO}")),
        ("schedule", "5", "--window"),
    ],
)
def test_what_is_no_value_is_refused_in_one_line(wgfleet: Run, field: str, text: str, said: str) -> None:
    """Before a panel is called, too, where it came with a traceback."""
    with pytest.raises(CallFailed, match=said):
        value_of(field, text)
    refused = wgfleet("job", "create", "--config", "wg0", field, text)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_what_is_no_duration_is_refused() -> None:
    with pytest.raises(CallFailed, match="no time"):
        _seconds("soon", "--notice")


def test_a_job_is_made_with_a_look_beforehand_shown_and_deleted(
    wgfleet: Run, panel: Panel, client: httpx.Client
) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    made(client, "/api/configs/wg0/peers", name="anna")
    unlimited = wgfleet("peer", "limits", "wg0/anna")
    assert (unlimited.stdout, unlimited.stderr) == ("", "nothing limits it\n")
    create = ("job", "create", "date", "2020-01-01T00:00Z", "--config", "wg0")
    refused = wgfleet(*create)
    assert refused.returncode == 2
    assert "'anna' would be cut off at once" in refused.stderr
    assert "nothing was changed" in wgfleet(*create, "--dry-run").stderr
    job = document(wgfleet(*create, "--yes", "--json"))
    assert when(job) == "from 2020-01-01 00:00:00Z"
    with panel.store.write() as tx:
        decisions.apply(tx, decisions.decide(tx, clock.now()), clock.now())
    assert "restricted" in wgfleet("peer", "list", "wg0").stdout
    limits = wgfleet("peer", "limits", "wg0/anna")
    assert "config" in limits.stdout
    assert "restricted since" in limits.stderr
    assert wgfleet("peer", "reset-usage", "wg0/anna").returncode == 0
    assert document(wgfleet("peer", "sessions", "wg0/anna", "--json")) == []
    assert job["id"][-8:] in wgfleet("job", "list", "--config", "wg0").stdout
    assert wgfleet("job", "list").returncode == 2
    assert wgfleet("job", "delete", job["id"][-8:], "--config", "wg0").returncode == 0
    assert document(wgfleet("job", "list", "--config", "wg0", "--json")) == []
