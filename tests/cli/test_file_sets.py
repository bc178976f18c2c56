"""`wgfleet peer files` where the answer does not come whole: nothing has the final name that is no whole ZIP."""

import http.server
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run

pytestmark = pytest.mark.slow


def whole(files: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(files):
            archive.writestr(f"{number}.conf", "[Interface]")
    return packed.getvalue()


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


# Made when it is asked for: to make the large one takes a second of each process that reads this file.
ANSWERS: dict[str, Callable[[], bytes]] = {
    "broken": lambda: b"transfer-encoding: chunked\r\n\r\n" + chunk(whole(3)[:100]),
    "cut": lambda: b"content-length: 100\r\n\r\n" + whole(3)[:100],
    "cut-unseen": lambda: b"connection: close\r\n\r\n" + whole(3)[:-30],
    "empty": lambda: b"content-length: 0\r\n\r\n",
    "whole": lambda: b"transfer-encoding: chunked\r\n\r\n" + chunk(whole(3)[:9]) + chunk(whole(3)[9:]) + chunk(b""),
    "many": lambda: b"connection: close\r\n\r\n" + whole(70_000),
}


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[str]:
    """A panel that gives one answer."""
    answer = ANSWERS[request.param]()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/zip\r\n" + answer)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("answering", "code", "words"),
    [
        ("broken", 3, "broke off"),
        ("cut", 1, "the ZIP has no end"),
        ("cut-unseen", 1, "the ZIP has no end"),
        ("empty", 1, "the ZIP has no end"),
        ("whole", 0, "3 files"),
        ("many", 0, "70000 files"),
    ],
    indirect=["answering"],
)
def test_what_is_no_whole_zip_leaves_the_file_before(
    wgfleet: Run, answering: str, code: int, words: str, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    target = folder / "wg0.zip"
    target.write_bytes(b"before")
    done = wgfleet("peer", "files", "wg0", "-o", str(target), WGFLEET_URL=answering, WGFLEET_API_KEY="wgf_key")
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert [each.name for each in folder.iterdir()] == ["wg0.zip"]
    assert (target.read_bytes() == b"before") == (code != 0)
    if code == 0:
        with zipfile.ZipFile(target) as archive:
            assert f"{len(archive.namelist())} files" == words
