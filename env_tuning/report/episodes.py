"""Episodes as the page shows them: turn by turn, with what each verdict rests on.

Owns: sorting a trajectory's records into turns, and its row in the index. Refuses: judging, and finding what records
do not hold (states, the calls of the reference): `replay` does, where it can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from env_tuning.report.reading import Dumped
from env_tuning.report.replay import WrongTurn

COLUMNS = (
    "stage", "phase", "step", "split", "task", "uid", "member", "score", "stop", "correct", "turns", "failures",
)  # fmt: skip
"""What the index has of every episode: enough to filter, sort and group without opening it."""
NEVER_CLOSED = "never_closed"
"""Stands among `failures` for turns that have no verdict because the episode ended before."""


def index_row(episode: Dumped) -> tuple[Any, ...]:
    """The values of `COLUMNS`."""
    line, trajectory = episode.line, episode.line["trajectory"]
    verdicts = trajectory["verdicts"]
    failures = {verdict.get("failure") for verdict in verdicts if not verdict["correct"]}
    if len(verdicts) < trajectory["turns"]:
        failures.add(NEVER_CLOSED)
    return (
        episode.stage,
        episode.phase,
        episode.step,
        line.get("data_source") or trajectory["split"],
        trajectory["task_id"],
        str(line.get("uid")),
        line.get("group", 0),
        round(float(line.get("score") or 0.0), 6),
        trajectory["stop"],
        sum(bool(verdict["correct"]) for verdict in verdicts),
        trajectory["turns"],
        sorted(str(failure) for failure in failures),
    )


def detail(episode: Dumped, prompt: int, behind: Mapping[int, WrongTurn], unexplained: str = "") -> dict[str, Any]:
    """What is shown of an opened episode.

    Args:
        episode: what is recorded of it.
        prompt: number of its system prompt.
        behind: what its replay found behind wrong verdicts, by turn.
        unexplained: why there is no replay, if there is none.
    """
    line, trajectory = episode.line, episode.line["trajectory"]
    return {
        "prompt": prompt,
        "turns": turns(trajectory, behind),
        "unexplained": unexplained,
        "reward": {name: value for name, value in (line.get("reward") or {}).items() if value},
        "trained_tokens": line.get("trained_tokens"),
        "response_tokens": line.get("response_tokens"),
    }


def turns(trajectory: Mapping[str, Any], behind: Mapping[int, WrongTurn]) -> list[dict[str, Any]]:
    """Every turn of the task, also those that were never reached: request, steps, verdict, the call to look at.

    The request of a turn is the first one, or what the model read after the step that closed the turn before. The call
    to look at is the one that the replay found strange, else the first that failed.
    """
    steps = trajectory["steps"]
    verdicts = {verdict["turn"]: verdict for verdict in trajectory["verdicts"]}
    requests = {0: trajectory.get("first_request", "")}
    for step in steps:
        if step["closed_turn"] and step["observation"]:
            requests[step["turn"] + 1] = step["observation"]
    shown = []
    for turn in range(trajectory["turns"]):
        mine = [_step(step) for step in steps if step["turn"] == turn]
        verdict = verdicts.get(turn)
        wrong = verdict is not None and not verdict["correct"]
        found = behind.get(turn)
        strange = None if found is None else found.strange
        shown.append(
            {
                "request": requests.get(turn),
                "steps": mine,
                "verdict": verdict,
                "suspect": strange or (first_failed_call(mine) if wrong else None),
                "strange": strange is not None,
                "behind": None if found is None else asdict(found),
            }
        )
    return shown


def first_failed_call(steps: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    """Step and position of a turn's first call that did not succeed: where to look first, not a proof of guilt."""
    for number, step in enumerate(steps):
        for position, call in enumerate(step["calls"]):
            if call["status"] not in (None, "ok"):
                return number, position
    return None


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    """A step without what the turn says already."""
    kept = ("text", "outcome", "calls", "limits", "hint")
    observation = "" if step["closed_turn"] else step["observation"]
    return {**{name: step.get(name) for name in kept}, "observation": observation}
