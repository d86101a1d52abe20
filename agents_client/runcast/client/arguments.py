"""What callers give, looked at where they give it, so that a wrong type is named there and not deep in a library.

Rules: a wrong type raises TypeError, a value out of range ValueError; both say which argument it is and what to give.

Pure: never imports asyncio, a clock, randomness, logging or grpc.
"""


def check_text(value: object, what: str) -> str:
    """Return `value` when it is a text.

    Args:
        value: what was given.
        what: the argument's name, for the error.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} is {_named(value)}; give a text (str)")
    return value


def check_texts(values: object, what: str) -> tuple[str, ...]:
    """Return `values` as a tuple when they are a collection of texts, and not one text.

    Raises:
        TypeError: they are none.
    """
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise TypeError(f"{what} is {_named(values)}; give a list of texts")
    return tuple(check_text(value, f"one of {what}") for value in values)


def check_number(value: object, what: str, unit: str = "number") -> float:
    """Return `value` when it can be compared as a number; whatever the range.

    Args:
        value: what was given.
        what: the argument's name, for the error.
        unit: what to give, e.g. "number of seconds".

    Raises:
        TypeError: it can't.
    """
    if isinstance(value, float) or isinstance(value, int):  # noqa: SIM101 # a union costs more, and progress is said often
        return value
    if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        raise TypeError(f"{what} is {_named(value)}; give a {unit}")
    return float(value)


def check_whole(value: object, what: str) -> int:
    """Return `value` when it is a whole number; whatever the range.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, int):
        raise TypeError(f"{what} is {_named(value)}; give a whole number")
    return value


def _named(value: object) -> str:
    """A value in few words: its type, and itself where that is short."""
    if value is None:
        return "None"
    text = repr(value) if isinstance(value, str | bytes | int | float) else ""
    return f"{text} ({type(value).__name__})" if 0 < len(text) <= 40 else f"of type {type(value).__qualname__}"
