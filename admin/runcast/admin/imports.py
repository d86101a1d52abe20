"""A file that was exported before, sent by a page to be played.

Rules
1. It is read by the command line's importer (`runcast.admin.replay.export`), line by line as it comes, so that whatever else this process
   does goes on meanwhile; what is none is refused (`request_invalid`), with the number of the line.
2. The redaction rules in force are applied, as to an export, also to what was exported before they were: `Head.redacted` names both.
3. A file is what its writer made of it: the film says that it is from a file. Nothing of it is stored.
"""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from runcast.admin.replay.export import Export, ExportInvalidError, Head, Importer
from runcast.wire import limits_dashboard as bounds
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.limits_replay import EXPORT_LINE_BYTES_MAX
from runcast.wire.redaction import Redaction

_AT_ONCE = 64


class Import:
    """One file. First `head`, then `rest`, in one coroutine.

    Args:
        request: whose body it is.
        within_s: for it to come.

    Raises:
        RuncastError: `request_invalid`: it says that it is too large.
    """

    def __init__(self, request: web.Request, *, within_s: float = bounds.IMPORT_S) -> None:
        if (request.content_length or 0) > bounds.IMPORT_BYTES_MAX:
            text = f"it is larger than {bounds.IMPORT_BYTES_MAX >> 20} MiB; export a run, or a span of time"
            raise RuncastError(text, code="request_invalid")
        self._lines = _lines(request)
        self._importer = Importer(bounds.IMPORT_BYTES_MAX)
        self._within_s = within_s
        self._until = asyncio.get_running_loop().time() + within_s

    async def head(self) -> Head:
        """Whose stream it says that it is, and what of it.

        Raises:
            RuncastError: `request_invalid`: it is no export.
            UnavailableError: it did not come in time.
        """
        while self._importer.head is None:
            if not await self._take():
                break
        return self._done().head

    async def rest(self, redaction: Redaction) -> Export:
        """All of it, without what the rules name; raises as `head` does."""
        while await self._take():
            pass
        export = self._done()
        export.head.redacted = list(dict.fromkeys([*export.head.redacted, *redaction.paths]))
        batches = []
        size = 0
        for number, batch in enumerate(export.batches):
            if not number % _AT_ONCE:
                await asyncio.sleep(0)  # others have their turn
            events = [redaction.apply(event).event for event in batch.events]
            size += sum(event.ByteSize() for event in events)
            if size > bounds.FILM_BYTES_MAX:
                text = f"what it holds is larger than {bounds.FILM_BYTES_MAX >> 20} MiB; export a run, or use `runcast replay FILE`"
                raise RuncastError(text, code="request_invalid")
            batches.append(batch._replace(events=events))
        return export._replace(batches=batches)

    async def _take(self) -> bool:
        """The next line; False at the end."""
        try:
            async with asyncio.timeout_at(self._until):
                line = await anext(self._lines, None)
            if line is None:
                return False
            self._importer.take(line)
        except ExportInvalidError as exc:
            raise RuncastError(str(exc), code="request_invalid") from exc
        except TimeoutError as exc:
            raise UnavailableError(f"the file did not come within {self._within_s:.0f} s; use `runcast replay FILE`") from exc
        except (ConnectionError, web.RequestPayloadError) as exc:
            raise UnavailableError("the file was cut off on its way; send it again") from exc
        return True

    def _done(self) -> Export:
        try:
            return self._importer.done()
        except ExportInvalidError as exc:
            raise RuncastError(str(exc), code="request_invalid") from exc


async def _lines(request: web.Request) -> AsyncIterator[bytes]:
    """The lines of a body; one that is longer than any may be comes in pieces, the first of them too long."""
    rest = b""
    async for chunk in request.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
        if len(rest) > EXPORT_LINE_BYTES_MAX:
            yield rest
            rest = b""
    if rest:
        yield rest
