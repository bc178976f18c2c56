"""Logs: one form for all of them, and no local variable in a traceback."""

import subprocess
import sys
from typing import Literal

import pytest

PROGRAM = """
import logging, sys, structlog
from wgfleet.panel import logs

def fail(private_key):
    raise ValueError("the reason")

logs.configure(sys.argv[1], sys.argv[2])
try:
    fail("hunter" + "2")
except ValueError:
    structlog.get_logger().exception("own.failure")
    logging.getLogger("uvicorn.error").exception("foreign failure")
structlog.get_logger().info("told", value="v" * 10_000)
logging.getLogger("httpx").info("request with its url")
"""


def logged(level: str, form: Literal["json", "text"]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, level, form], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_failure_is_told_with_its_traceback_and_without_what_variables_held(form: Literal["json", "text"]) -> None:
    text = logged("info", form)
    assert text.count("Traceback") == 2
    assert text.count("ValueError: the reason") == 2
    assert "own.failure" in text
    assert "foreign failure" in text
    assert "hunter2" not in text
    assert "request with its url" not in text


def test_json_is_one_object_a_line() -> None:
    assert all(line.startswith("{") and line.endswith("}") for line in logged("info", "json").splitlines())


def test_the_level_leaves_out_what_is_below() -> None:
    assert "told" in logged("info", "json")
    assert "told" not in logged("warning", "json")


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_line_has_the_beginning_of_a_long_value(form: Literal["json", "text"]) -> None:
    text = logged("info", form)
    assert "v" * 2000 in text
    assert "(10,000 characters)" in text
    assert "v" * 2001 not in text
