"""Which of two releases is the older, and what is said of it."""

import pytest

from wgfleet.protocol.features import ALL, NONE, Feature
from wgfleet.protocol.releases import WITHOUT, Release, compared, missing, protocol, warning


@pytest.mark.parametrize(
    ("agents", "release"),
    [
        ("0.2.0", Release.SAME),
        ("0.2.0.dev0", Release.SAME),
        ("0.1.9", Release.OLDER),
        ("0.1.10", Release.OLDER),
        ("0.2.1", Release.NEWER),
        ("0.10", Release.NEWER),
        ("1.0.0", Release.NEWER),
        (None, Release.UNKNOWN),
        ("", Release.UNKNOWN),
        ("nonsense", Release.UNKNOWN),
        ("9" * 5000 + ".1", Release.UNKNOWN),
    ],
)
def test_releases_are_compared_as_numbers(agents: str | None, release: Release) -> None:
    assert compared(agents, "0.2.0.dev0") is release


def test_every_feature_says_what_is_so_without_it() -> None:
    assert WITHOUT.keys() == ALL
    assert missing([feature.value for feature in ALL]) == ()
    assert missing(ALL - {Feature.REACH}) == (Feature.REACH,)
    assert (protocol(NONE), protocol(ALL)) == (1, 2)


def test_only_what_somebody_has_to_know_is_said() -> None:
    assert warning("0.2.0", "0.2.0", ALL) is None
    assert warning(None, "0.2.0", NONE) is None, "not heard yet"
    old = warning("0.1.0", "0.2.0", NONE)
    assert old is not None
    assert old.startswith("its agent (0.1.0) is older than the panel (0.2.0): upgrade it; until then ")
    assert WITHOUT[Feature.REACH] in old
    assert "upgrade the panel" in (warning("0.3.0", "0.2.0", ALL) or "")
    assert warning("0.1.9", "0.2.0", ALL) == "its agent (0.1.9) is older than the panel (0.2.0): upgrade it"
    assert WITHOUT[Feature.MUTE] in (warning("0.2.0.dev0", "0.2.0", ALL - {Feature.MUTE}) or "")
