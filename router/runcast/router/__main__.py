"""`python -m runcast.router`: one router process."""

from runcast.bus.process import main
from runcast.router.app import run_router
from runcast.router.settings import RouterSettings

main("router", RouterSettings, run_router)
