"""Structured logs on stderr: one line when something opens, one canonical line when it closes, none per message.

Payloads and tokens are never logged. Library logs (aiohttp, nats, grpc, asyncio) come out in the same form, from `warning` up.
"""

import logging
import sys

import structlog

from runcast.bus.settings import ServiceSettings, masked_urls


def configure_logs(settings: ServiceSettings, role: str) -> structlog.stdlib.BoundLogger:
    """Set up logging for this process and return its logger, bound to role and id."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=32)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("runcast").setLevel(settings.log_level.upper())
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(f"runcast.{role}").bind(role=role, id=settings.id)
    logger.info("starting", **{name: value for name, value in settings_dict(settings).items() if name != "id"})
    if settings.auth == "dev":
        logger.warning("DEVELOPMENT MODE: everybody is believed to be whoever they say; loopback only")
    return logger


def settings_dict(settings: ServiceSettings) -> dict[str, object]:
    """The record as a dict, for showing: secrets are masked."""
    shown: dict[str, object] = {name: getattr(settings, name) for name in settings.__struct_fields__}
    shown["nats_url"] = masked_urls(settings.nats_url)
    return shown
