"""Lines of a takeover's answer: who has answered while others are waited for, and at the end all of them."""

from collections.abc import Callable

import msgspec

from wgfleet.panel.agents import answers
from wgfleet.protocol.messages import Takeover, TakeoverResult

Hear = Callable[[TakeoverResult], None]


class TakeoverLines:
    """The answer to one takeover, as it comes. What is no line of one is a TransientError."""

    def __init__(self, label: str, takeover: Takeover, hear: Hear) -> None:
        self._label = label
        self._most = len(takeover.peers)
        self._decoder = msgspec.json.Decoder(TakeoverResult)
        self._hear = hear
        self._rest = b""
        self._said: TakeoverResult | None = None  # in the last line that has an end

    def take(self, data: bytes) -> None:
        """Take the next part of the body."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._said = said = self._read(line)
            if said.more:
                self._hear(said)

    def last(self, body: bytes) -> TakeoverResult:
        """Return what is said at the end of the whole body, all of which was taken."""
        unended = body.rpartition(b"\n")[2]
        said = self._read(unended) if unended or self._said is None else self._said
        if said.more:
            raise answers.nonsense(self._label, ValueError("it ended in the middle"))
        return said

    def _read(self, line: bytes) -> TakeoverResult:
        said = answers.decode(self._label, self._decoder, line)
        answers.check_asked(self._label, self._most, said.answered, said.unanswered)
        return said
