"""`EnvTuningTrainer`: verl's synchronous PPO trainer with eyes for episodes, on any hardware.

Owns: per-trajectory metrics, the dump of whole trajectories, the progress line, when a run ends (failed episodes, a
gate, its last step) and what it leaves then. Refuses: the algorithm, which stays verl's; the hardware (`hardware`);
what makes a checkpoint whole (`curriculum.checkpoints`); when a stage is over (`curriculum.gate`).
``trainer.v1.trainer_mode=env_tuning`` chooses it.

The order within a step is what a kill at any moment relies on: update, the step's event and trajectories, checkpoint,
validation, gate. A whole checkpoint thus has everything of its step on disk but perhaps the validation and the gate,
which a resumed run makes up for before it trains on.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import transfer_queue as tq
from omegaconf import DictConfig, open_dict
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils as tu

from env_tuning.curriculum import checkpoints, gate
from env_tuning.outcome import conclude, write_outcome
from env_tuning.rewards.scaling import RunningScale
from env_tuning.verl_plugin.action_advantages import critic_values
from env_tuning.verl_plugin.boards import boards_of, show
from env_tuning.verl_plugin.hardware import OnAnyHardware
from env_tuning.verl_plugin.progress import Progress, lasting, read_events, validations
from env_tuning.verl_plugin.records import EpisodeRecord, means, split_summary, training_metrics, validation_metrics
from env_tuning.verl_plugin.samples import ObservedBuffer, normalise_rewards, read_records
from env_tuning.verl_plugin.watchdog import watched

NAME = "env_tuning"


@register_trainer(NAME)
class EnvTuningTrainer(OnAnyHardware, PPOTrainerSync):
    """The trainer of all hardware groups."""

    mode = "sync"

    def __init__(self, config: DictConfig) -> None:
        self._started = time.monotonic()
        self._settings = config.env_tuning
        self._records: list[EpisodeRecord] = []
        self._validation: list[EpisodeRecord] = []
        self._output = Path(self._settings.output_dir)
        self._saves = Path(config.trainer.default_local_dir).absolute()
        self._best = self._output / "best"
        self._keep = self._take_over_rotation(config)
        settings = self._settings.gate
        self._gate = None if settings is None else gate.GateSettings.from_config(settings)
        self._decision: gate.Decision | None = None
        self._scale = RunningScale() if self._settings.reward_normalisation else None
        self._progress = Progress(self._output)
        self._progress.tell("start", stage=self._settings.stage, output_dir=self._settings.output_dir)
        super().__init__(config)

    def on_init_end(self) -> None:
        """Report that the run is ready."""
        super().on_init_end()
        self._total_steps = self.total_training_steps
        self._progress.tell(
            "ready",
            seconds=time.monotonic() - self._started,
            step=self.global_steps,
            total=self.total_training_steps,
            train_rows=len(self.train_dataset),
            val_rows=len(self.val_dataset),
        )

    # What is seen ---------------------------------------------------------------------------------------------

    def _build_replay_buffer(self) -> ObservedBuffer:
        return ObservedBuffer(super()._build_replay_buffer(), failed=self._on_failed, sampled=self._on_sampled)

    def on_step_begin(self) -> None:
        """Forget the trajectories of the step before."""
        super().on_step_begin()
        self._records.clear()
        self._prompts = itertools.count()
        self._step_started = time.monotonic()

    def _fetch_one_gen_batch(self) -> Any:
        """Name prompts by step and position: verl's names are random, and with them the order of the batch."""
        batch = super()._fetch_one_gen_batch()
        names = [f"{self.global_steps:06d}.{next(self._prompts):04d}" for _ in range(len(batch))]
        tu.assign_non_tensor_stack(batch, "uid", names)
        return batch

    def _on_failed(self, failed_groups: int) -> None:
        # verl trains on what is left of a batch when agent loops raise; here a tool's error is data and an exception
        # is a bug or a wrong setting, which a hundred more steps would not mend.
        if failed_groups > self._settings.max_failed_groups:
            errors = getattr(self.agent_loop_manager, "errors", [])
            raise RuntimeError(
                f"{failed_groups} groups of episodes failed in step {self.global_steps} "
                f"(env_tuning.max_failed_groups={self._settings.max_failed_groups})"
                + (f"; the first error: {errors[0]}" if errors else "; see the tracebacks above")
            ) from (errors[0] if errors else None)

    def _on_sampled(self, batch: Any) -> None:
        records = read_records(batch)
        (self._validation if batch.partition_id == "val" else self._records).extend(records)

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        """Give a critic's values to our estimators, which verl's `compute_advantage` does not."""
        if self._scale is not None:
            self._scale = normalise_rewards(batch, self._scale)
        if not self.use_critic:
            return super()._compute_advantage(batch, metrics=metrics)
        values = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["values"])
        with critic_values(values.to_padded_tensor()["values"]):
            return super()._compute_advantage(batch, metrics=metrics)

    def step(self, metrics: dict[str, Any], timing_raw: dict[str, float]) -> Any:
        """Make verl's step; what there is to tell of it is told here, before verl saves the checkpoint of the step."""
        batch = super().step(metrics, timing_raw)
        if "actor/entropy_loss" in metrics:  # without the old-log-prob pass verl has only this name for it
            metrics.setdefault("actor/entropy", metrics["actor/entropy_loss"])
        if self.config.trainer.get("rollout_data_dir"):
            self._dump(self._records, self.config.trainer.rollout_data_dir)
        self._show(self._records, "episodes")
        self._progress.tell("step", **self._step_record(metrics, timing_raw))
        return batch

    def _step_record(self, metrics: Mapping[str, Any], timings: Mapping[str, float]) -> dict[str, Any]:
        numbers = means(self._records)
        known = {
            "kl": "actor/kl_loss",
            "loss": "actor/pg_loss",
            "entropy": "actor/entropy",
            "lr": "actor/lr",
            "grad_norm": "actor/grad_norm",
            "value_loss": "critic/vf_loss",
        }
        parts = {"gen", "old_log_prob", "ref", "values", "update_critic", "update_actor"}
        return {
            "step": self.global_steps,
            "total": self.total_training_steps,
            "reward": numbers.pop("score", None),
            **{name: metrics[key] for name, key in known.items() if key in metrics},
            **numbers,
            "seconds": time.monotonic() - self._step_started,
            "timings": {name: timings[name] for name in sorted(parts & timings.keys())},
            "splits": split_summary(self._records),
        }

    def _compute_metrics(
        self, batch: Any, metrics: dict[str, Any], timing_raw: dict[str, float], global_steps: int, epoch: int
    ) -> None:
        super()._compute_metrics(batch, metrics, timing_raw, global_steps, epoch)
        metrics.update(training_metrics(self._records))

    def _validate(self) -> dict[str, float]:
        self._validation.clear()
        started = time.monotonic()
        metrics = super()._validate()
        metrics.update(validation_metrics(self._validation))
        self._show(self._validation, "val_episodes")
        self._progress.tell(
            "validation",
            step=self.global_steps,
            episodes=len(self._validation),
            seconds=time.monotonic() - started,
            **means(self._validation),
            splits=split_summary(self._validation),
        )
        self._ask_gate()
        return metrics

    def _show(self, records: list[EpisodeRecord], place: str) -> None:
        """Write histograms and samples to the boards that verl has opened."""
        samples = self._settings.sampled_trajectories
        show(self.logger.logger, records, self.global_steps, place=place, samples=samples)

    def _choose_boards(self) -> None:
        """Here, where verl is about to open them: W&B's key has to be known to this process and to no other."""
        installed = importlib.util.find_spec("wandb") is not None
        chosen = boards_of(self.config.trainer.logger, os.environ, wandb_installed=installed)
        if chosen.warning:
            self._progress.tell("warning", text=chosen.warning)
        with open_dict(self.config):
            self.config.trainer.logger = list(chosen.names)

    # What is saved --------------------------------------------------------------------------------------------

    def _take_over_rotation(self, config: DictConfig) -> int | None:
        """How many checkpoints to keep; None leaves it to verl, in a folder that is not this run's own.

        verl removes the parts of old checkpoints while it writes a new one, forgets those of earlier processes, and
        leaves their folders (utils/checkpoint/checkpoint_manager.py).
        """
        keep = config.trainer.max_actor_ckpt_to_keep
        if not keep or not self._saves.is_relative_to(self._output):
            return None
        with open_dict(config):
            config.trainer.max_actor_ckpt_to_keep = config.trainer.max_critic_ckpt_to_keep = None
        return int(keep)

    def _load_checkpoint(self) -> None:
        if self.config.trainer.resume_mode == "auto":
            found = checkpoints.recover(self._saves, remove=self._saves.is_relative_to(self._output))
            if found.removed:
                self._progress.tell("recovered", step=found.step, removed=found.removed)
        super()._load_checkpoint()
        if self._scale is not None and self.global_steps:
            self._scale = RunningScale.read(checkpoints.checkpoint_folder(self._saves, self.global_steps))
        if self._keep:  # told to start over or from an older one: what came later is not of this run's past
            checkpoints.remove_after(self._saves, self.global_steps)

    def _save_checkpoint(self) -> None:
        started, step = time.monotonic(), self.global_steps
        folder = checkpoints.checkpoint_folder(self._saves, step)
        for future in self._dump_futures:
            future.result()
        if self._keep:  # as verl does: the disk holds no more than `keep` while there are at least two
            checkpoints.rotate(self._saves, self._keep - 1)
        checkpoints.remove_checkpoint(folder)  # files of the same name would be overwritten, and `best` shares them
        try:
            super()._save_checkpoint()
            if self._scale is not None:
                self._scale.write(folder)
            checkpoints.seal(folder)
            checkpoints.point_at(self._saves, step)
        except Exception as error:
            raise checkpoints.save_failure(error, self._saves, step) from error
        if self._keep:
            checkpoints.rotate(self._saves, self._keep)
        self._progress.tell("checkpoint", step=step, path=str(folder), seconds=time.monotonic() - started)

    def _saved(self) -> Path:
        """The checkpoint of this step, saved now if it was not."""
        folder = checkpoints.find(self.global_steps, self._saves)
        if folder is not None:
            return folder
        # On a GPU the rollout engine would hold the memory that gathering the weights needs.
        self.checkpoint_manager.sleep_replicas()
        self._save_checkpoint()
        self.checkpoint_manager.update_weights(self.global_steps)
        return checkpoints.checkpoint_folder(self._saves, self.global_steps)

    # When it ends ---------------------------------------------------------------------------------------------

    def fit(self, agent_loop_manager: Any) -> None:
        """Train to the end, and write down how it ended."""
        with watched():
            self._train(agent_loop_manager)

    def _train(self, agent_loop_manager: Any) -> None:
        self.agent_loop_manager = agent_loop_manager
        self._choose_boards()
        with open_dict(self.config):
            # verl validates whenever a process starts; here a step is validated once, whoever was killed meanwhile.
            self.config.trainer.val_before_train = self._validation_is_due()
        if not self.config.trainer.val_before_train and self.global_steps in self._validations():
            self._ask_gate()
        super().fit(agent_loop_manager)
        if not self.config.trainer.get("val_only", False):
            metric = (self._gate or gate.GateSettings()).metric
            outcome = conclude(
                read_events(self._progress.file), metric, self._decision,
                step=self.global_steps - 1, total=self._total_steps,
                output=self._output, saves=self._saves, best=self._best,
            )  # fmt: skip
            write_outcome(self._output, outcome)

    def _validation_is_due(self) -> bool:
        trainer, step = self.config.trainer, self.global_steps
        if trainer.get("val_only", False):
            return True
        if step in self._validations():
            return False
        if step == 0:
            return bool(trainer.get("val_before_train", True))
        return trainer.test_freq > 0 and (step % trainer.test_freq == 0 or step >= self.total_training_steps)

    def _validations(self) -> dict[int, Mapping[str, Any]]:
        return validations(read_events(self._progress.file))

    def _ask_gate(self) -> None:
        """Keep this step's checkpoint if it is the best, and end the training if the gate says so."""
        if self._gate is None:
            return
        events = lasting(read_events(self._progress.file))
        decision = gate.decide(gate.history(events, self._gate.metric), self._gate)
        if decision.best_step is None and len(validations(events)) == 1:
            # Not an error: an interaction of its own need not count what the default gate watches.
            self._progress.tell("warning", text=f"validations do not say {self._gate.metric} (env_tuning.gate.metric)")
        is_best, stops = decision.best_step == self.global_steps, decision.verdict is not gate.Verdict.CONTINUE
        if is_best or stops:
            folder = self._saved()
            if is_best:
                checkpoints.keep_best(folder, self._best)
        self._progress.tell("gate", **decision.to_dict())
        if stops:
            self._decision = decision
            self.total_training_steps = self.global_steps  # what verl's loop looks at before the next step

    # What is dumped -------------------------------------------------------------------------------------------

    def _log_rollout_data(self, batch: Any, timing_raw: dict[str, float], rollout_data_dir: str) -> None:
        """Replaces verl's dump of decoded prompts and responses; `step` has dumped whole trajectories."""

    def _dump_generations(self, *args: Any, dump_path: str, **kwargs: Any) -> None:
        """What `_validate` of the base class calls with decoded texts; the trajectories say more."""
        self._dump(self._validation, dump_path)

    def _dump(self, records: Iterable[EpisodeRecord], folder: str) -> None:
        lines = [record.line(self.global_steps) for record in sorted(records, key=lambda r: (r.uid, r.group))]
        path = Path(folder) / f"{self.global_steps}.jsonl"
        self._dump_futures = [
            future for future in self._dump_futures if not (future.done() and future.result() is None)
        ]
        self._dump_futures.append(self._dump_executor.submit(_write_lines, path, lines))


def _write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    os.replace(partial, path)
