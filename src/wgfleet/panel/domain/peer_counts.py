"""Numbers of peers as sentences have them, in one place: catalogs have each form once."""

from wgfleet.protocol.reasons import Reason


def in_words(number: int) -> str:
    """Return how many peers there are, such as `1 peer`."""
    return Reason("1 peer") if number == 1 else Reason("{number} peers", number=number)
