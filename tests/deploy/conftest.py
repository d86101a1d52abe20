"""The settings that a service really has, as the environment names them."""

from collections.abc import Callable

import msgspec
import pytest

from runcast.admin.settings import AdminSettings
from runcast.bus.settings import PREFIX, ServiceSettings
from runcast.edge.settings import EdgeSettings
from runcast.router.settings import RouterSettings

SETTINGS: dict[str, type[ServiceSettings]] = {"router": RouterSettings, "edge": EdgeSettings, "admin": AdminSettings}


@pytest.fixture
def default_port() -> Callable[[str], int]:
    """The port that a role listens on unless told otherwise."""
    return lambda role: SETTINGS[role]().port


@pytest.fixture
def check_environ() -> Callable[[str, dict[str, str]], ServiceSettings]:
    """Reads an environment as the service would, except that who may listen where is not judged; fails on a name that is no setting."""

    def check(role: str, environ: dict[str, str]) -> ServiceSettings:
        kind = SETTINGS[role]
        fields = {PREFIX + field.name.upper(): field.name for field in msgspec.structs.fields(kind)}
        assert environ.keys() <= fields.keys(), f"not settings of the {role}: {sorted(environ.keys() - fields.keys())}"
        return msgspec.convert({fields[name]: value for name, value in environ.items()}, kind, strict=False)

    return check
