"""TLS to the routers, as an agent asks for it: which files.

Rule: files are read when a connection is opened, so they may change while the agent runs.

Never imports grpc.
"""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Tls:
    """TLS to the routers.

    Attributes:
        ca: file of the authorities to believe, PEM; None for those that gRPC brings along (GRPC_DEFAULT_SSL_ROOTS_FILE_PATH).
        cert: file of our own certificate, where routers want one.
        key: file of its private key.
        name: the name that routers' certificates hold, where it is not the one in their address.
    """

    ca: "str | os.PathLike[str] | None" = None
    cert: "str | os.PathLike[str] | None" = None
    key: "str | os.PathLike[str] | None" = None
    name: str = ""

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError("Tls needs `cert` and `key` together, or none of them")

    def read(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """What is in the files `ca`, `cert` and `key` now.

        Raises:
            OSError: one can't be read.
        """
        ca, cert, key = (None if path is None else Path(path).read_bytes() for path in (self.ca, self.cert, self.key))
        return ca, cert, key
