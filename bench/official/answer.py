"""The official package's half of `bench/environments.py`: commands in, seconds out, one JSON line each.

Run by it in an interpreter that sees the official package and nothing of this project. Argument: a file with one task
a line, {"id", "initial_config" (JSON text), "classes", "ground_truth", "turns"}. A command is {"measure", "tasks"
(ids), ...}; the measures are the functions in `MEASURES`.
"""

import itertools
import json
import sys
import time
from collections import deque

from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_utils
from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker import multi_turn_checker
from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils import execute_multi_turn_func_call

clock = time.process_time_ns
fresh = itertools.count()


class Rollout:
    """One model's run of one task. The package keeps the state in its globals, under a name that must be new."""

    def __init__(self, task):
        self.task, self.name = task, f"bench{next(fresh)}"

    def execute(self, calls):
        """Results and instances."""
        task = self.task
        return execute_multi_turn_func_call(
            calls, task["config"], task["classes"], self.name, task["id"], "long_context" in task["id"], True
        )

    def check(self):
        """Run the calls and the reference from the start, and compare."""
        task = self.task
        found = multi_turn_checker(task["turns"], task["ground_truth"], task["entry"], task["category"], self.name)
        assert found["valid"], (task["id"], found)


def forget_instances():
    """What a careful trainer would do now and then; nothing in the package does it."""
    for name in [name for name in vars(multi_turn_utils) if name.endswith("_instance")]:
        del vars(multi_turn_utils)[name]


def timed(work, tasks):
    start = clock()
    for task in tasks:
        work(task)
    seconds = (clock() - start) / 1e9
    forget_instances()
    return seconds


def reset(task):
    Rollout(task).execute([])


def replay_calls(task):
    rollout = Rollout(task)
    for turn in task["ground_truth"]:
        for call in turn:
            rollout.execute([call])


def replay_turns(task):
    rollout = Rollout(task)
    for turn in task["ground_truth"]:
        rollout.execute(turn)


def judge(task):
    Rollout(task).check()


def end_to_end(task):
    # The checker runs all calls once more, whatever ran before: it finds no instances of its names. That is the
    # package's own way; its decoding of the model's text is left out, in its favour.
    replay_turns(task)
    judge(task)


def live(tasks, alive, calls):
    """Nanoseconds of single calls, while so many episodes are open, which take turns."""

    def opened():
        for task in itertools.cycle(tasks):
            rollout = Rollout(task)
            rollout.execute([])
            yield rollout, iter([call for turn in task["ground_truth"] for call in turn])

    source, found = opened(), []
    queue = deque(itertools.islice(source, alive))
    while len(found) < calls:
        rollout, pending = queue.popleft()
        call = next(pending, None)
        if call is None:
            queue.append(next(source))
            continue
        start = clock()
        rollout.execute([call])
        found.append(clock() - start)
        queue.append((rollout, pending))
    forget_instances()
    return found


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def growth(tasks, episodes):
    """Bytes of resident memory before and after so many episodes."""
    source = itertools.cycle(tasks)
    for task in itertools.islice(source, 200):
        end_to_end(task)
    before = resident()
    for task in itertools.islice(source, episodes):
        end_to_end(task)
    after = resident()
    forget_instances()
    return [before, after]


MEASURES = {function.__name__: function for function in (reset, replay_calls, replay_turns, judge, end_to_end)}


def load(line):
    task = json.loads(line)
    task["config"] = json.loads(task["initial_config"])
    task["category"] = task["id"].rsplit("_", 1)[0]
    task["entry"] = {"id": task["id"], "initial_config": task["config"], "involved_classes": task["classes"]}
    return task


def main():
    with open(sys.argv[1], encoding="utf-8") as lines:
        tasks = {task["id"]: task for task in map(load, lines)}
    for line in sys.stdin:
        command = json.loads(line)
        chosen = [tasks[id] for id in command["tasks"]]
        if command["measure"] == "live":
            answer = live(chosen, command["alive"], command["calls"])
        elif command["measure"] == "growth":
            answer = growth(chosen, command["episodes"])
        else:
            answer = timed(MEASURES[command["measure"]], chosen)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
