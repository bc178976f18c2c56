import pytest

from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.ids import parse_interface_name


@pytest.mark.parametrize("name", ["wg0", "a", "wg-home_1.2", "=+", "x" * 15])
def test_names_that_wg_quick_takes_are_kept(name: str) -> None:
    assert parse_interface_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", "x" * 16, "wg 0", "wg/0", "../wg0", "wg0\n", "wg\0", "wé0", "wg:0", "wg%d", "-wg0", "--help",
        ".", "..", "lo", "all", "default", "interfaces", "help",
    ],
)  # fmt: skip
def test_names_that_would_mean_something_else_are_refused(name: str) -> None:
    with pytest.raises(FieldError, match=r"^name: must be 1 to 15 characters"):
        parse_interface_name(name)
