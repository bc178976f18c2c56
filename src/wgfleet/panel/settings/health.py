"""Settings of health: how nodes are probed and judged."""

from typing import Self

from pydantic import Field, model_validator

from wgfleet.panel.domain.floating import GIVE_UP_AFTER_S
from wgfleet.panel.domain.health.paths import DEFAULT_LONGEST_TIMEOUT_S, DEFAULT_TIMEOUT_S
from wgfleet.panel.domain.health.votes import HealthRules
from wgfleet.panel.settings.fields import DAY_S, Group


class HealthSettings(Group):
    """How the panel finds out that a node no longer serves, and when it may again."""

    interval_s: float = Field(
        default=0.1,
        ge=0.05,
        le=60,
        description="Seconds between two probes of a node by the panel; a part of the time in which a failure is "
        "noticed. Longer by itself with more than 50 assignments: 500 probes a second in all, and a quarter of that "
        "while nobody is in doubt.",
    )
    timeout_s: float = Field(
        default=DEFAULT_TIMEOUT_S,
        gt=0,
        le=5,
        description="Seconds to wait for the answer to a probe at least. Where measured round trips are longer, "
        "the wait follows them (as RFC 6298 does), up to longest_timeout_s.",
    )
    longest_timeout_s: float = Field(
        default=DEFAULT_LONGEST_TIMEOUT_S,
        gt=0,
        le=5,
        description="Seconds to wait for the answer to a probe at most, whatever was measured. Round trips beyond it "
        "count as lost. Not shorter than timeout_s, which it follows where it is not set.",
    )
    failures: int = Field(
        default=6,
        ge=1,
        le=100,
        description="Probes in a row without an answer after which a vantage point counts a node as not reached. All "
        "but the first follow within a fraction of a second. Where probes get lost on the way, more are needed by "
        "themselves: a run of misses that loss alone makes once in 10,000 times.",
    )
    cross_check_s: float = Field(
        default=2.0,
        ge=0.05,
        le=600,
        description="Seconds between two looks of nodes at each other while nobody misses any. Finds the node that "
        "the panel reaches and clients do not.",
    )
    fresh_s: float = Field(
        default=5.0,
        ge=0.1,
        le=3600,
        description="Seconds after which what a vantage point saw no longer counts. Twice cross_check_s and more, so "
        "that one lost round silences nobody. A suspicion lasts as long at least, so that it can be seen.",
    )
    stable_s: float = Field(
        default=10.0,
        ge=0,
        le=DAY_S,
        description="Seconds for which a node that was down must answer before it is used again: longer than a machine "
        "that starts over and over stays up. Twice as long with each time that it was down within flap_window_s.",
    )
    stable_cap_s: float = Field(
        default=600.0,
        ge=0,
        le=DAY_S,
        description="Seconds that this grows to at most, so that a repaired node is back soon.",
    )
    flap_window_s: float = Field(
        default=3600.0,
        ge=0,
        le=30 * DAY_S,
        description="Seconds after which it is forgotten that a node was down. Longer than stable_cap_s, or the growth "
        "would forget itself.",
    )

    at_once_s: float = Field(
        default=10.0,
        ge=1,
        le=3600,
        description="Seconds within which nodes fall silent at once. If they are more than half of all nodes in use, "
        "none is taken out of use before an administrator approves it. Nodes that die one by one, further apart than "
        "this, are replaced without asking.",
    )
    unmanaged_after_s: float = Field(
        default=3.0,
        ge=0,
        le=3600,
        description="Seconds without a line to its agent after which a node that serves counts as unmanaged. Longer by "
        "itself where packets get lost.",
    )
    site: str = Field(
        default="",
        max_length=63,
        description="The site that the panel stands in, as node groups name theirs: what only this site sees takes "
        "no node out of use. Empty: that of the node on the panel's machine, or none.",
    )

    give_up_after_s: float = Field(
        default=GIVE_UP_AFTER_S,
        ge=1,
        le=3600,
        description="Seconds after which a node that hears neither the panel nor any other node takes itself to be cut "
        "off and gives its floating addresses up. Longer than the hiccups of a network, for which a good node should "
        "keep them; short, because the panel has given them to another by then. A new value reaches the nodes when "
        "the panel starts with it.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.fresh_s < self.cross_check_s + self.timeout_s or self.fresh_s < self.interval_s + self.timeout_s:
            raise ValueError("fresh_s must be longer than cross_check_s or interval_s plus timeout_s: raise it")
        # Where only the other is set, this one follows it: see `rules`.
        if "longest_timeout_s" in self.model_fields_set and self.longest_timeout_s < self.timeout_s:
            raise ValueError("longest_timeout_s must be timeout_s or longer: raise it, or lower timeout_s")
        if not self.stable_s <= self.stable_cap_s <= self.flap_window_s:
            raise ValueError("stable_s, stable_cap_s and flap_window_s must not fall: raise the later")
        return self

    @property
    def rules(self) -> HealthRules:
        """What the decision needs of this."""
        return HealthRules(
            interval_s=self.interval_s,
            failures=self.failures,
            cross_check_s=self.cross_check_s,
            fresh_s=self.fresh_s,
            stable_s=self.stable_s,
            stable_cap_s=self.stable_cap_s,
            flap_window_s=self.flap_window_s,
            at_once_s=self.at_once_s,
            timeout_s=self.timeout_s,
            longest_timeout_s=max(self.longest_timeout_s, self.timeout_s),
            unmanaged_after_s=self.unmanaged_after_s,
        )
