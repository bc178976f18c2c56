"""Forms that were sent: one that is sent twice, over a slow way or by the back button, is done once."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from wgfleet.panel import clock
from wgfleet.panel.errors import Conflict
from wgfleet.panel.store import noted_texts
from wgfleet.panel.store.notes import Notes
from wgfleet.protocol.reasons import Reason

MOST = 1_000  # remembered; the longest ago is forgotten first
LONGEST_S = 120.0  # that a form is dealt with; beyond it, the process that did was killed
_KIND = "form"


class SentForms:
    """Where forms have led to, by what was in them that no other form has."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    @contextmanager
    def once(self, form: str) -> Iterator["OneForm"]:
        """Do what a form asks for, unless `led_to` says that it was done. Raise `Conflict` where it is being done."""
        if not form:
            yield OneForm(None)
            return
        one = OneForm(self._begun(form))
        try:
            yield one
        finally:
            with self._notes.changing() as notes:
                if one.led_to is None:
                    noted_texts.remove(notes, _KIND, form)
                else:
                    noted_texts.put(notes, _KIND, form, one.led_to, math.inf, MOST)

    def _begun(self, form: str) -> str | None:
        with self._notes.changing() as notes:
            led_to = noted_texts.get(notes, _KIND, form, clock.monotonic())
            if led_to == "":
                raise Conflict(Reason("the form was sent already, and is being dealt with; wait, and look at the list"))
            if led_to is None:
                noted_texts.put(notes, _KIND, form, "", clock.monotonic() + LONGEST_S, MOST)
        return led_to


class OneForm:
    """A form: the path that it has led to, None: not yet, or that it was refused."""

    def __init__(self, led_to: str | None) -> None:
        self.led_to = led_to
