"""News of a node to the others: sent once to all of them, and again to one that has missed some."""

import time
from collections.abc import Iterable

from wgfleet.agent.interfaces.news_repeats import NewsRepeats
from wgfleet.agent.interfaces.news_socket import NewsSocket
from wgfleet.agent.interfaces.whereabouts import Whereabouts

_AT_ONCE = 64  # messages, before the other says how far it has heard


class NewsSender:
    """Sends what is new in a node's whereabouts."""

    def __init__(self) -> None:
        self._told = 0
        self._repeats: dict[int, NewsRepeats] = {}

    def begin(self) -> None:
        """Note that the whereabouts are new ones, and nobody has heard of them."""
        self._told = 0

    def send(self, where: Whereabouts, socket: NewsSocket, numbers: Iterable[int]) -> None:
        """Send all nodes what is new."""
        if self._told == where.upto:
            return
        for news in where.news(self._told, time.monotonic(), _AT_ONCE):
            for number in numbers:
                socket.send(number, news)
        self._told = where.upto

    def repeat(self, where: Whereabouts, socket: NewsSocket, number: int, heard: int, now: float) -> None:
        """Send a node what it has missed of that, having `heard` so far, as often as is due."""
        repeats = self._repeats.setdefault(number, NewsRepeats())
        if heard < self._told and repeats.may(heard, where.epoch, now):
            for news in where.news(heard, now, _AT_ONCE):
                socket.send(number, news)
                repeats.sent(news.upto - news.base, now)
