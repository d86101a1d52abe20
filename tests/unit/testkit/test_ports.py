import random
import socket

import pytest

from runcast.testkit.ports import HOST, HeldPort, PortTakenError, is_free, pick_port


def test_a_held_port_can_be_listened_on_by_reusing_it_only() -> None:
    held = HeldPort()
    try:
        with socket.socket() as plain, pytest.raises(OSError, match="in use"):
            plain.bind((HOST, held.port))
        with socket.socket() as sharing:
            sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sharing.bind((HOST, held.port))
            sharing.listen(1)
            assert not is_free(held.port)
            with pytest.raises(PortTakenError, match=str(held.port)):
                HeldPort(held.port)
    finally:
        held.close()
    assert is_free(held.port)


def test_picked_ports_are_free_and_below_the_ephemeral_range() -> None:
    port = pick_port(random.Random(1))  # a port, not a secret
    assert is_free(port)
    assert port < 32_768
