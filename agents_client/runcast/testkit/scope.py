"""What one test opens, and its end: an agent's client and devices, of a tenant that no other test has.

Rules: all of it lives in the test's own task, on the test's own loop, whichever plugin made that loop: the plugin wraps the test in
`async with scope`. So there is nothing to clean up elsewhere, and no fixture's scope to agree with. A tenant is fresh, so nothing in
storage has to be removed.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from runcast.client import Runcast
from runcast.testkit.cluster import Cluster
from runcast.testkit.recording import Recording
from runcast.testkit.user_device import UserDevice


class WrongLoopError(Exception):
    """A device or client was used where it can't live; the message says what to do."""


class Scope:
    """One test's devices and agent.

    Args:
        get_cluster: the shared cluster, started if it is not yet.
        tenant: the test's.

    Attributes:
        devices: opened in this test.
        agent: the test's client; None unless it was asked for.
    """

    def __init__(self, get_cluster: Callable[[], Cluster], tenant: str) -> None:
        self._get_cluster = get_cluster
        self._waiting: list[UserDevice] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.tenant = tenant
        self.devices: list[UserDevice] = []
        self.agent: Runcast | None = None

    def plan_agent(self, **options: Any) -> Runcast:
        """A client that is opened when the test begins."""
        self.agent = self._get_cluster().connect(**{"tenant": self.tenant, **options})
        return self.agent

    def plan_device(self, user: str) -> UserDevice:
        """A device that is connected when the test begins."""
        device = self._make(user)
        self._waiting.append(device)
        return device

    async def open_device(self, user: str = "alice", *, tenant: str = "", cluster: Cluster | None = None, **options: Any) -> UserDevice:
        """A further device, connected.

        Args:
            user: whose.
            tenant: the user's; "" for the test's own.
            cluster: to which; None for the shared one.
            **options: as for `UserDevice`.

        Raises:
            WrongLoopError: this is not the test's event loop.
        """
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise WrongLoopError("this test's devices live on another event loop; open a UserDevice of your own with `async with`")
        self._loop = loop
        device = self._make(user, tenant=tenant, cluster=cluster, **options)
        await device.connect()
        return device

    def _make(self, user: str, *, tenant: str = "", cluster: Cluster | None = None, **options: Any) -> UserDevice:
        options.setdefault("device", f"d{len(self.devices) + 1}")
        device = UserDevice(
            cluster or self._get_cluster(),
            user,
            tenant=tenant or self.tenant,
            open_another=self.open_device,
            others=lambda: self._others(device),
            **options,
        )
        self.devices.append(device)
        return device

    def _others(self, but: UserDevice) -> list[Recording]:
        return [device.recording() for device in self.devices if device is not but]

    async def __aenter__(self) -> Self:
        """Connect what was planned."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError as exc:
            raise WrongLoopError("Runcast needs asyncio: have anyio_backend return 'asyncio' for this test") from exc
        if self._loop not in (None, loop):
            raise WrongLoopError(
                "a device was opened in a fixture that runs on another event loop than the test; give both the same loop scope"
            )
        self._loop = loop
        try:
            if self.agent is not None:
                await self.agent.__aenter__()
                await self.agent.ready()
            async with asyncio.TaskGroup() as group:
                for device in self._waiting:
                    group.create_task(device.connect())
        except BaseException as exc:
            await self.__aexit__(type(exc), exc, exc.__traceback__)
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        """Close everything; then a broken chain is raised, unless the test failed anyway."""
        try:
            for device in self.devices:
                await device.close()
        finally:
            if self.agent is not None:
                await self.agent.__aexit__(kind, exc, trace)
        if exc is None:
            for device in self.devices:
                device.check_chain()
