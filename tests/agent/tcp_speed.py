"""A program that measures how fast TCP gets through: `receive HOST PORT SKIP BYTES` or `send HOST PORT`.

The receiver leaves out the first bytes, which a bucket may have let through at once, and prints bits per second of the
next ones by its own clock.
"""

import socket
import sys
import time


def say(words: str) -> None:
    """Tell who started this program."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def receive(host: str, port: int, skip: int, count: int) -> float:
    """Return the speed, in bits per second, of `count` bytes after the first `skip`."""
    with socket.create_server((host, port)) as server:
        say("ready")
        connection, _ = server.accept()
    with connection:
        connection.settimeout(60)
        began, got = 0.0, 0
        while got < skip + count:
            got += len(connection.recv(1 << 16))
            if not began and got >= skip:
                began, skip = time.monotonic(), got
        return (got - skip) * 8 / (time.monotonic() - began)


def send(host: str, port: int) -> None:
    """Send until the other side has enough."""
    with socket.create_connection((host, port), timeout=60) as connection:
        try:
            while True:
                connection.sendall(b"x" * (1 << 16))
        except OSError:
            return


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        say(str(receive(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))))
    else:
        send(sys.argv[2], int(sys.argv[3]))
