"""QR codes carry what an app reads of a file, in an encoding that none can take for another."""

import pytest
import segno

from tests.scanned import scanned
from wgfleet.qr_code import hard_to_scan, qr_code


@pytest.mark.parametrize("name", ["anna", "Zo\u00eb", "\u0410\u043d\u043d\u0430", "\u30a2\u30f3\u30ca", "\U0001f468"])
def test_a_code_has_the_bytes_of_the_file_but_for_its_comments(name: str) -> None:
    read = "[Interface]\nPrivateKey = x\n\n[Peer]\n"
    text = f"# {name} on wg0\n{read}"
    assert qr_code(text).matrix == segno.make_qr(read.encode(), error="l", boost_error=False).matrix
    assert qr_code(text).mode == "byte"
    assert scanned([[0 if dot else 255 for dot in row] for row in qr_code(text).matrix_iter(4, 4)]) == read


def test_the_code_of_an_address_has_all_of_it() -> None:
    link = "https://panel.example.com/s#wgs_0123456789"
    assert qr_code(link).matrix == segno.make_qr(link.encode(), error="l", boost_error=False).matrix


def test_a_code_says_when_it_is_hard_to_scan() -> None:
    assert hard_to_scan(qr_code("x" * 400)) is None
    assert "dots" in str(hard_to_scan(qr_code("x" * 2000)))
