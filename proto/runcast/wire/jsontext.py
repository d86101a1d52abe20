"""How deep JSON that is passed on may be nested. Whoever reads a page's frame, or an agent's message, reads it with it.

Pure.
"""

from collections.abc import Iterable
from typing import Any

from runcast.wire import limits


def too_deep(text: bytes, value: Any, depth_max: int = limits.JSON_DEPTH_MAX) -> bool:
    """Whether a JSON value is nested deeper than `depth_max` containers; level by level, so that no input costs stack.

    Args:
        text: of the value.
        value: what was read from it.
        depth_max: how deep it may be.
    """
    if text.count(b"[") + text.count(b"{") <= depth_max:
        return False
    level = _containers([value])
    for _ in range(depth_max):
        if not level:
            return False
        level = [child for item in level for child in _containers(item.values() if isinstance(item, dict) else item)]
    return bool(level)


def _containers(items: Iterable[Any]) -> list[Any]:
    return [item for item in items if isinstance(item, dict | list)]
