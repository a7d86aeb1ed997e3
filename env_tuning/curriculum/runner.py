"""`env-tuning curriculum`: stage after stage, whatever happens in between.

Owns: the order, attempts, and the record. Refuses: training, and state of its own: whether a stage is done is what its
output folder says (`outcome.json`, replaced atomically), so a kill at any point loses nothing and repeats nothing. The
record `curriculum.json` says afterwards what happened; nothing is decided from it.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from omegaconf import OmegaConf

from env_tuning.curriculum import cluster, jobs
from env_tuning.curriculum.lineage import Record, StageRecord
from env_tuning.curriculum.plan import Plan, PlannedStage
from env_tuning.curriculum.results import StageResult, stage_result
from env_tuning.errors import UserError
from env_tuning.launch import Launch, exit_when_told, given, plan, run, show
from env_tuning.lock import sole_holder
from env_tuning.outcome import read_outcome, still_holds
from env_tuning.run_folder import claim_output, identity
from env_tuning.verl_plugin.compose import compose_config
from env_tuning.verl_plugin.main import complete, settle_steps

Start = Callable[[Launch, PlannedStage], int]
"""Runs a launch to its end and returns its exit status."""

INTERRUPTED = 130
_USERS_TO_FIX = 2
_CLUSTER_PATIENCE = 2.0


def run_curriculum(planned: Plan, overrides: Sequence[str], environ: Mapping[str, str], *, local: bool) -> int:
    """Run a plan to its end, or go on with it; returns an exit status.

    Args:
        planned: the plan.
        overrides: Hydra overrides of every stage.
        environ: as for `launch.plan`.
        local: run stages as processes of this machine instead of Ray jobs.

    Raises:
        UserError: something to fix before it can go on.
    """
    planned.output_dir.mkdir(parents=True, exist_ok=True)
    before = signal.signal(signal.SIGTERM, exit_when_told)
    try:
        with _sole_runner(planned.output_dir), _starter(planned, local=local) as start:
            for stage in planned.stages:
                status = _one(planned, stage, overrides, environ, start)
                if status != 0:
                    return status
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    show(f"the curriculum is done; {planned.output_dir / Record.FILE} says what started from what")
    return 0


def _one(planned: Plan, stage: PlannedStage, overrides: Sequence[str], environ: Mapping[str, str], start: Start) -> int:
    """Bring one stage to its end, unless it is there already."""
    folder = planned.folder(stage)
    parent = _parent(planned, stage)
    launch = plan_stage(planned, stage, overrides, environ, parent)
    record = Record(planned.output_dir)
    if not _finished(folder, launch):
        position = planned.stages.index(stage) + 1
        show(f"{stage.name} ({position} of {len(planned.stages)})")
        status = _with_retries(planned, stage, launch, start, record)
        if status != 0:
            return status
        if read_outcome(folder) is None:
            raise UserError(f"{stage.name} ended without an outcome; its log says why: {launch.log_file}")
    else:
        show(f"{stage.name} is done already")
    result = stage_result(folder)
    record.put(
        StageRecord.of(stage.name, stage.config, folder, result, parent=parent.folder.parent.name if parent else None)
    )
    show(f"{stage.name}: {_outcome_line(folder)}; result in {result.folder}")
    return 0


def _finished(folder: Path, launch: Launch) -> bool:
    """Whether the stage has nothing left to do.

    Raises:
        UserError: it was finished under another configuration, and must not pass for this one.
    """
    outcome = read_outcome(folder)
    if outcome is None:
        return False
    # What the configuration reads from the environment has to read the same as in the stage.
    os.environ.update(launch.variables)
    config = compose_config(launch.config_dir, launch.config_name, launch.overrides)
    complete(config)
    claim_output(folder, identity(OmegaConf.to_container(config, resolve=True)))  # type: ignore[arg-type]
    settle_steps(config)
    return still_holds(outcome, config.trainer.total_training_steps)


def plan_stage(
    planned: Plan,
    stage: PlannedStage,
    overrides: Sequence[str],
    environ: Mapping[str, str],
    parent: StageResult | None,
) -> Launch:
    """What starts a stage: the same launch as ``bash run_stageN.sh`` with the same overrides.

    Raises:
        UserError: the overrides set what the plan decides.
    """
    for key in ("env_tuning.output_dir", "actor_rollout_ref.model.path"):
        if given(overrides, key) is not None:
            raise UserError(f"{key} differs between stages; set curriculum.output_dir, or the model of a stage")
    chosen = [*stage.overrides, *overrides, f"env_tuning.output_dir={planned.folder(stage)}"]
    if stage.model is not None:
        chosen.append(f"actor_rollout_ref.model.path={stage.model}")
    elif parent is not None:
        chosen.append(f"actor_rollout_ref.model.path={parent.folder}")
    return plan(stage.config, chosen, environ)


def _parent(planned: Plan, stage: PlannedStage) -> StageResult | None:
    """The result of the stage before; None for the first, and for one that starts from a model of its own."""
    position = planned.stages.index(stage)
    if position == 0 or stage.model is not None:
        return None
    return stage_result(planned.folder(planned.stages[position - 1]))


def _with_retries(planned: Plan, stage: PlannedStage, launch: Launch, start: Start, record: Record) -> int:
    for attempt in range(planned.retries + 1):
        record.attempt(stage.name, stage.config, started=_now())
        status = start(launch, stage)
        record.attempt_ended(stage.name, ended=_now(), status=status)
        if status in (0, INTERRUPTED, _USERS_TO_FIX) or attempt == planned.retries:
            return status
        show(f"{stage.name} failed with status {status}; starting it again from its last checkpoint")
    return status


@contextlib.contextmanager
def _starter(planned: Plan, *, local: bool) -> Iterator[Start]:
    """The way stages are run: a child process, or a job of a cluster, which is started when the first job needs it."""
    if local:
        yield lambda launch, stage: run(launch)
        return
    with contextlib.ExitStack() as stack:
        home = _Cluster(planned, stack)

        def start(launch: Launch, stage: PlannedStage) -> int:
            show(f"log file: {launch.log_file}")
            try:
                return jobs.run_job(
                    home.client(),
                    launch,
                    name=_job_name(planned, stage),
                    log_file=launch.log_file,
                    lost_after=planned.ray.lost_after,
                )
            except jobs.ClusterLostError as error:
                show(f"error: {error}")
                home.forget()
                return 1

        yield start


class _Cluster:
    """The cluster that takes the jobs: the one at the plan's address, or one of this machine's own."""

    def __init__(self, planned: Plan, stack: contextlib.ExitStack) -> None:
        self._planned = planned
        self._stack = stack
        self._address = planned.ray.address

    def client(self) -> jobs.JobSubmissionClient:
        """A client, for which a cluster is started if there is none."""
        if self._address is None:
            settings = self._planned.ray
            show("starting a Ray cluster on this machine")
            self._address = self._stack.enter_context(
                cluster.local_cluster(
                    num_cpus=settings.num_cpus,
                    num_gpus=settings.num_gpus,
                    log_file=self._planned.output_dir / "cluster.log",
                )
            )
        return jobs.connect(self._address)

    def forget(self) -> None:
        """The cluster was lost: end what is left of our own, wait a little for another's."""
        if self._planned.ray.address is None:
            self._stack.close()
            self._address = None
        else:
            time.sleep(_CLUSTER_PATIENCE)


def _sole_runner(folder: Path) -> contextlib.AbstractContextManager[None]:
    refusal = f"another curriculum is running in {folder}; wait for it or end it"
    return sole_holder(folder / ".curriculum.lock", refusal=refusal)


def _job_name(planned: Plan, stage: PlannedStage) -> str:
    """The same for every attempt at a stage of an output folder, and for no other."""
    return f"env-tuning-{stage.name}-{hashlib.sha256(str(planned.folder(stage)).encode()).hexdigest()[:8]}"


def _outcome_line(folder: Path) -> str:
    outcome = read_outcome(folder)
    assert outcome is not None
    return f"{outcome.decision.verdict.value} after step {outcome.step} ({outcome.decision.reason})"


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
