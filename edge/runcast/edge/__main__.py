"""`python -m runcast.edge`: one edge process, configured by the environment (`settings.EdgeSettings`)."""

from runcast.bus.process import main
from runcast.edge.app import serve
from runcast.edge.settings import EdgeSettings

main("edge", EdgeSettings, serve)
