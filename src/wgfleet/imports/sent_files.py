"""Files that somebody sent for an import, or an archive of a folder: they are read in a folder of their own.

What is in them leads nowhere else: no link is made, and no file of this machine is looked at.
"""

import gzip
import io
import lzma
import os
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec

from wgfleet.imports import sources, wg_easy
from wgfleet.imports.fleet import ImportedFleet, UnreadableError
from wgfleet.imports.server_folders import rough_text_of
from wgfleet.protocol.reasons import Reason, template, words_of

MAX_BYTES, MAX_FILES = 64 * 1024 * 1024, 20_000  # in all, unpacked
_MOST_MEMBERS = 2 * MAX_FILES  # of a tar, looked at for their number: folders and links are among them
_XML = "config.xml"
PASTED = {"wg-quick": "wg0.conf", "pivpn": "wg0.conf", "wg-easy": "wg0.json", "opnsense": _XML, "pfsense": _XML}
"""What the file is called of which the text was pasted; other sources have more than a text."""
_ENCRYPTED = 1  # bit 0 of a member's flags: APPNOTE.TXT of ZIP, 4.4.4
_IN_UTF8 = 0x800  # bit 11, likewise
# What the library raises for damaged archives besides what it says it does: of lengths, offsets and names in them.
_DAMAGED = (ValueError, LookupError, ArithmeticError, EOFError, RuntimeError, struct.error, zlib.error, lzma.LZMAError)
_BROKEN = (OSError, tarfile.TarError, zipfile.BadZipFile, *_DAMAGED)
_VARIABLES = {".yml", ".yaml", ".env", ".txt", ""}


class SentFile(NamedTuple):
    """A file with its name, which may have folders."""

    name: str
    content: bytes


def pasted(source: str, text: str) -> SentFile:
    """Return the file that a text is of. Raise `UnreadableError`."""
    if source not in PASTED:
        raise UnreadableError(
            Reason("a text is too little for {source}: choose its files, or an archive of its folder", source=source)
        )
    return SentFile(PASTED[source], text.encode(errors="replace"))


def read(source: str, sent: Sequence[SentFile], *, commented_out: bool = False) -> ImportedFleet:
    """Read a source (one of `sources.SOURCES`) from files, as `sources.read` does. Raise `UnreadableError`."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "sent"
        root.mkdir()
        files = _write(root, sent)
        if not files:
            raise UnreadableError(Reason("there is no file in what was sent"))
        top = _top(root)
        try:
            found = sources.read(
                source,
                files[0] if len(files) == 1 else top,
                environment=_environment(files) if source == "wg-easy" else None,
                files=top,  # never the folder of this machine
                commented_out=commented_out,
            )
        except UnreadableError as error:
            raise UnreadableError(_without(top, words_of(error))) from None
        return msgspec.structs.replace(found, warnings=tuple(_without(top, each) for each in found.warnings))


def _write(root: Path, sent: Sequence[SentFile]) -> list[Path]:
    found: dict[Path, None] = {}
    left = MAX_BYTES
    for each in sent:
        try:
            for name, content in _unpacked(each, left):
                left -= len(content)
                if left < 0 or len(found) == MAX_FILES:
                    raise _too_much(each)
                parts = PurePosixPath(name.replace("\\", "/")).parts
                if ".." in parts or "\0" in name:
                    continue
                path = root.joinpath(*(part for part in parts if part != "/"))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                found[path] = None
        except _BROKEN as error:
            why = (error.strerror if isinstance(error, OSError) else None) or error  # without the path here
            raise UnreadableError(Reason("{name}: cannot be unpacked: {error}", name=each.name, error=why)) from None
    return list(found)


def _too_much(sent: SentFile) -> UnreadableError:
    text = template("{name}: more than {most} MiB, or {most_files} files")
    return UnreadableError(Reason(text, name=sent.name, most=MAX_BYTES // 1024**2, most_files=MAX_FILES))


def _unpacked(sent: SentFile, most: int) -> Iterator[tuple[str, bytes]]:
    """Yield what is in an archive, or the file itself; of one beyond `most` bytes a little more than that."""
    name, content = sent.name.lower(), sent.content
    if name.endswith((".tar.gz", ".tgz")):
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            content = packed.read(most + 1)
    if len(content) > most:
        yield sent.name, content
    elif name.endswith((".tar", ".tar.gz", ".tgz")):
        yield from _of_tar(sent, content, most)
    elif name.endswith(".zip"):
        yield from _of_zip(sent, most)
    else:
        yield sent.name, content


def _of_tar(sent: SentFile, content: bytes, most: int) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        if sum(member.isreg() for member in islice(archive, _MOST_MEMBERS)) > MAX_FILES:
            raise _too_much(sent)  # before any is written
        for member in archive:
            if member.isreg() and (file := archive.extractfile(member)) is not None:
                yield member.name, file.read(most + 1)  # one that is sparse says that it is larger than all of it


def _of_zip(sent: SentFile, most: int) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(sent.content)) as archive:
        files = [info for info in archive.infolist() if info.filename and not info.is_dir()]
        if len(files) > MAX_FILES:
            raise _too_much(sent)
        for info in files:
            if info.flag_bits & _ENCRYPTED:
                text = template("{name}: has a password; unpack it, and send what is in it, or an archive without one")
                raise UnreadableError(Reason(text, name=sent.name))
            with archive.open(info) as file:
                yield _name_of(info), file.read(most + 1)


def _name_of(info: zipfile.ZipInfo) -> str:
    """Return the name of a member; one that does not say that it is in UTF-8 mostly is, and Python takes for CP437."""
    if info.flag_bits & _IN_UTF8:
        return info.filename
    try:
        return os.fsdecode(info.filename.encode("cp437"))
    except UnicodeEncodeError:  # it was said elsewhere in the archive
        return info.filename


def _top(root: Path) -> Path:
    """Return the folder that an archive is of: the first that has more than one folder in it."""
    while len(inside := list(root.iterdir())) == 1 and inside[0].is_dir():
        root = inside[0]
    return root


def _environment(files: Sequence[Path]) -> Path | None:
    """Return the file of variables, or of docker compose, among others."""
    beside = [each for each in files if each.suffix.lower() in _VARIABLES or each.name.startswith(".env")]
    return next((each for each in beside if wg_easy.variables(rough_text_of(each))), None)


def _without(top: Path, text: str) -> str:
    """Return a text without the folder that nobody has seen, whatever language it is said in."""
    if isinstance(text, Reason):
        values = {name: _without(top, each) if isinstance(each, str) else each for name, each in text.values.items()}
        return Reason(text.template, **values)
    return (
        text.replace(f"{top}/", "").replace(str(top), Reason("what was sent"))
        if text != str(top)
        else Reason("what was sent")
    )
