"""Functions whose calls show as tool calls of the run that they are made in, without a change to their code.

Rules.
1. Outside of a run, or after its end, a call is a plain call.
2. A function behaves as before: same arguments, result and exceptions; no call fails because its arguments or result can't be written, or
   are too large: they are written as well as it goes (`encode_leniently`). A call does fail when the run itself does.
3. A generator's call lasts from its first item to its end; one that is left before that counts as cancelled. Its result is not shown.
4. What is instrumented is marked: twice wraps once.

How a call gets to the run, from whatever thread it is made in, is `watch.py`'s. Never imports grpc.
"""

import copy
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, MutableMapping
from contextlib import aclosing
from typing import Any, Final, ParamSpec, TypeVar, overload

from runcast.client.watch import Watch, Words
from runcast.wire import limits_client as limits
from runcast.wire.ids import check_id

Args = ParamSpec("Args")
Result = TypeVar("Result")
Registry = TypeVar("Registry")
_MARK: Final = "__runcast_tool__"


@overload
def tool(function: Callable[Args, Result], /) -> Callable[Args, Result]: ...
@overload
def tool(
    *, name: str = "", purpose: str = "", estimate_s: float | None = None
) -> Callable[[Callable[Args, Result]], Callable[Args, Result]]: ...
def tool(function: Callable[..., Any] | None = None, /, *, name: str = "", purpose: str = "", estimate_s: float | None = None) -> Any:
    """Show the calls of a function as tool calls of the run that they are made in (`current_run`). For use as a decorator.

    Async functions wait for room in the outbox, as `Run.tool`. Sync ones can't wait in the thread of the run's event loop: there they raise
    OutboxFullError when there is no room; in any other thread they wait.

    Args:
        function: async or sync, a generator of either kind, a method, or anything that can be called.
        name: of the tool, 1 to 128 bytes; "" for the function's own.
        purpose: why it is called, for people; "" for the first line of its docstring.
        estimate_s: how long it is expected to take, seconds; None: as long as calls of that name took before.

    Returns:
        The function in its wrapping; itself if it has one already.

    Raises:
        TypeError: it can't be called.
        IdInvalidError: the name is too long.
    """
    if function is None:
        return lambda function: _wrap(function, name, purpose, estimate_s)
    return _wrap(function, name, purpose, estimate_s)


def instrument(registry: Registry) -> Registry:
    """Show the calls of all functions of a registry, each as `tool` does.

    Args:
        registry: functions by name (a dict: the names are the tools' names); a list or a tuple of functions; or an object, of which all
            public methods are wrapped, in place.

    Returns:
        A copy with the wrapped functions, of the same type and in the same order; or the same object.

    Raises:
        TypeError: it is none of these, or holds what can't be called, or takes no attributes.
        IdInvalidError: a name is too long.
    """
    result: Any = registry
    if isinstance(registry, MutableMapping):
        result = copy.copy(registry)
        result.update({name: _wrap(function, str(name), "", None) for name, function in registry.items()})
    elif isinstance(registry, list):
        result = copy.copy(registry)
        result[:] = [_wrap(function, "", "", None) for function in registry]
    elif isinstance(registry, tuple):
        make: Any = getattr(registry, "_make", type(registry))  # a named tuple is made by that
        result = make([_wrap(function, "", "", None) for function in registry])
    else:
        _wrap_methods(registry)
    return result  # type: ignore[no-any-return] # of the same type


def _wrap_methods(owner: object) -> None:
    if inspect.ismodule(owner) or inspect.isclass(owner) or callable(owner):
        raise TypeError(f"{owner!r} is no registry; give a dict, a list, or an object with methods, and use tool(…) for a single function")
    names = [name for name in dir(type(owner)) if not name.startswith("_") and _is_method(inspect.getattr_static(owner, name))]
    if not names:
        raise TypeError(f"{type(owner).__qualname__} has no public methods; give a dict, a list, or an object with methods")
    for name in names:
        method = getattr(owner, name)
        if hasattr(method, _MARK):
            continue
        try:
            setattr(owner, name, _wrap(method, name, "", None))
        except AttributeError as exc:
            raise TypeError(f"{type(owner).__qualname__} takes no attributes; give a dict of its methods") from exc


def _is_method(attribute: object) -> bool:
    return inspect.isfunction(attribute) or isinstance(attribute, staticmethod | classmethod)


def _wrap(function: Callable[..., Any], name: str, purpose: str, estimate_s: float | None) -> Callable[..., Any]:
    if not callable(function):
        raise TypeError(f"{function!r} can't be called; give functions")
    target = function.func if isinstance(function, functools.partial) else function
    if hasattr(target, _MARK):
        return function
    is_object = not inspect.isroutine(target) and not inspect.isclass(target)
    doc = inspect.getdoc(type(target) if is_object else target) or ""
    words = Words(
        function,
        _signature(function),
        check_id(name or getattr(target, "__name__", type(target).__name__), "tool name"),
        purpose or doc.strip().partition("\n")[0][: limits.PURPOSE_CHARS_MAX],
        estimate_s,
    )
    kind = type(function).__call__ if is_object and target is function else function
    if inspect.isasyncgenfunction(kind):
        wrapper: Callable[..., Any] = _async_generator(words)
    elif inspect.iscoroutinefunction(kind):
        wrapper = _coroutine(words)
    elif inspect.isgeneratorfunction(kind):
        wrapper = _generator(words)
    else:
        wrapper = _function(words)
    functools.update_wrapper(wrapper, function)
    setattr(wrapper, _MARK, words.name)
    return wrapper


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # of some functions that are written in C
        return None


# --- one wrapping per kind of function ---


def _coroutine(words: Words) -> Callable[..., Awaitable[Any]]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        async with Watch(words, args, kwargs) as watch:
            result = await words.function(*args, **kwargs)
            watch.show(result)
            return result

    return call


def _function(words: Words) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with Watch(words, args, kwargs) as watch:
            result = words.function(*args, **kwargs)
            if inspect.isawaitable(result):
                return watch.follow(result)
            watch.show(result)
            return result

    return call


def _generator(words: Words) -> Callable[..., Generator[Any, Any, Any]]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with Watch(words, args, kwargs):
            return (yield from words.function(*args, **kwargs))

    return call


def _async_generator(words: Words) -> Callable[..., AsyncIterator[Any]]:
    async def call(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async with Watch(words, args, kwargs), aclosing(words.function(*args, **kwargs)) as items:
            async for item in items:
                yield item

    return call
