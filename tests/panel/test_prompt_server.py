"""Servers in threads of tests: they leave no connection behind, which another test would be blamed for."""

import gc
import socket
import threading
import warnings

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.prompt_server import PromptServer


def test_who_comes_while_it_ends_is_hung_up_on() -> None:
    busy, go_on = threading.Event(), threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        busy.set()
        go_on.wait(60)  # the whole server, which hears of the end and of who comes at once
        await Response(await Request(scope, receive).body())(scope, receive, send)

    gc.collect()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as first, socket.socket() as late:
            first.settimeout(10)
            late.settimeout(10)
            server = PromptServer(uvicorn.Config(app, log_level="warning", lifespan="off"))
            with server.served(listener) as port:
                first.connect(("127.0.0.1", port))
                first.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                assert busy.wait(60)
                late.connect(("127.0.0.1", port))
                threading.Timer(0.1, go_on.set).start()
            assert first.recv(100).startswith(b"HTTP/1.1 200")
            assert late.recv(100) == b""
        del server
        gc.collect()
    assert [str(each.message) for each in said] == []
