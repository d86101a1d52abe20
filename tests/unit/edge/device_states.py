"""Sessions in each of their states, for tests."""

from runcast.edge.effects import Data
from runcast.edge.life import State
from runcast.wire.frames import CODECS, JSON_SUBPROTOCOL, Batch, Codec
from runcast.wire.position import Position
from tests.unit.edge.device_model import EPOCH, MANY, DeviceModel


def pos(seq: int, epoch: str = EPOCH) -> str:
    return str(Position(epoch, seq))


def live(published: int = 3, codec: Codec = CODECS[JSON_SUBPROTOCOL]) -> DeviceModel:
    device = DeviceModel(codec)
    for _ in range(published):
        device.publish()
    device.hello()
    device.open()
    device.settle()
    assert device.session.state is State.LIVE
    device.controls.clear()
    device.effects.clear()
    return device


def behind() -> DeviceModel:
    device = live(0)
    while device.session.state is State.LIVE:
        device.publish(MANY)
        device.flush()
    return device


def device_in(state: State) -> DeviceModel:
    device = DeviceModel()
    if state is State.RESUMING:
        device.publish()
        device.hello()
        device.open()
    elif state is State.LIVE:
        device = live()
    elif state is State.BEHIND:
        device = behind()
    elif state is State.DRAINING:
        device = live()
        device.session.drain(reconnect_in_s=0.1, grace_s=1, now=0)
        device.carry()
    elif state is State.CLOSED:
        device.session.close("internal", "the end")
        device.carry()
    assert device.session.state is state
    return device


def frames_of(device: DeviceModel) -> list[Batch]:
    frames = [device.codec.decode_server(effect.payload) for effect in device.session.take_effects() if isinstance(effect, Data)]
    return [frame for frame in frames if isinstance(frame, Batch)]
