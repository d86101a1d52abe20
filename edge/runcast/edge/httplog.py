"""What aiohttp logs of HTTP: faults of ours. Nonsense of a stranger is none, and a traceback for each would be a flood of its own."""

import logging
from typing import Final

from aiohttp.http_exceptions import HttpProcessingError

_NAME: Final = "runcast.edge.http"


class _Ours(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        return kind is None or not issubclass(kind, HttpProcessingError)


def http_log() -> logging.Logger:
    """The logger for aiohttp."""
    log = logging.getLogger(_NAME)
    if not log.filters:
        log.addFilter(_Ours())
    return log
