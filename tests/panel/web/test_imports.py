"""Moving in by pages: files of other programs are sent, shown, imported, and what is left to do is said."""

import gc
import io
import re
import tarfile
import tempfile
import weakref
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.imports import samples
from tests.imports.samples import Keys
from tests.panel.web.conftest import submit
from wgfleet.imports.fleet import UnreadableError
from wgfleet.panel.api import Panel
from wgfleet.panel.api.request_bodies import MANY
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services import configs
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm

PAGE = "/new/import"


def encoded(files: Mapping[str, bytes]) -> str:
    return "\n".join(f"{quote(name)}:{urlsafe_b64encode(raw).decode().rstrip('=')}" for name, raw in files.items())


def archive(folder: Path, kind: str) -> dict[str, bytes]:
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as packed:
            for path in sorted(folder.rglob("*")):
                packed.write(path, Path("saved") / path.relative_to(folder))
    else:
        with tarfile.open(fileobj=out, mode="w:gz") as tar:
            tar.add(folder, "saved")
    return {f"saved.{kind}": out.getvalue()}


def seen_of(page: httpx.Response) -> dict[str, str]:
    found = re.search(r'name="seen" value="(\w+)"', page.text)
    return {"do": "true", "seen": found[1]} if found else {}


@pytest.fixture(autouse=True)
def _nothing_stays(panel: Panel) -> Iterator[None]:
    yield
    with panel.store.write() as tx:
        for row in configs.page(tx):
            configs.delete(tx, "test", row)


OF_FILES: dict[str, tuple[Callable[[Path, Keys], None], str, str]] = {
    "wgdashboard": (samples.wgdashboard, "tar.gz", "Anna&#39;s laptop"),
    "wg-easy": (samples.wg_easy_15, "zip", "tablet"),
    "wireguard-ui": (samples.wireguard_ui, "tgz", "Hugo phone"),
    "wg-portal": (samples.wg_portal, "zip", "Carol phone"),
}


@pytest.mark.parametrize("source", OF_FILES)
def test_a_folder_is_sent_as_an_archive_shown_then_imported(admin: httpx.Client, tmp_path: Path, source: str) -> None:
    make, kind, peer = OF_FILES[source]
    make(tmp_path, Keys())
    fields = {"source": source, "files": encoded(archive(tmp_path, kind)), "config": f"in-{source}"[:15]}
    shown = submit(admin, PAGE, **fields)
    assert (shown.status_code, peer in shown.text, "is a new config" in shown.text) == (200, True, True), shown.text
    assert str(tmp_path) not in shown.text
    assert fields["config"] not in admin.get("/configs").text
    done = submit(admin, PAGE, **fields, **seen_of(shown))
    assert done.url.path == f"/configs/{fields['config']}/moving-in", done.text
    assert f"wgfleet agent adopt {fields['config']}" in done.text
    assert peer in admin.get(f"/peers?config={fields['config']}").text
    assert "is here already: 0 new peers" in submit(admin, PAGE, **fields).text


def test_a_text_is_pasted_and_another_one_than_was_shown_is_shown_again(admin: httpx.Client) -> None:
    keys = Keys()
    text = f"[Interface]\nPrivateKey = {keys.private('server')}\nListenPort = 51999\nAddress = 10.99.0.1/24\n"
    text += "PostUp = touch /tmp/never\n"
    peer = f"[Peer]\n# paula\nPublicKey = {keys.public('p')}\nAllowedIPs = 10.99.0.2/32\n"
    fields = {"source": "wg-quick", "config": "pasted"}
    shown = submit(admin, PAGE, **fields, text=text)
    other = submit(admin, PAGE, **fields, text=text + peer, **seen_of(shown))
    assert (other.url.path, "paula" in other.text, "touch /tmp/never" in other.text) == (PAGE, True, True)
    done = submit(admin, PAGE, **fields, text=text + peer, **seen_of(other))
    assert done.url.path == "/configs/pasted/moving-in"


def test_peers_that_are_commented_out_are_named_and_come_in_where_that_is_ticked(admin: httpx.Client) -> None:
    keys = Keys()
    text = f"[Interface]\nPrivateKey = {keys.private('server')}\nListenPort = 51999\nAddress = 10.99.0.1/24\n"
    text += f"# [Peer]\n# # paula\n# PublicKey = {keys.public('p')}\n# AllowedIPs = 10.99.0.2/32\n"
    fields = {"source": "wg-quick", "config": "commented", "text": text}
    shown = submit(admin, PAGE, **fields)
    assert ("wg0: line 5, peer paula is commented out" in shown.text, "0 new peers" in shown.text) == (True, True)
    again = submit(admin, PAGE, **fields, commented_out="true", **seen_of(shown))
    assert (again.url.path, "1 new peers" in again.text) == (PAGE, True), "other than was shown"
    assert submit(admin, PAGE, **fields, commented_out="true", **seen_of(again)).status_code == 200
    listed = admin.get("/peers?config=commented").text
    assert ("paula" in listed, "switched off" in listed) == (True, True)


