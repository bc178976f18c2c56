"""A ZIP in parts: of each member its bytes, then the directory, without which no program takes the rest for a whole.

`zipfile` keeps an object of half a kilobyte for each member until the end; here it is the 50 bytes and the name that
the directory has of it.
"""

import struct
import zlib

MOST = 0xFFFF  # members that the directory's plain end can count
_FAR = 0xFFFFFFFF  # bytes from the beginning that a plain entry can say
_VERSION, _VERSION_64 = 20, 45  # of the format, times ten
_UNIX = 3
_UTF8 = 0x800
_DEFLATED = 8
_WINDOW, _MEMORY = 12, 5  # of 4 kB: a tenth of the memory of the largest, and less than half of the time
_MODIFIED = (20 << 9) | (1 << 5) | 1  # 2000-01-01: equal input gives equal bytes


class ZipStream:
    """Makes a ZIP of small members, whose bytes are all given at once; only their owner can read what is unpacked."""

    def __init__(self, mode: int = 0o600, begins_at: int = 0) -> None:
        """Begin a ZIP whose members have this mode; `begins_at`: how many bytes the file has before it."""
        self._mode = mode
        self._directory = bytearray()
        self._count = 0
        self._at = begins_at

    def member(self, name: str, content: bytes) -> bytes:
        """Return the bytes of one more member, which come next."""
        packer = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -_WINDOW, _MEMORY)
        packed = packer.compress(content) + packer.flush()
        encoded = name.encode()
        flags = 0 if name.isascii() else _UTF8
        common = struct.pack("<HHHHIII", flags, _DEFLATED, 0, _MODIFIED, zlib.crc32(content), len(packed), len(content))
        far = self._at >= _FAR
        extra = struct.pack("<HHQ", 1, 8, self._at) if far else b""
        version = _VERSION_64 if far else _VERSION
        self._directory += (
            struct.pack("<4sBBH", b"PK\x01\x02", version, _UNIX, version)
            + common
            + struct.pack("<HHHHHII", len(encoded), len(extra), 0, 0, 0, self._mode << 16, _FAR if far else self._at)
            + encoded
            + extra
        )
        self._count += 1
        found = struct.pack("<4sH", b"PK\x03\x04", _VERSION) + common + struct.pack("<HH", len(encoded), 0)
        found += encoded + packed
        self._at += len(found)
        return found

    def end(self) -> bytes:
        """Return the bytes that make it a whole ZIP."""
        size, count = len(self._directory), self._count
        found = bytes(self._directory)
        if count > MOST or self._at + size > _FAR:
            end_at = self._at + size
            found += struct.pack(
                "<4sQHHIIQQQQ", b"PK\x06\x06", 44, _VERSION_64, _VERSION_64, 0, 0, count, count, size, self._at
            )
            found += struct.pack("<4sIQI", b"PK\x06\x07", 0, end_at, 1)
        shown = min(count, MOST)
        return found + struct.pack(
            "<4sHHHHIIH", b"PK\x05\x06", 0, 0, shown, shown, min(size, _FAR), min(self._at, _FAR), 0
        )
