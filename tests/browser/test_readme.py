"""The examples in the browser client's own README run."""

import re

import pytest
from pages import OpenPage, answering
from test_node import CLIENT

from runcast.testkit import Cluster

pytestmark = pytest.mark.xdist_group("browser")

RUN = """async (user) => {
  const { connect, devToken } = await import("/client/runcast.js");
  const draw = (entry) => window.drawn.push(entry.text ?? entry.status);
  const banner = document.createElement("p");
  window.drawn = [];
  %s
}"""


async def test_the_first_example_runs_and_the_others_are_sound(runcast_cluster: Cluster, user: str, open_page: OpenPage) -> None:
    first, *others = re.findall(r"```js\n(.*?)```", (CLIENT / "README.md").read_text(), re.DOTALL)
    head, _, source = first.partition("\n\n")
    assert head == 'import { connect } from "@runcast/client";'
    source = source.replace('"https://edge.example.com/v1/ws"', '"/v1/ws"').replace('"demo"', "user")
    source = re.sub(r"token: \(\) => .*?, from:", "token: async () => devToken(user), from:", source)
    page = await open_page(runcast_cluster.edges[0].http_url)
    async with answering(",".join(runcast_cluster.router_addresses()), user) as agent:
        await page.evaluate(RUN % source, user)
        message, _ = await agent.next_run()
        assert message.text == "How do I read a CSV file?"
        await page.wait_for_function("() => window.drawn.includes('How do I read a CSV file?') && window.drawn.includes('running')")
    for other in others:
        await page.evaluate(f"void (async (rc, run, openRequests) => {{ {other} }})")  # it is read, and has nothing to run on
