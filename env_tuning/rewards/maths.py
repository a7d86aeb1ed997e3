"""What a solved problem is worth where programs may be run on the way.

Owns: `maths`, the default, and `maths_original`, the numbers of the document's system.
"""

from __future__ import annotations

import re

from env_tuning.rewards.dialogues import DialogueTurn, dialogue_turns, succeeded, used_share
from env_tuning.rewards.score import Score
from env_tuning.trajectory import Trajectory

USE_BONUS = 0.2
PYTHON = "python"

_BOX = re.compile(r"\\boxed\{([^{}]*)\}")
_STRUCTURE = "Let's solve this step by step:"
_BLOCK = "```python"


def maths(trajectory: Trajectory) -> Score:
    """1 for a right answer, and `USE_BONUS` for programs that ran and whose results are used, from 0 to 1.2.

    The bonus is the share of all calls that succeeded times the share of their results that the answer or a later call
    uses. Over several turns: the mean. A wrong answer earns 0.2 at most, a program whose output nobody reads nothing.
    """
    turns = dialogue_turns(trajectory)
    parts = [_parts(turn) for turn in turns]
    earned = [(part["correct"] + USE_BONUS * part["executed"] * part["used"]) / trajectory.turns for part in parts]
    closed = {verdict.turn for verdict in trajectory.verdicts}
    return Score(
        score=sum(earned),
        turns=tuple(amount if number in closed else 0.0 for number, amount in enumerate(earned)),
        parts={
            name: sum(part[name] for part in parts) / trajectory.turns
            for name in ("correct", "executed", "used", "called")
        },
    )


def maths_original(trajectory: Trajectory) -> Score:
    r"""The document's four rewards, added: for comparison, not for training.

    3 if the first ``\boxed{}`` is the answer letter by letter; 0.5 if it is a whole number; 0.125 each for the sentence
    "Let's solve this step by step:", exactly one box and a Python block; 0.1 for a Python block, 0.5 for an output and
    0.5 for an output that is not empty, errors and time-outs included. A wrong answer with `print(1)` earns 1.975 of
    4.975, which a model learns long before it solves a problem.
    """
    turns = [_original(turn) for turn in dialogue_turns(trajectory)]
    names = ("correctness", "whole_number", "structure", "program")
    totals = {name: sum(turn[name] for turn in turns) / trajectory.turns for name in names}
    return Score(score=sum(totals.values()), parts=totals)


def _parts(turn: DialogueTurn) -> dict[str, float]:
    calls = turn.calls
    return {
        "correct": float(turn.right and turn.expected.answer is not None),
        "executed": sum(map(succeeded, calls)) / len(calls) if calls else 0.0,
        "used": used_share(turn) or 0.0,
        "called": float(bool(calls)),
    }


def _original(turn: DialogueTurn) -> dict[str, float]:
    text = "\n".join(step.text for step in turn.steps)
    outputs = [call.result for call in turn.calls if call.name == PYTHON and call.result is not None]
    box = _BOX.search(text)
    inside = box[1] if box else ""
    return {
        "correctness": 3.0 * (box is not None and inside == turn.expected.answer),
        "whole_number": 0.5 * inside.isdigit(),
        "structure": 0.125 * (_STRUCTURE in text) + 0.125 * (text.count("\\boxed{") == 1) + 0.125 * (_BLOCK in text),
        "program": 0.1 * (_BLOCK in text) + 0.5 * bool(outputs) + 0.5 * any(output.strip() for output in outputs),
    }
