"""Numbers of peers in sentences: said by one function, in the reader's language."""

from pathlib import Path

import wgfleet.panel
from wgfleet.panel.domain import peer_counts
from wgfleet.panel.web import languages, reasons


def test_a_number_of_peers_is_said_in_one_place() -> None:
    saying = [
        path.name
        for path in Path(wgfleet.panel.__file__).parent.rglob("*.py")
        if 'Reason("1 peer")' in path.read_text()
    ]
    assert saying == ["peer_counts.py"]


def test_numbers_are_in_the_readers_language() -> None:
    german = languages.translations("de").gettext
    assert [reasons.in_words(german, peer_counts.in_words(number)) for number in (0, 1, 2)] == [
        "0 Geräte", "1 Gerät", "2 Geräte",
    ]  # fmt: skip
