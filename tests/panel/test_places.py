"""Places that processes share: as many as there are, taken by whom, and given back by whom is killed."""

import os
import signal

from wgfleet.panel.places import Places


def test_a_thing_has_as_many_places_as_there_are_and_others_have_their_own() -> None:
    places = Places()
    assert [places.take("one", 2) for _ in range(3)] == [0, 1, None]
    assert places.take("another", 1) == 0
    places.give_back("one", 0)
    assert places.take("one", 2) == 0
    assert places.take("none", 0) is None


def test_what_another_process_has_is_taken_until_it_ends() -> None:
    places = Places()
    assert places.take("thing", 3) == 0
    ready, told = os.pipe()
    if (child := os.fork()) == 0:
        own = places.take("thing", 3), places.take("thing", 3)
        os.write(told, repr(own).encode())
        signal.pause()
        os._exit(1)
    assert os.read(ready, 100) == b"(1, 2)"
    assert places.take("thing", 3) is None
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert [places.take("thing", 3) for _ in range(3)] == [1, 2, None]
