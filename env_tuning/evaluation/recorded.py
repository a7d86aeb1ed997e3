"""Recorded episodes of any system as decisions, for the measures of `metrics`.

Owns: where in an episode it is decided whether to call, and what its calls and results are held against. Refuses:
asking models, judging what no record says: an episode without anything to hold it against gives no decision.

| episodes | relevance and irrelevance | AST | EXEC |
|---|---|---|---|
| of tasks with ground-truth calls | of every closed turn | | of every turn, if the tasks are given |
| of dialogues | of every turn of which somebody says whether it needs a tool | | |
| of function calling | of every selection of tools | of every request | |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.environments.registry import make_environment
from env_tuning.function_calling.grades import Grade, Stage, has_grades, read_grades
from env_tuning.judge import TwinTurn, replay_ground_truth
from env_tuning.metrics.executed import Comparison, all_results_right
from env_tuning.metrics.measures import Decision, Kind, needing
from env_tuning.task import Task
from env_tuning.trajectory import StepOutcome, Trajectory

_EXEC: Mapping[Comparison, Kind] = {
    Comparison.EXACT: Kind.EXEC_EXACT,
    Comparison.REAL_TIME: Kind.EXEC_REAL_TIME,
    Comparison.STRUCTURAL: Kind.EXEC_STRUCTURAL,
}


@dataclass(kw_only=True)
class References:
    """The reference results of tasks, each computed when first asked for.

    Attributes:
        tasks: by id; of an episode of any other task nothing is said about results.
        padding: the data of long-context tasks, if there are any.
    """

    tasks: Mapping[str, Task] = field(default_factory=dict)
    padding: LongContext | None = None
    _turns: dict[str, tuple[TwinTurn, ...]] = field(default_factory=dict)

    def of(self, task_id: str) -> tuple[TwinTurn, ...]:
        """What the reference leaves behind, turn by turn; nothing if the task is not known."""
        if task_id not in self.tasks:
            return ()
        if task_id not in self._turns:
            task = self.tasks[task_id]
            world = make_environment(
                task.tool_classes, task.initial_config, self.padding if task.long_context else None
            )
            self._turns[task_id] = replay_ground_truth(task.ground_truth, world)
        return self._turns[task_id]


def decisions_of(trajectory: Trajectory, references: References) -> list[Decision]:
    """What an episode decided, rightly or not."""
    if has_grades(trajectory):
        return list(_of_grades(read_grades(trajectory)))
    return [*_of_needs(trajectory), *_of_results(trajectory, references.of(trajectory.task_id))]


def _of_grades(messages: Sequence[tuple[Grade, bool]]) -> Iterator[Decision]:
    """Of an episode of function calling: a request begins with a selection and holds the stages up to the next."""
    starts = [place for place, (grade, _) in enumerate(messages) if grade.stage is Stage.SELECT]
    for start, end in zip(starts, [*starts[1:], len(messages)], strict=True):
        selection, named = messages[start]
        yield needing(bool(selection.needed), named)
        if selection.needed:
            # A tool that was not selected is never filled, but then the selection is wrong.
            judged = [grade.right for grade, _ in messages[start:end] if grade.stage is not Stage.ASK]
            expected = 1 + len({*selection.needed})
            kind = Kind.of_calls(selection.needed, selection.candidates)
            yield Decision(kind=kind, right=len(judged) == expected and all(judged))


def _of_needs(trajectory: Trajectory) -> Iterator[Decision]:
    for verdict in trajectory.verdicts:
        needs: bool | None = verdict.expects_calls
        if trajectory.expected:
            needs = trajectory.expected[verdict.turn].needs_tools
        if needs is not None:
            steps = [step for step in trajectory.steps if step.turn == verdict.turn]
            called = any(step.outcome.called_tools or step.outcome is StepOutcome.CALLS_REFUSED for step in steps)
            yield needing(needs, called)


def _of_results(trajectory: Trajectory, twin: Sequence[TwinTurn]) -> Iterator[Decision]:
    for turn, reference in enumerate(twin):
        if reference.responses:
            # As the judge has it: a result that is known from an earlier turn counts.
            seen = [
                call.result
                for step in trajectory.steps
                if step.turn <= turn
                for call in step.calls
                if call.result is not None
            ]
            for comparison, kind in _EXEC.items():
                right = all_results_right(seen, reference.responses, comparison, more=True)
                yield Decision(kind=kind, right=right)
