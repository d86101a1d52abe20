"""What instrumenting makes of functions and registries; what their calls show is in `tests/delivery/test_client_instrument.py`."""

import asyncio
import functools
import inspect
import math
from collections import OrderedDict, UserDict, namedtuple
from collections.abc import AsyncIterator, Callable, Iterator
from types import MappingProxyType
from typing import Any

import pytest

from runcast.client import IdInvalidError, instrument, tool


def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    More of it.
    """
    return a + b


async def fetch(url: str) -> str:
    return url.upper()


def count(to: int) -> Iterator[int]:
    got = yield from range(to)
    return got


async def stream(to: int) -> AsyncIterator[int]:
    for index in range(to):
        yield index


class Adder:
    """Adds."""

    def __call__(self, a: int) -> int:
        return a + 1


class AsyncAdder:
    async def __call__(self, a: int) -> int:
        return a + 1


class Registry:
    """Some tools."""

    attribute = add

    def __init__(self) -> None:
        self.total = 0

    @property
    def broken(self) -> object:
        raise AssertionError("properties are not looked at")

    class Inner:
        pass

    def add(self, a: int) -> int:
        self.total += a
        return self.total

    async def fetch(self, url: str) -> str:
        return url + str(self.total)

    @staticmethod
    def double(a: int) -> int:
        return 2 * a

    @classmethod
    def named(cls) -> str:
        return cls.__name__

    @tool
    def marked(self) -> int:
        return self.total

    def _private(self) -> None:
        pass


async def collect(items: AsyncIterator[int]) -> list[int]:
    return [item async for item in items]


async def test_outside_of_a_run_calls_are_plain_calls() -> None:
    assert tool(add)(1, b=2) == 3
    assert await tool(fetch)("x") == "X"
    assert list(tool(count)(3)) == [0, 1, 2]
    assert await collect(tool(stream)(3)) == [0, 1, 2]
    assert tool(Adder())(1) == 2
    assert await tool(AsyncAdder())(1) == 2
    assert tool(functools.partial(add, 5))(b=5) == 10
    assert await tool(functools.partial(fetch, "x"))() == "X"
    assert tool(math.sqrt)(4) == 2.0
    assert tool(dict)(a=1) == {"a": 1}
    assert await tool(lambda: fetch("x"))() == "X"
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    assert tool(lambda: future)() is future
    with pytest.raises(TypeError, match="missing"):
        tool(add)()


def test_a_wrapped_function_looks_like_itself() -> None:
    wrapped = tool(add)
    assert (wrapped.__name__, wrapped.__doc__, inspect.signature(wrapped)) == ("add", add.__doc__, inspect.signature(add))
    assert inspect.iscoroutinefunction(tool(fetch))
    assert inspect.iscoroutinefunction(tool(AsyncAdder()))
    assert inspect.isgeneratorfunction(tool(count))
    assert inspect.isasyncgenfunction(tool(stream))


@pytest.mark.parametrize("function", [add, fetch, count, stream, Adder(), math.sqrt, dict])
def test_twice_wraps_once(function: Callable[..., Any]) -> None:
    wrapped = tool(function)
    assert wrapped is not function
    assert tool(wrapped) is wrapped
    assert tool(name="other")(wrapped) is wrapped
    again = functools.partial(wrapped)
    assert tool(again) is again


def test_what_can_not_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="can't be called"):
        tool(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="give functions"):
        instrument({"search": {"function": add}})
    with pytest.raises(IdInvalidError):
        tool(name="x" * 200)(add)


Pair = namedtuple("Pair", "one other")


@pytest.mark.parametrize(
    "registry",
    [{"a": add, "b": fetch}, OrderedDict(b=fetch, a=add), UserDict(a=add), [add, fetch], (add, fetch), Pair(add, fetch), [], {}],
    ids=lambda registry: type(registry).__name__,
)
def test_a_registry_keeps_its_shape(registry: Any) -> None:
    wrapped = instrument(registry)
    assert type(wrapped) is type(registry)
    functions = list(registry.values() if hasattr(registry, "values") else registry)
    others = list(wrapped.values() if hasattr(wrapped, "values") else wrapped)
    assert [other.__wrapped__ for other in others] == functions
    assert all(not hasattr(function, "__wrapped__") for function in functions), "the original is as it was"
    if hasattr(registry, "keys"):
        assert list(wrapped) == list(registry)
    again = instrument(wrapped)
    assert list(again.values() if hasattr(again, "values") else again) == others


async def test_an_object_has_its_public_methods_wrapped_in_place() -> None:
    registry = Registry()
    assert instrument(registry) is registry
    assert sorted(vars(registry)) == ["add", "attribute", "double", "fetch", "named", "total"]
    assert registry.add(2) == 2
    assert await registry.fetch("x") == "x2"
    assert registry.double(2) == 4
    assert registry.named() == "Registry"
    before = dict(vars(registry))
    instrument(registry)
    assert vars(registry) == before
    assert "add" not in vars(Registry())


class Slotted:
    __slots__ = ()

    def add(self) -> None:
        pass


@pytest.mark.parametrize(
    ("registry", "says"),
    [
        (Slotted(), "dict of its methods"),
        (object(), "no public methods"),
        ({add}, "no public methods"),
        (MappingProxyType({"a": add}), "no public methods"),
        (math, "is no registry"),
        (Registry, "is no registry"),
        (add, "use tool"),
        (None, "no public methods"),
    ],
)
def test_what_is_no_registry_is_refused(registry: object, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        instrument(registry)