def test_of_several_interfaces_one_is_chosen(admin: httpx.Client) -> None:
    def server(number: int) -> bytes:
        key = Keys().private(f"server-{number}")
        return (
            f"[Interface]\nPrivateKey = {key}\nListenPort = {51900 + number}\nAddress = 10.90.{number}.1/24\n".encode()
        )

    files = encoded({"wga.conf": server(1), "wgb.conf": server(2)})
    assert "wga is a new config" in submit(admin, PAGE, source="wg-quick", files=files).text
    assert "wgb is a new config" in submit(admin, PAGE, source="wg-quick", files=files, interface="wgb").text


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "nothing": ({"source": "wg-quick"}, "choose files, or paste a text"),
    "no such source": ({"source": "/etc/passwd", "text": "x"}, "is no source"),
    "text of a database": ({"source": "wgdashboard", "text": "x"}, "a text is too little"),
    "no server": ({"source": "wg-quick", "text": "[Peer]"}, "in place of one"),
    "no base64": ({"source": "wg-quick", "files": "wg0.conf:!!!x"}, ""),
    "no archive": ({"source": "wg-easy", "files": encoded({"a.tar.gz": b"no"})}, "cannot be unpacked"),
    "no zip": ({"source": "wg-easy", "files": encoded({"a.zip": b"no"})}, "cannot be unpacked"),
    "no database": ({"source": "wg-portal", "files": encoded({"sqlite.db": b"no"})}, "no SQLite database"),
    "an entity": ({"source": "opnsense", "text": "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"}, ""),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_read_is_said(admin: httpx.Client, what: str) -> None:
    fields, words = WRONG[what]
    answer = submit(admin, PAGE, **fields)
    assert (answer.status_code, words in answer.text, "That was refused" in answer.text) == (422, True, False), what
    assert 'class="wrong"' in answer.text
    assert f"{tempfile.gettempdir()}/" not in answer.text
    wrong = re.findall(r'class="wrong" id="(\w+)-wrong"', answer.text)
    assert wrong == ["files" if "files" in fields else "source" if "/" in fields["source"] else "text"]


def test_what_was_refused_goes_from_memory_with_its_answer() -> None:
    """A few refused files of 10 MB each were a gigabyte until the collector came by."""

    class Sent(str):
        """What somebody sent; plain texts have no weak references."""

        __slots__ = ("__weakref__",)

    def refused() -> weakref.ref[Sent]:
        form = SubmittedForm({"files": Sent("x" * 100)})
        try:
            read_as_a_page_does(form.get("files"))
        except REFUSALS as error:
            form.refused(error)
        assert form.status == Invalid.status
        return weakref.ref(form.values["files"])  # type: ignore[arg-type]  # it is one

    def read_as_a_page_does(sent: str) -> None:
        try:
            read(sent)
        except UnreadableError as error:
            raise Invalid(str(error), field="files") from None

    def read(sent: str) -> None:
        raise UnreadableError(f"{len(sent)} letters")

    gc.disable()
    try:
        assert refused()() is None
    finally:
        gc.enable()


def test_a_file_that_is_too_large_is_refused_on_a_page(admin: httpx.Client) -> None:
    answer = submit(admin, PAGE, source="wg-quick", text="#" * (MANY.size + 1))
    assert (answer.status_code, answer.headers["Content-Type"]) == (413, "text/html; charset=utf-8")
    assert "larger than 16 MB" in answer.text


def test_another_range_and_port_are_chosen_where_those_of_the_server_are_taken(
    admin: httpx.Client,
) -> None:
    keys = Keys()
    text = (
        f"[Interface]\nPrivateKey = {keys.private('server')}\nListenPort = 51833\nAddress = 10.219.0.1/24\n"
        f"[Peer]\n# anna\nPublicKey = {keys.public('anna')}\nAllowedIPs = 10.219.0.7/32\n"
    )
    submit(admin, "/new/config", name="taken", pools="10.219.0.0/24", client_allowed_ips="0.0.0.0/0")
    fields = {"source": "wg-quick", "text": text, "config": "office"}
    refused = submit(admin, PAGE, **fields)
    assert (refused.status_code, 'id="pools-wrong"' in refused.text) == (409, True)
    assert "choose other networks, at *Other networks or port* below" in refused.text
    fields |= {"pools": "\u06f1\u06f0.220.0.0/24", "listen_port": "51998"}
    shown = submit(admin, PAGE, **fields)
    assert "and need new files" in shown.text
    done = submit(admin, PAGE, **fields, **seen_of(shown))
    assert done.url.path == "/configs/office/moving-in"
    page = admin.get("/configs/office").text
    assert "10.220.0.0/24" in page
    assert "51998" in page
