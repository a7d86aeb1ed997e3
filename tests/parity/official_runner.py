"""Replays call strings in the official package: JSON lines in, one JSON line per task out.

In:  {"id", "initial_config", "classes", "long_context", "turns": [[call, ...], ...]}
Out: {"id", "turns": [{"results": [text, ...], "states": {class: canonical state}}, ...]}

Run by `test_parity.py` in an interpreter of its own, with the package's folder on PYTHONPATH. Every task runs in a
forked child: the package's modules keep objects that episodes change, and parity is with a fresh process.
"""

import json
import os
import sys

from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils import execute_multi_turn_func_call
from canonical import canonical_state


def replay(task):
    turns = []
    for calls in task["turns"]:
        results, instances = execute_multi_turn_func_call(
            calls, task["initial_config"], task["classes"], "parity", task["id"], task["long_context"], True
        )
        states = {name: canonical_state(vars(instance)) for name, instance in instances.items()}
        turns.append({"results": results, "states": states})
    return {"id": task["id"], "turns": turns}


def main():
    for line in sys.stdin:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            print(json.dumps(replay(json.loads(line))), flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(f"the official package failed on {line[:60]} (status {status})")


if __name__ == "__main__":
    main()
