"""Answers requests with the official package: JSON lines in, one JSON line per request out.

A script to replay:
    {"id", "initial_config" (JSON text), "classes", "long_context", "turns": [[call, ...], ...]}
    -> {"id", "turns": [{"results": [text, ...], "states": {class: canonical state}}, ...]}
An episode to judge:
    {"id", "task_id", "initial_config" (JSON text), "classes", "ground_truth": [[call, ...], ...],
     "turns": [[[call, ...], ...], ...]}
    -> {"id", "valid", "error_type", "turn"} or, where the checker itself fails, {"id", "raised"}
A request that takes more than `CPU_SECONDS`:
    -> {"id", "failure": text}

Run by `official.py` in an interpreter of its own, with the package's folder on PYTHONPATH. Every request runs in a
forked child: the package's modules keep objects that episodes change, and parity is with a fresh process.
"""

import gc
import importlib
import json
import os
import re
import signal
import sys

from bfcl_eval.constants.executable_backend_config import CLASS_FILE_PATH_MAPPING
from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker import multi_turn_checker
from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils import execute_multi_turn_func_call
from canonical import canonical_state

# The package has no limits of its own: a power of a few digits, or a directory copied often enough, runs for hours.
CPU_SECONDS = 20


def replay(script):
    turns, initial_config = [], json.loads(script["initial_config"])
    for calls in script["turns"]:
        results, instances = execute_multi_turn_func_call(
            calls, initial_config, script["classes"], "parity", script["id"], script["long_context"], True
        )
        states = {name: canonical_state(vars(instance)) for name, instance in instances.items()}
        turns.append({"results": results, "states": states})
    return {"id": script["id"], "turns": turns}


def judge(episode):
    entry = {
        "id": episode["task_id"],
        "initial_config": json.loads(episode["initial_config"]),
        "involved_classes": episode["classes"],
    }
    category = episode["task_id"].rsplit("_", 1)[0]
    try:
        # A name of its own for every check: the package finds instances by it and never resets them.
        found = multi_turn_checker(episode["turns"], episode["ground_truth"], entry, category, episode["id"])
    except RecursionError as error:
        return {"id": episode["id"], "raised": type(error).__name__}
    turn = re.search(r"for turn (\d+)", found.get("error_message", ""))
    # A wrong state is reported without its turn, but with what was executed up to it.
    turn = int(turn[1]) if turn else len(found["execution_result"]) - 1 if "execution_result" in found else None
    return {"id": episode["id"], "valid": found["valid"], "error_type": found.get("error_type"), "turn": turn}


def main():
    # A child that collects garbage writes to, and so copies, every page of its parent.
    gc.disable()
    for line in sys.stdin:
        request = json.loads(line)
        # Loading a module costs more than most episodes; a child that finds it loaded still has it to itself.
        for name in request["classes"]:
            importlib.import_module(CLASS_FILE_PATH_MAPPING[name])
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            text = json.dumps(judge(request) if "ground_truth" in request else replay(request))
            signal.setitimer(signal.ITIMER_PROF, 0)
            print(text, flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF:
            print(json.dumps({"id": request["id"], "failure": f"more than {CPU_SECONDS} s"}), flush=True)
        elif status:
            sys.exit(f"the official package failed on {line[:60]} (status {status})")


if __name__ == "__main__":
    main()
