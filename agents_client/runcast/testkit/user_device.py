"""A device of a user of a cluster: it records what it gets, and judges it.

Rules: it comes back by itself, to any edge, as a browser does, unless told otherwise. What it recorded begins anew when an edge could not
continue (`reset`) or gave a snapshot, as what a page shows does.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from runcast.testkit.cluster import Cluster
from runcast.testkit.device import Device
from runcast.testkit.device_link import DeviceClosedError
from runcast.testkit.device_session import ChainBrokenError
from runcast.testkit.history import AnyRecord
from runcast.testkit.quality import Quality, judge
from runcast.testkit.recording import Recording
from runcast.testkit.sightings import Sighting, framed, opened, to_history
from runcast.testkit.timeline import draw
from runcast.testkit.verdict import Verdict
from runcast.testkit.verification import VerificationError, check_history, inspect, raise_violations
from runcast.testkit.waits import Timing, measure
from runcast.v1.event_pb2 import Event
from runcast.wire.frames import Batch, ServerFrame, Welcome
from runcast.wire.lifecycle import ends_run
from runcast.wire.position import EARLIEST, parse_position

Opener = Callable[..., Awaitable["UserDevice"]]
VERIFY_S: Final = 5.0
"""How long `verify` waits for the end of what is still under way."""


class UserDevice(Device):
    """A device of a user.

    Args:
        cluster: to whose edges it connects.
        user: whose it is.
        tenant: the user's.
        device: its id.
        edge: the number of the edge to connect to; None for all of them, in turn.
        reconnect: come back by itself.
        open_another: opens a further device, for `second`.
        others: tells what other devices recorded, so that nothing of it may be found here, if it is somebody else's.
        **options: as for `Device`, such as ack=False or position="latest".

    Attributes:
        user: whose it is.
        tenant: the user's.
    """

    def __init__(
        self,
        cluster: Cluster,
        user: str,
        *,
        tenant: str = "default",
        device: str = "d1",
        edge: int | None = None,
        reconnect: bool = True,
        open_another: Opener | None = None,
        others: Callable[[], Sequence[Recording]] = tuple,
        **options: Any,
    ) -> None:
        urls = options.pop("urls", None) or (cluster.ws_urls() if edge is None else cluster.ws_url(edge))
        if cluster.tls is not None:
            options.setdefault("tls", cluster.tls.context())
        super().__init__(urls, cluster.token(user, tenant), device=device, reconnect=reconnect, **options)
        self.user = user
        self.tenant = tenant
        self._open_another = open_another
        self._others = others
        self._began_s = 0.0
        self._view_from = 0
        self._whole = True
        self._seen: list[AnyRecord] = []

    def __repr__(self) -> str:
        return f"<{self.user}/{self.device}: {'connected' if self.connected else 'not connected'}, {len(self.received)} events>"

    # --- what it has ---

    def recording(self) -> Recording:
        """What was received until now."""
        return Recording(
            user=self.user,
            device=self.device,
            received=self.received[self._view_from :],
            tenant=self.tenant,
            whole=self._whole,
            began_s=self._began_s,
            ended_s=time.time(),
            chain_breaks=tuple(self.chain_breaks),
        )

    def sighting(self) -> Sighting:
        """The same for the checker, with all that the device had to drop."""
        return Sighting(f"{self.tenant}/{self.user}", self.device, tuple(self._seen))

    def text(self, run_id: str = "") -> str:
        """What the agent said, put together; of one run, or of all."""
        return self.recording().text(run_id)

    def timing(self) -> Timing:
        """How long the person had to wait."""
        return measure(self.recording())

    def quality(self) -> Quality:
        """Whether what was shown is of use to a person: a score, and the reasons."""
        return judge(self.recording())

    def timeline(self) -> str:
        """What was received, an event a line."""
        return "\n".join(draw(self.recording()))

    # --- what it does ---

    async def second(self, device: str = "d2", **options: Any) -> "UserDevice":
        """Open another device of the same user; it is closed with this one's test.

        Raises:
            RuntimeError: this device was not opened by a fixture; make another `UserDevice`.
        """
        if self._open_another is None:
            raise RuntimeError("this device was made by hand: make another UserDevice of the same user")
        return await self._open_another(self.user, tenant=self.tenant, device=device, **options)

    async def wait_end(self, run_id: str = "", timeout: float = 10.0) -> Event:
        """The event that ends a run, of `run_id` or the first one that ends; see `wait_for`."""
        return await self.wait_for(lambda event: ends_run(event) and run_id in ("", event.run_id), timeout)

    async def verify(self, run_id: str = "", *, within_s: float = VERIFY_S, ended: bool = True, **asked: Any) -> None:
        """Wait until what is under way has ended, and judge what was received.

        Args:
            run_id: of this run only; "" for all.
            within_s: how long to wait for the end, seconds.
            ended: every run must have an end; if not, it is judged at once.
            **asked: as for `runcast.testkit.inspect`: required=, order=, exactly=, runs=, silence_s=, first_s=, quality=.

        Raises:
            VerificationError: something is wrong; the message shows a timeline.
            ValueError: a kind or field that there is not.
        """
        __tracebackhide__ = True
        if ended:
            await self._wait_quiet(run_id, within_s)
        asked.setdefault("others", self._others())
        recording = self.recording()
        raise_violations(recording.of_run(run_id) if run_id else recording, inspect(recording, run_id=run_id, ended=ended, **asked))

    async def _wait_quiet(self, run_id: str, within_s: float) -> None:
        """Wait until there was a run (this one), and none is under way."""

        def quiet() -> bool:
            newest: dict[str, tuple[int, bool]] = {}
            for event in self.recording().events:
                if event.run_id and run_id in ("", event.run_id):
                    attempt, over = newest.get(event.run_id, (0, False))
                    newest[event.run_id] = max((attempt, over), (event.attempt, ends_run(event)))
            return bool(newest) and all(over for _, over in newest.values())

        if quiet():
            return
        try:
            await self.wait_for(lambda _: quiet(), within_s, start=len(self.received))
        except (TimeoutError, DeviceClosedError, ChainBrokenError):
            return  # the verdict says what is missing

    # --- what the line tells ---

    def take_frame(self, frame: ServerFrame) -> None:
        """See `Device.take_frame`."""
        now = time.monotonic()
        owner = f"{self.tenant}/{self.user}"
        if isinstance(frame, Batch):
            self._seen.append(framed(frame, owner, self.device, now, time.time_ns() // 1_000_000))
        elif isinstance(frame, Welcome):
            asked = self.session.position
            self._seen.append(opened(frame, owner, self.device, now, "" if asked == EARLIEST else asked))
            if frame.outcome != "resumed" or not self._began_s:
                self._began_s = self._began_s or time.time()
                self._view_from = len(self.received)
                self._whole = frame.outcome != "resumed" or parse_position(frame.position).seq == 0
        super().take_frame(frame)


async def caught_up(devices: Sequence[UserDevice], within_s: float = VERIFY_S) -> None:
    """Wait until all devices of a user are at the same place of the stream, and no longer than this, seconds."""

    def behind() -> list[UserDevice]:
        tips: dict[tuple[str, str], str] = {}
        for device in devices:
            key = (device.tenant, device.user)
            tips[key] = max(tips.get(key, ""), device.position)
        return [device for device in devices if device.position != tips[device.tenant, device.user]]

    until = time.monotonic() + within_s
    while late := behind():
        left = until - time.monotonic()
        if left <= 0:
            return
        try:
            await late[0].wait_for(lambda _: True, min(left, 0.2), start=len(late[0].received))
        except TimeoutError:
            await asyncio.sleep(0)  # a frame without events moves a device, too


async def verify_together(*devices: UserDevice, **asked: Any) -> Verdict:
    """Judge each device, and then all of them together, by the checker of `runcast verify`.

    Together they show what no device can tell alone: an order that differs, an event that one was shown and another not.

    Args:
        *devices: of one user or several; all must be connected, for they are owed everything.
        **asked: as for `UserDevice.verify`.

    Raises:
        VerificationError: something is wrong.
    """
    __tracebackhide__ = True
    for device in devices:
        await device.verify(**asked)
    await caught_up(devices)
    try:
        return check_history(to_history([device.sighting() for device in devices], time.monotonic()))
    except VerificationError as failure:
        shown = [f"what {device.user}/{device.device} received\n\n{device.timeline()}" for device in devices]
        raise VerificationError("\n\n".join([str(failure), *shown]), failure.violations) from None
