"""`python -m runcast.router`: one router process."""

from runcast.bus.process import main
from runcast.router.app import RouterSettings, run_router

main("router", RouterSettings, run_router)
