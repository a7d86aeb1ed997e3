"""Playing the tasks of an evaluation, many at a time, until all have a result.

Owns: the order of work, what becomes of tasks without an answer, and the files at the end. Refuses: one episode
(`playing`), where models come from (`models`), the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from env_tuning.endpoint.client import NoReply, UnusableReply
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.episode import Episode
from env_tuning.errors import UserError
from env_tuning.evaluation.card import Prices, Subject, make_card, write_card
from env_tuning.evaluation.models import Model
from env_tuning.evaluation.official import write_results
from env_tuning.evaluation.playing import Played, play
from env_tuning.evaluation.results import TaskResult, by_split, line_of, summary
from env_tuning.evaluation.settings import Settings, identity, tasks_sha256
from env_tuning.evaluation.sources import Data
from env_tuning.evaluation.speakers import Speaker
from env_tuning.evaluation.store import Store, episodes, open_store
from env_tuning.prepared_task import PreparedTask, prepare_task
from env_tuning.task import Task
from env_tuning.together import together

_SILENT = 10
"""Tasks in a row without an answer after which the model counts as gone."""


class Watcher(Protocol):
    """What is told while an evaluation goes on."""

    def begin(self, evaluation: Evaluation) -> None:
        """The folder is open: results that are there, lines that were dropped."""

    def done(self, result: TaskResult) -> None:
        """A task has a result."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do, beyond what the numbers depend on.

    Attributes:
        output: the folder.
        concurrency: episodes at a time.
        prices: of tokens.
        unanswered_wrong: count tasks as wrong that the model does not answer.
        official_name: the model's in the benchmark's registry.
    """

    output: Path
    concurrency: int = 16
    prices: Prices = field(default_factory=Prices)
    unanswered_wrong: bool = False
    official_name: str = "env_tuning"


async def evaluate(model: Model, data: Data, settings: Settings, plan: Plan, watcher: Watcher) -> Evaluation:
    """Play what has no result yet; write the card and the other files once nothing is left.

    Raises:
        UserError: a folder of another evaluation, or a model that cannot be had or that answers nobody.
    """
    names = [task.id for task in data.tasks]
    async with model:
        with open_store(plan.output, identity(settings, data.tasks, model.facts), names) as store:
            evaluation = Evaluation(tasks=data.tasks, settings=settings, padding=data.padding, store=store)
            watcher.begin(evaluation)
            if evaluation.open_tasks:
                speaker = model.speaker(settings, plan.concurrency)
                await evaluation.run(speaker, concurrency=plan.concurrency, done=watcher.done)
            if plan.unanswered_wrong:
                evaluation.count_as_wrong()
            if not evaluation.open_tasks:
                _write(evaluation, model, data, plan)
    return evaluation


def _write(evaluation: Evaluation, model: Model, data: Data, plan: Plan) -> None:
    """The files of a whole evaluation; the card last, since it says that there is one."""
    store, results = evaluation.store, evaluation.results
    store.sort([task.id for task in evaluation.tasks])
    store.tell({split: summary(members) for split, members in by_split(results).items()}, summary(results))
    write_results(plan.output, plan.official_name, episodes(plan.output))
    subject = Subject(
        model=model.facts,
        settings=evaluation.settings.as_dict(),
        files=data.files,
        tasks_sha256=tasks_sha256(evaluation.tasks),
        not_taken=tuple(model.not_taken),
    )
    write_card(plan.output, make_card(subject, results, plan.prices))


@dataclass(kw_only=True)
class Evaluation:
    """Tasks to play.

    Attributes:
        tasks: all of them, in the order of the files.
        settings: how they are played.
        padding: the data of long-context tasks, if there are any.
        store: where results are and go to.
        unanswered: task ids to the reason why there is no result.
    """

    tasks: Sequence[Task]
    settings: Settings
    padding: LongContext | None
    store: Store
    unanswered: dict[str, str] = field(default_factory=dict)
    _silent: int = 0

    @property
    def open_tasks(self) -> list[Task]:
        """The tasks without a result."""
        return [task for task in self.tasks if task.id not in self.store.results]

    @property
    def results(self) -> list[TaskResult]:
        """What there is, in the order of tasks."""
        return [self.store.results[task.id] for task in self.tasks if task.id in self.store.results]

    async def run(self, speaker: Speaker, *, concurrency: int, done: Callable[[TaskResult], None]) -> None:
        """Play the open tasks; those that the model does not answer stay open, in `unanswered`.

        Args:
            speaker: the model.
            concurrency: episodes at a time.
            done: called after every result.

        Raises:
            UserError: the model answers nobody, or has stopped answering. What there is, is kept.
        """
        pending = iter(self.open_tasks)
        await together([self._work(pending, speaker, done) for _ in range(concurrency)])

    async def _work(self, pending: Iterator[Task], speaker: Speaker, done: Callable[[TaskResult], None]) -> None:
        for task in pending:
            try:
                seed = self.settings.seed_of(task)
                played = await play(self._prepared(task), self.settings.rules, speaker, seed=seed)
            except (NoReply, UnusableReply) as error:
                self._miss(task, str(error))
                continue
            self._silent = 0
            self.unanswered.pop(task.id, None)
            done(self.store.add(line_of(played)))

    def _miss(self, task: Task, reason: str) -> None:
        self.unanswered[task.id] = reason
        self._silent += 1
        if not self.store.results and self._silent >= min(_SILENT, len(self.open_tasks)):
            raise UserError(f"the endpoint answers no request: {reason}")
        if self._silent >= _SILENT:
            raise UserError(
                f"the endpoint has stopped answering: {reason}; {len(self.store.results)} of {len(self.tasks)} tasks "
                "are kept, and the same command goes on with the others"
            )

    def count_as_wrong(self) -> None:
        """Give the open tasks the result of an episode in which nothing was said."""
        for task in self.open_tasks:
            trajectory = Episode(self._prepared(task), self.settings.rules).trajectory()
            self.store.add(line_of(Played(trajectory=trajectory, prompt_tokens=0, completion_tokens=0, seconds=0.0)))

    def _prepared(self, task: Task) -> PreparedTask:
        return prepare_task(
            task,
            protocol=self.settings.speech,
            listing=self.settings.listing,
            version=self.settings.version,
            long_context=self.padding,
        )
