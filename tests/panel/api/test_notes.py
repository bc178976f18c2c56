"""What the processes of the API share: limits count at all of them, and a form is done once."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import Counter
from structlog.testing import capture_logs

from wgfleet.panel import clock
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.api.attempts import FAILURES, Attempts
from wgfleet.panel.api.process_counts import SILENT_S, ProcessCounts, silent
from wgfleet.panel.api.sent_forms import SentForms
from wgfleet.panel.errors import Conflict, TooMany, Unauthorized, Unavailable
from wgfleet.panel.server_certificate import CommonCertificate
from wgfleet.panel.siblings import Siblings
from wgfleet.panel.store import noted_attempts, noted_texts
from wgfleet.panel.store.notes import FILE, Notes
from wgfleet.panel.vault import Vault

OF_A_CORE = ("calls_total", (("status", "200"),), 1.0)


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Notes, Notes]]:
    """The notes of one panel as two of its processes have them open."""
    here = Notes.begin(tmp_path)
    there = Notes(tmp_path / FILE)
    yield here, there
    here.close()
    there.close()


def test_who_fails_at_one_process_has_failed_at_all(both: tuple[Notes, Notes]) -> None:
    attempts = [Attempts("refused sign-ins", notes=notes) for notes in both]
    for number in range(FAILURES):
        with pytest.raises(Unauthorized), attempts[number % 2].guess("192.0.2.1"):
            raise Unauthorized("wrong")
    for each in attempts:
        with pytest.raises(TooMany, match=r"too many refused sign-ins of 192\.0\.2\.1; try again in (60|59) seconds"):
            each.check("192.0.2.1")
        each.check("192.0.2.2")


def test_limits_of_one_name_and_different_times_are_counted_apart(both: tuple[Notes, Notes]) -> None:
    short, long = Attempts("uses", 1, 60, both[0]), Attempts("uses", 2, 3600, both[1])
    short.used("link")
    with pytest.raises(TooMany):
        short.used("link")
    long.used("link")
    long.used("link")
    with pytest.raises(TooMany):
        long.used("link")


def test_a_form_that_is_sent_to_two_processes_is_done_by_one(both: tuple[Notes, Notes]) -> None:
    here, there = (SentForms(notes) for notes in both)
    with here.once("form") as first:
        assert first.led_to is None
        with pytest.raises(Conflict), there.once("form"):
            pytest.fail("it is being done")
        first.led_to = "/peers"
    with there.once("form") as second:
        assert second.led_to == "/peers"


def test_notes_are_kept_to_a_size(both: tuple[Notes, Notes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noted_attempts, "MOST", 100)
    with both[0].changing() as notes:
        for number in range(600):
            noted_attempts.add(notes, "many", str(number), 1.0)
            noted_texts.put(notes, "many", str(number), "text", 2.0, 10)
    with both[1].changing() as notes:
        assert notes.execute("SELECT count(*) FROM attempts").fetchone()[0] < 100 + 256
        assert notes.execute("SELECT count(*) FROM texts").fetchone() == (10,)
        assert noted_attempts.recent(notes, "many", "599", 0.0) == (1, 1.0), "the newest stay"
        assert noted_texts.get(notes, "many", "599", 1.0) == "text"
        assert noted_texts.get(notes, "many", "599", 3.0) is None, "its time is over"


def test_a_process_that_is_killed_in_a_change_leaves_the_notes_whole_and_keeps_nobody_out(
    both: tuple[Notes, Notes],
) -> None:
    attempts = Attempts("refused sign-ins", 1, notes=both[1])
    attempts.failed("before")
    if (child := os.fork()) == 0:
        with both[0].changing() as notes:
            noted_attempts.add(notes, "refused sign-ins in 60 s", "of the killed", 1e12)
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    attempts.check("of the killed")
    with pytest.raises(TooMany):
        attempts.check("before")


def test_a_process_that_notes_nothing_any_more_is_said(
    both: tuple[Notes, Notes], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (Siblings(2, number, notes) for number, notes in enumerate(both, 1))
    counts = [ProcessCounts(each, (), tuple) for each in (one, other)]
    for each in counts:
        each.begin()
    assert silent(one) is None
    later = clock.monotonic() + SILENT_S + 1
    monkeypatch.setattr(clock, "monotonic", lambda: later)
    assert list(counts[1].collect()) == []
    assert silent(other) == "1 of 2 processes of the API does not answer; the others do. See the log"
    assert "cannot note what they count" in str(silent(one))  # of whom it is asked answers


def test_that_nothing_can_be_noted_is_said(both: tuple[Notes, Notes]) -> None:
    one = Siblings(1, 1, both[0])
    ProcessCounts(one, (), tuple).begin()
    assert silent(one) is None
    with both[1].changing() as notes:
        notes.execute("CREATE TRIGGER full BEFORE UPDATE ON counts BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")
    assert "the notes of the API processes: the disk is full" in str(silent(one))


def test_what_is_counted_never_goes_down_whoever_is_asked_and_whoever_ends(both: tuple[Notes, Notes]) -> None:
    one, other = (Siblings(2, number, notes) for number, notes in enumerate(both, 1))
    calls = [Counter("calls", "Calls.", ["status"], registry=None) for _ in range(3)]
    here, there = ProcessCounts(one, calls[:1], tuple), ProcessCounts(other, calls[1:2], lambda: [OF_A_CORE])

    def shown(counts: ProcessCounts) -> dict[str, float]:
        return {sample.labels["status"]: sample.value for family in counts.collect() for sample in family.samples}

    here.begin()
    there.begin()
    calls[0].labels("200").inc(5)
    calls[1].labels("404").inc(2)
    assert shown(here) == {"200": 5}
    assert shown(there) == {"200": 6, "404": 2}
    assert shown(here) == {"200": 5, "404": 2}
    again = ProcessCounts(one, calls[2:], tuple)
    again.begin()
    calls[2].labels("200").inc()
    assert shown(again) == {"200": 6, "404": 2}
    assert shown(there) == {"200": 7, "404": 2}


def test_metrics_are_shown_while_nothing_can_be_noted(both: tuple[Notes, Notes]) -> None:
    one, other = (Siblings(2, number, notes) for number, notes in enumerate(both, 1))
    calls = [Counter("calls", "Calls.", registry=None) for _ in range(2)]
    here, there = ProcessCounts(one, calls[:1], tuple), ProcessCounts(other, calls[1:], tuple)
    calls[1].inc(3)
    list(there.collect())
    list(here.collect())
    with both[0].changing() as notes:
        notes.execute("PRAGMA query_only=ON")
    calls[0].inc()
    with capture_logs() as lines:
        (family,) = here.collect()
    assert [sample.value for sample in family.samples] == [4]
    assert [line["event"] for line in lines] == ["counts.not_noted"]
    assert "the notes of the API processes: attempt to write a readonly database" in str(silent(one))


def test_a_process_begins_while_nothing_can_be_noted_and_takes_over_later(both: tuple[Notes, Notes]) -> None:
    calls = [Counter("calls", "Calls.", registry=None) for _ in range(2)]
    before = ProcessCounts(Siblings(1, 1, both[0]), calls[:1], tuple)
    before.begin()
    calls[0].inc(5)
    list(before.collect())
    with both[1].changing() as notes:
        notes.execute("PRAGMA query_only=ON")  # as a full disk
    again = ProcessCounts(Siblings(1, 1, both[1]), calls[1:], tuple)
    again.begin()
    calls[1].inc()
    list(again.collect())
    both[1].close()  # what is opened again may write
    (family,) = again.collect()
    assert [sample.value for sample in family.samples] == [6]


def test_a_certificate_is_issued_while_nothing_can_be_noted(both: tuple[Notes, Notes]) -> None:
    with both[0].changing() as notes:
        notes.execute("PRAGMA query_only=ON")
    authority = Authority.create("CA", clock.now())
    identity = authority.issue_server(["panel.example"], [], clock.now())
    common = CommonCertificate(both[0], Vault([bytes(32)]))
    assert common.get(authority, lambda _: False, lambda: identity) is identity


def overwritten(file: Path) -> None:
    with file.open("r+b") as notes:
        notes.write(b"garbage" * 8000)
    file.with_name(f"{FILE}-wal").write_bytes(b"")


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def removed(file: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        file.with_name(f"{FILE}{ending}").unlink(missing_ok=True)


@pytest.mark.parametrize("damage", [overwritten, emptied, removed])
def test_notes_that_are_damaged_are_made_again_and_are_those_of_all(
    both: tuple[Notes, Notes], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    attempts = [Attempts("uses", 2, 60, notes) for notes in both]
    for each in attempts:
        each.used("before")
    damage(tmp_path / FILE)
    for each in attempts:  # one that had it open may need to fail once to see it
        with contextlib.suppress(Unavailable):
            each.used("damaged")
    for each in attempts:
        each.used("link")
    for each in attempts:
        with pytest.raises(TooMany):
            each.used("link")
    one = Siblings(1, 1, Notes(tmp_path / FILE))
    ProcessCounts(one, (), tuple).begin()
    one.notes.close()


def test_a_start_keeps_nothing_and_a_file_that_cannot_be_made_is_named(
    both: tuple[Notes, Notes], tmp_path: Path
) -> None:
    Attempts("uses", 1, notes=both[0]).used("link")
    again = Notes.begin(tmp_path)
    Attempts("uses", 1, notes=again).used("link")
    again.close()
    with pytest.raises(Unavailable, match=f"{tmp_path}/none/{FILE}"):
        Notes.begin(tmp_path / "none")
