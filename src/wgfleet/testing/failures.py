"""Checks of failures that all contracts share: the right error, and no credential in it."""

from collections.abc import Callable, Iterable
from importlib.metadata import entry_points

import pytest
from pydantic import BaseModel, ValidationError


def check_failures(calls: Iterable[Callable[[], object]], expected: type[Exception], secret: str) -> None:
    """Each call has to fail with `expected`, and neither that error nor one that caused it may hold the secret."""
    for call in calls:
        with pytest.raises(expected) as failure:
            call()
        error: BaseException | None = failure.value
        assert str(error), "an error says what is wrong"
        while error is not None:
            assert secret not in f"{error} {error!r} {vars(error)}", "an error holds the credential"
            error = error.__cause__ or error.__context__


def check_entry_point(group: str, plugin: str) -> None:
    """The entry point has to be there just once, and to hold a class that has its name."""
    points = [point for point in entry_points(group=group) if point.name == plugin]
    assert len(points) == 1, f"{len(points)} entry points {plugin!r} in the group {group!r}; is the package installed?"
    assert points[0].load().name == plugin


def check_options(options: type[BaseModel]) -> None:
    """A misspelled option has to be refused."""
    with pytest.raises(ValidationError) as failure:
        options.model_validate({"no_such_option": 1})
    assert "extra_forbidden" in {error["type"] for error in failure.value.errors()}, 'set ConfigDict(extra="forbid")'
