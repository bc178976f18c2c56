"""The whole way of somebody who is new here, on a lab: from the terminal's address to a node that dies."""

import json
import sys

import pytest

from tests.panel.web.chromium import launched
from tests.panel.web.newcomer import OF_THE_LAB, Newcomer
from wgfleet.lab import state

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]


def test_a_panel_is_set_up_used_and_watched_in_a_browser_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with state.temporary("newcomer", 2, 2, panel_node=True) as lab, launched(*OF_THE_LAB) as browser:
        newcomer = Newcomer(lab, browser)
        newcomer.whole_way()
    with capsys.disabled():
        sys.stdout.write(f"\nseconds: {json.dumps(newcomer.seconds)}\n")
    assert newcomer.complaints == []
