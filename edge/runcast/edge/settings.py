"""What an edge is told by its environment."""

import math
import re
from typing import Annotated, Final, Literal

import msgspec

from runcast.bus.identity.authfile import AuthFile
from runcast.bus.policy.bucket import Rate
from runcast.bus.settings import ServiceSettings
from runcast.edge.addresses import Proxies
from runcast.edge.origins import is_origin
from runcast.edge.strangers import Bounds
from runcast.wire import limits, limits_floods

_COOKIE: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)


class EdgeSettings(ServiceSettings, frozen=True, kw_only=True):
    """Settings of an edge; see `ServiceSettings`.

    Attributes:
        auth: "jwt": tokens are checked against the auth file; "http": a service that it names is asked;
        auth_file: path of it, for every mode but "dev";
        cookie: name of the cookie that may carry the token; "" for none;
        origins: of the pages that may connect, comma-separated, beside the edge's own; "*" for any, as long as no cookie is used;
        trusted_proxies: networks, comma-separated, of the proxies in front, whose X-Forwarded-For says where devices connect from;
        connects_per_s: connections and requests of one address in a second, with a burst of four seconds; 0 for no bound;
        strangers_per_address: connections of one address that have not proved who they are, at once; 0 for no bound;
        strangers_max: all such connections;
        stranger_s: how long one may be such, or wait for its next request, seconds;
        memory_max_mib: no new sessions at so much resident memory; 0 for 80 % of the container's, where that has a bound;
        alert_after_s: an alert is raised when no device of a connected user acknowledges something critical for so long, seconds;
    """

    bind: str = "127.0.0.1:7480"
    auth: Literal["dev", "jwt", "http", ""] = ""  # type: ignore[assignment] # a service that knows no more than the base allows no more
    cookie: str = ""
    origins: str = ""
    trusted_proxies: str = ""
    connects_per_s: Annotated[float, msgspec.Meta(ge=0)] = limits_floods.CONNECTS_PER_S
    strangers_per_address: Annotated[int, msgspec.Meta(ge=0)] = limits_floods.STRANGERS_PER_ADDRESS_MAX
    strangers_max: Annotated[int, msgspec.Meta(ge=1)] = limits_floods.STRANGERS_MAX
    stranger_s: Annotated[float, msgspec.Meta(gt=0)] = limits_floods.STRANGER_S
    memory_max_mib: Annotated[int, msgspec.Meta(ge=0)] = 0
    alert_after_s: Annotated[float, msgspec.Meta(ge=1)] = limits.ALERT_AFTER_S

    @property
    def inbox_prefix(self) -> str:
        """See `ServiceSettings`; deploy/nats/permissions.conf."""
        return "_INBOX_EDGE"

    @property
    def origin_list(self) -> list[str]:
        """`origins`, split."""
        return [origin.strip() for origin in self.origins.split(",") if origin.strip()]

    @property
    def proxies(self) -> list[str]:
        """`trusted_proxies`, split."""
        return [network.strip() for network in self.trusted_proxies.split(",") if network.strip()]

    @property
    def stranger_bounds(self) -> Bounds:
        """Of those who have not proved yet who they are."""
        burst = self.connects_per_s * limits_floods.CONNECTS_BURST_S
        connects = Rate(self.connects_per_s, max(1.0, burst)) if self.connects_per_s else Rate(math.inf, math.inf)
        return Bounds(connects, self.strangers_per_address, self.strangers_max, self.stranger_s)

    def problems(self) -> list[str]:
        """See `ServiceSettings.problems`."""
        wrong = [origin for origin in self.origin_list if not is_origin(origin)]
        problems = [f"RUNCAST_ORIGINS: {origin!r} is no origin; expected https://HOST, https://HOST:PORT or *" for origin in wrong]
        try:
            Proxies(self.proxies)
        except ValueError as exc:
            problems.append(f"RUNCAST_TRUSTED_PROXIES: {exc}")
        if len(self.proxies) > limits_floods.PROXIES_MAX:
            problems.append(f"RUNCAST_TRUSTED_PROXIES: there are {len(self.proxies)}; name at most {limits_floods.PROXIES_MAX} networks")
        if self.cookie and not _COOKIE.fullmatch(self.cookie):
            problems.append(f"RUNCAST_COOKIE={self.cookie!r}: expected a cookie's name, such as __Host-runcast")
        if self.cookie and "*" in self.origin_list:
            problems.append("RUNCAST_ORIGINS=* and RUNCAST_COOKIE: any page could act as its visitor; list the origins")
        if self.auth == "http" and "*" in self.origin_list:
            problems.append(
                "RUNCAST_ORIGINS=* and RUNCAST_AUTH=http: what is passed on may be what browsers send for any page; list the origins"
            )
        return super().problems() + problems

    def auth_file_problems(self, file: AuthFile) -> list[str]:
        """See `ServiceSettings.auth_file_problems`."""
        if self.auth == "http" and file.hook is None:
            return [f"{self.auth_file}: RUNCAST_AUTH=http needs a section [http] with the url to ask"]
        if self.auth == "jwt" and not any(issuer.peers == "users" for issuer in file.issuers.values()):
            return [f"{self.auth_file}: RUNCAST_AUTH=jwt needs [[issuers]] whose tokens are users'; see SECURITY.md"]
        return []
