"""The nodes' own address in a pool by the CLI, and limits as they were given."""

import pytest

from tests.cli.conftest import Run
from wgfleet.cli.job import when

pytestmark = pytest.mark.slow


def test_it_is_chosen_shown_and_what_cannot_be_one_is_said_by_the_option(wgfleet: Run) -> None:
    made = wgfleet("config", "create", "wg7", "--pool", "10.77.0.0/24", "--server-address", "10.77.0.254")
    assert made.returncode == 0, made.stderr
    assert "10.77.0.254" in wgfleet("config", "show", "wg7").stdout
    refused = wgfleet("config", "update", "wg7", "--server-address", "10.78.0.1", "--yes")
    assert (refused.returncode, refused.stderr.startswith("error: --server-address: 10.78.0.1 is in none")) == (1, True)
    changed = wgfleet("config", "update", "wg7", "--server-address", "10.77.0.5", "--yes")
    assert "10.77.0.5" in changed.stdout
    more = ("--add-pool", "fd00:77::/64", "--server-address", "fd00:77::53", "--yes")
    assert "10.77.0.5, fd00:77::53" in wgfleet("config", "update", "wg7", *more).stdout


@pytest.mark.parametrize(
    ("value", "said"), [(50_000_000_000, "above 50 GB"), (50 * 1024**3, "above 50 GiB"), (1_500, "above 1.5 kB")]
)
def test_a_limit_is_said_as_it_was_given(value: int, said: str) -> None:
    job = {"action": "restrict", "field": "total_data", "operator": "lgt", "value": value}
    assert when(job) == said
