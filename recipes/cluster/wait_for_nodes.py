"""``python recipes/cluster/wait_for_nodes.py http://HEAD:8265 2``: wait until a Ray cluster has so many nodes.

Owns: asking the cluster's dashboard for its nodes. Refuses: starting any.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request

SECONDS = 300.0


def alive(dashboard: str) -> int:
    """How many nodes the cluster counts now; 0 while nobody answers."""
    request = urllib.request.Request(f"{dashboard}/api/v0/nodes")
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            listed = json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise SystemExit("the cluster does not take this token (RAY_AUTH_TOKEN)") from None
        return 0
    except (OSError, ValueError):
        return 0
    nodes = listed["data"]["result"]["result"]
    return sum(node["state"] == "ALIVE" for node in nodes)


def wait(dashboard: str, nodes: int, seconds: float = SECONDS) -> None:
    """Return when they are there.

    Raises:
        SystemExit: they were not there in time.
    """
    deadline = time.monotonic() + seconds
    while (there := alive(dashboard)) < nodes:
        if time.monotonic() > deadline:
            raise SystemExit(f"{there} of {nodes} Ray nodes have come up in {seconds:.0f} seconds")
        time.sleep(1.0)


if __name__ == "__main__":
    if len(sys.argv) != 3 or not sys.argv[2].isdigit():
        raise SystemExit("usage: wait_for_nodes.py http://HEAD:8265 NODES")
    wait(sys.argv[1], int(sys.argv[2]))
