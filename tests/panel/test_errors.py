"""What is told of an error to people who may only read."""

from wgfleet.panel.errors import PermanentError, TransientError, Unavailable, told


def test_our_own_words_are_told_and_those_of_a_bug_are_not() -> None:
    for error in (Unavailable("the database is away"), TransientError("busy"), PermanentError("refused")):
        assert told(error) == str(error)
    assert told(KeyError("wgf_secret")) == "the panel failed: KeyError; its log says more"
