"""A log whose reader stands still, has gone, or has no room: nothing waits, nothing fails, and lines are counted."""

import contextlib
import io
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from wgfleet import log_stream
from wgfleet.log_stream import LogStream, log_to

LINE = "x" * 999 + "\n"
QUICK_S = 5.0  # far below the time in which a pipe would be waited for: for ever


@pytest.fixture
def pipe() -> Iterator[tuple[int, io.TextIOWrapper]]:
    reads, writes = os.pipe()
    with open(writes, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor
        yield reads, stream
    with contextlib.suppress(OSError):  # a test has closed it
        os.close(reads)


def fill(stream: LogStream, lines: int = 1000) -> float:
    begun = time.monotonic()
    for _ in range(lines):
        stream.write(LINE)
    return time.monotonic() - begun


def read_all(descriptor: int) -> list[str]:
    os.set_blocking(descriptor, False)
    found = b""
    try:
        while part := os.read(descriptor, 65536):
            found += part
    except BlockingIOError:
        pass
    return found.decode().splitlines(keepends=True)


def test_a_reader_that_stands_still_costs_lines_and_no_time(pipe: tuple[int, io.TextIOWrapper]) -> None:
    reads, under = pipe
    stream = LogStream(under)
    assert fill(stream) < QUICK_S
    before = read_all(reads)
    stream.write("after\n")
    rest = read_all(reads)
    lines = "".join((*before, *rest)).splitlines(keepends=True)
    said = json.loads(lines[-2])
    assert lines[-1] == "after\n"
    assert said["event"] == "log.dropped"
    assert lines[:-2] == [LINE] * (1000 - said["lines"])
    stream.write("more\n")
    assert read_all(reads) == ["more\n"]


def test_others_that_have_the_same_pipe_go_on_waiting_for_its_reader(pipe: tuple[int, io.TextIOWrapper]) -> None:
    LogStream(pipe[1]).write("a\n")
    assert os.get_blocking(pipe[1].fileno())


def test_a_reader_that_is_only_slow_gets_all(
    pipe: tuple[int, io.TextIOWrapper], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_stream, "PATIENCE_S", 30.0)
    reads, under = pipe
    found = bytearray()

    def read() -> None:
        while len(found) < 300 * len(LINE):
            time.sleep(0.002)
            found.extend(os.read(reads, 4096))

    reader = threading.Thread(target=read)
    reader.start()
    fill(LogStream(under), 300)
    reader.join(60)
    assert bytes(found) == (LINE * 300).encode()


def test_a_reader_that_has_gone_is_no_error(pipe: tuple[int, io.TextIOWrapper]) -> None:
    stream = LogStream(pipe[1])
    os.close(pipe[0])
    assert fill(stream, 10) < QUICK_S


def test_a_disk_without_room_is_no_error() -> None:
    with Path("/dev/full").open("w") as full:
        assert fill(LogStream(full), 10) < QUICK_S


def test_a_journal_that_stands_still_is_no_error() -> None:
    ours, journal = socket.socketpair()
    with journal, ours, open(ours.fileno(), "w", encoding="utf-8", closefd=False) as under:
        stream = LogStream(under)
        assert fill(stream) < QUICK_S
        journal.close()
        assert fill(stream, 10) < QUICK_S


def test_a_file_gets_lines_where_others_write_too(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as under:
        stream = LogStream(under)
        for number in range(3):
            stream.write(f"{number}\n")
            os.write(under.fileno(), b"other\n")
    assert (tmp_path / "log").read_text() == "0\nother\n1\nother\n2\nother\n"


def test_lines_of_several_threads_are_whole(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as under:
        stream = LogStream(under)

        def write(number: int) -> None:
            for _ in range(200):
                print(str(number) * 50, file=stream, flush=True)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 800
    assert all(len(line) == 50 and len(set(line)) == 1 for line in lines)


def test_what_structlog_and_libraries_say_goes_to_a_stream_that_is_none_of_the_system() -> None:
    paper = io.StringIO()
    stream = log_to(paper)
    structlog.PrintLogger(file=stream).msg("one")
    handler = logging.StreamHandler(stream)
    handler.emit(logging.LogRecord("x", logging.WARNING, "", 0, "two", None, None))
    assert paper.getvalue() == "one\ntwo\n"
