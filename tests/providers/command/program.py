"""A program that keeps addresses in a file, as `command` runs it: run by path, so it imports nothing of ours.

`program.py STATE`: a JSON object with `token`, `holders` (address -> node id), `known` (node ids), and `mode`, how it
misbehaves.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def misbehave(mode: str, asked: dict[str, Any]) -> int | None:
    """Do what the mode says; None: go on as if nothing were wrong."""
    if mode == "sleeps":
        time.sleep(60)
    if mode == "leaves":  # a process that keeps the streams open
        if os.fork() == 0:
            time.sleep(60)
        return 0
    if mode == "floods":
        while True:
            sys.stdout.write("x" * 4096)
    if mode == "dies":
        os.kill(os.getpid(), 9)
    if mode in SAYS:
        code, output, errors = SAYS[mode]
        sys.stdout.write(output)
        sys.stderr.write(errors.replace("TOKEN", asked["secrets"]["token"]))
        return code
    return None


SAYS = {
    "garbage": (0, "Bad gateway <html>", ""),
    "repeats": (77, "", "token TOKEN\n\x1b[31mrefused"),
    "later": (75, json.dumps({"error": "the cloud is busy", "retry_after_s": 7}), ""),
}


def move(state: dict[str, Any], asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the answer; a change is in `state`."""
    if asked["secrets"].get("token") != state["token"]:
        return 77, {"error": "wrong token"}
    if asked["action"] == "holder":
        return 0, {"node": state["holders"].get(asked["address"])}
    if asked["node"]["id"] not in state["known"]:
        return 78, {"error": "no machine of that id"}
    state["holders"][asked["address"]] = asked["node"]["id"]
    return 0, {}


def main() -> int:
    state_file = Path(sys.argv[1])
    state = json.loads(state_file.read_text())
    asked = json.load(sys.stdin)
    state["asked"] = [*state.get("asked", []), {**asked, "arguments": sys.argv[2:], "environment": sorted(os.environ)}]
    state_file.write_text(json.dumps(state))
    code = misbehave(state["mode"], asked)
    if code is not None:
        return code
    code, answer = move(state, asked)
    state_file.write_text(json.dumps(state))
    if state["mode"] == "fails after" and asked["action"] == "assign":
        sys.stderr.write("connection reset")
        return 1
    sys.stdout.write(json.dumps(answer))
    return code


if __name__ == "__main__":
    sys.exit(main())
