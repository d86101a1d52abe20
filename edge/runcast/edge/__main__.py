"""`python -m runcast.edge`: one edge process, configured by the environment (`app.EdgeSettings`)."""

from runcast.bus.process import main
from runcast.edge.app import EdgeSettings, serve

main("edge", EdgeSettings, serve)
