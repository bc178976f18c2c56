"""Chunks of an HTTP/1.1 body (RFC 9112, section 7.1), taken apart as they come. Strict: what is odd is refused."""

import re

LONGEST_LINE = 64  # bytes of a line that says how long a chunk is; who sends extensions is not an agent of ours

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})[\t ]{0,8}(?:;[^\r\n]{0,48})?\r\n")
_END = b"\r\n"


class ChunkError(ValueError):
    """What came is not a chunk."""


class Chunks:
    """Takes one body apart. `ended`: its last chunk has come; what follows (trailers) is of no interest."""

    def __init__(self) -> None:
        self.ended = False
        self._left = 0  # bytes of the present chunk that are still to come
        self._closes = False  # the present chunk is there but for the end of its line
        self._held = b""  # a line that has not come whole

    def feed(self, data: bytes) -> list[bytes]:
        """Take what has arrived; return what of the body is in it. Raise `ChunkError` on what is no chunk."""
        if self._held:
            data, self._held = self._held + data, b""
        pieces: list[bytes] = []
        at, size = 0, len(data)
        while at < size and not self.ended:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._closes = not self._left
            elif self._closes:
                end = data[at : at + 2]
                if end == _END:
                    self._closes = False
                    at += 2
                elif end == b"\r":
                    self._held = end
                    break
                else:
                    raise ChunkError("a chunk is longer than it says")
            elif (line := _SIZE_LINE.match(data, at)) is not None:
                self._left = int(line[1], 16)
                self.ended = not self._left
                at = line.end()
            else:
                self._held = _begun_line(data[at : at + LONGEST_LINE])
                break
        return pieces


def _begun_line(data: bytes) -> bytes:
    """Return what may become the line before a chunk, once there is more of it."""
    if len(data) == LONGEST_LINE or b"\n" in data:
        raise ChunkError("what should be the length of a chunk is none")
    return data
