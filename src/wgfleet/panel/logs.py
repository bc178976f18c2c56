"""Form and level of what the panel logs: structlog's own events and those of the libraries, on standard error."""

import logging
import sys
from typing import Any, Literal

import structlog

from wgfleet.log_stream import LogForm, as_json, as_text, log_to
from wgfleet.protocol.quotes import CUT

MOST_LETTERS = 2000  # of one value; more is what somebody sent


def configure(level: Literal["debug", "info", "warning", "error"], form: LogForm) -> None:
    """Send all logs to standard error, one event a line; `auto` is text where that is a terminal, else JSON."""
    if form == "auto":
        form = "text" if sys.stderr.isatty() else "json"
    stream = log_to(sys.stderr, as_json if form == "json" else as_text)
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _shorter,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if form == "json"
        # Plain tracebacks: the pretty ones show local variables, and with them keys.
        else [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)


def _shorter(_logger: Any, _method: str, event: Any) -> Any:
    """Cut long texts, which somebody sent: a log is for the lines after it as well."""
    for name, value in event.items():
        if isinstance(value, str) and len(value) > MOST_LETTERS:
            event[name] = CUT.format(start=value[:MOST_LETTERS], length=len(value))
    return event
