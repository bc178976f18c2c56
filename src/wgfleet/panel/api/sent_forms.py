"""Forms that were sent: one that is sent twice, over a slow way or by the back button, is done once."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from wgfleet.panel.errors import Conflict

MOST = 1_000  # remembered; the longest ago is forgotten first


class SentForms:
    """Where forms have led to, by what was in them that no other form has."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._led_to: OrderedDict[str, str | None] = OrderedDict()

    @contextmanager
    def once(self, form: str) -> Iterator["OneForm"]:
        """Do what a form asks for, unless `led_to` says that it was done. Raise `Conflict` where it is being done."""
        with self._lock:
            begun, led_to = form in self._led_to, self._led_to.get(form)
            if begun and led_to is None:
                raise Conflict("the form was sent already, and is being dealt with; wait, and look at the list")
            if form and not begun:
                self._led_to[form] = None
                while len(self._led_to) > MOST:
                    self._led_to.popitem(last=False)
        one = OneForm(led_to)
        try:
            yield one
        finally:
            with self._lock:
                if form and one.led_to is None:
                    self._led_to.pop(form, None)
                elif form:
                    self._led_to[form] = one.led_to


class OneForm:
    """A form: the path that it has led to, None: not yet, or that it was refused."""

    def __init__(self, led_to: str | None) -> None:
        self.led_to = led_to
