"""What a node's summary says."""

from wgfleet.panel.reconcile.agents.summaries import with_notes


def test_what_an_agent_says_about_its_machine_is_in_the_summary() -> None:
    assert with_notes("in sync", ()) == "in sync"
    assert with_notes("in sync", ("a is damaged", "b is damaged")) == (
        "in sync; the agent says: b is damaged (2 such notes)"
    )
    assert len(with_notes("in sync", ("x" * 10_000,))) < 600
