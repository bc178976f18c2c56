"""What an agent logs: text for people at a terminal, JSON for all else, and JSON for the panel in both cases."""

import json
import os
import subprocess
import sys

import pytest

SAYS = """
import logging, sys
import structlog
from wgfleet.agent.running import log_to_standard_error
from wgfleet.agent.server.log_route import LOG
log_to_standard_error(sys.argv[1])
structlog.get_logger().warning("node.says", link="wg0", number=7)
logging.getLogger("a.library").warning("it says so")
print("\\n".join(LOG.last(10).lines))
"""


def said(form: str, *, on_terminal: bool) -> tuple[str, list[str]]:
    """Return what is written to standard error, and what is kept for the panel."""
    terminal, its_end = os.openpty()
    read, write = (terminal, its_end) if on_terminal else os.pipe()
    command = [sys.executable, "-c", SAYS, form]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=write, check=True, text=True)
    written = os.read(read, 65536).decode()
    for each in {terminal, its_end, read, write}:
        os.close(each)
    return written, done.stdout.splitlines()


@pytest.mark.parametrize(
    ("form", "on_terminal", "is_text"),
    [("auto", True, True), ("auto", False, False), ("json", True, False), ("text", False, True)],
)
def test_people_get_text_and_programs_and_the_panel_json(form: str, *, on_terminal: bool, is_text: bool) -> None:
    written, kept = said(form, on_terminal=on_terminal)
    events = [json.loads(each) for each in kept]
    assert [each["event"] for each in events] == ["node.says", "it says so"]
    assert (events[0]["link"], events[0]["level"]) == ("wg0", "warning")
    if is_text:
        assert "{" not in written
        assert "node.says" in written
        assert "link=wg0" in written
        assert "a.library: it says so" in written
    else:
        assert [json.loads(each)["event"] for each in written.splitlines()] == ["node.says", "it says so"]
