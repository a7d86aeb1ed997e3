"""Rules on the machine: GPUs, memory, shared memory, disk.

Owns: comparing what a run needs, by the arithmetic of `memory`, with what there is. Refuses: judging other machines: on
a Ray cluster that others started, only the disk of this one is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

from env_tuning.doctor.evidence import Evidence
from env_tuning.doctor.finding import Finding, Severity
from env_tuning.doctor.machine import GIB
from env_tuning.doctor.memory import CHECKPOINT_BYTES, Load, estimate

PROCESSES_BYTES = 33 * GIB // 10
"""What a CPU run of the embedded model took at most (docs/benchmarks.md), which is hardly for the model's sake."""
_LOGS_BYTES = GIB // 4
"""Trajectories, metrics and logs of a run of a hundred steps on a CPU."""


def gpus(evidence: Evidence) -> Iterator[Finding]:
    """This node has the GPUs that it is asked for, and they hold the model."""
    if evidence.machine is None or evidence.on_cpu or evidence.environ.get("RAY_ADDRESS"):
        return
    asked, there = int(evidence.get("trainer.n_gpus_per_node", 1)), len(evidence.machine.gpus)
    if there < asked:
        yield Finding(
            key="trainer.n_gpus_per_node",
            problem=f"trainer.n_gpus_per_node={asked}, but the driver lists {there} GPUs here: verl would wait",
            fix=f"set trainer.n_gpus_per_node={there}" if there else "set hardware=cpu",
        )
        return
    if evidence.shape is None or not evidence.machine.gpus:
        return
    load, memory = Load.read(evidence.config), min(evidence.machine.gpus)
    need = estimate(evidence.shape, load)
    if need.training > memory:
        yield Finding(
            key="trainer.n_gpus_per_node",
            problem=f"an update needs about {need.training / GIB:.0f} GiB on every GPU ({need.states / GIB:.0f} of it "
            f"weights, gradients and moments), which has {memory / GIB:.0f}",
            fix="use more GPUs or a smaller model, or lower actor_rollout_ref.actor.ppo_max_token_len_per_gpu "
            "(env-tuning doctor --memory)",
        )
    elif not need.fits(load, memory):
        yield Finding(
            key="actor_rollout_ref.rollout.gpu_memory_utilization",
            problem=f"actor_rollout_ref.rollout.gpu_memory_utilization={load.share:g} of {memory / GIB:.0f} GiB, "
            f"beside {need.resting / GIB:.0f} GiB of weights and moments, does not hold the engine's weights "
            f"({need.rollout_weights / GIB:.0f} GiB) and one longest episode ({need.cache_per_sequence / GIB:.1f} GiB)",
            fix="set actor_rollout_ref.actor.fsdp_config.param_offload=true and optimizer_offload=true, or raise "
            "actor_rollout_ref.rollout.tensor_model_parallel_size",
        )


def memory(evidence: Evidence) -> Iterator[Finding]:
    """A CPU run fits into memory, and no object store is larger than what is left."""
    if evidence.machine is None or evidence.environ.get("RAY_ADDRESS"):
        return
    free = evidence.machine.memory
    if evidence.on_cpu:
        parameters = evidence.shape.parameters if evidence.shape is not None else 0
        # The trained model with its states, and fp32 copies for the reference, the rollout server and the hand-over.
        need = PROCESSES_BYTES + parameters * (16 + 4 + 4 + 4)
        if need > free:
            yield Finding(
                key="hardware",
                problem=f"the run needs about {need / GIB:.1f} GiB of memory, {free / GIB:.1f} are free",
                fix="end other processes, or choose a smaller model",
            )
    store = evidence.get("ray_kwargs.ray_init.object_store_memory")
    shared = evidence.machine.shared
    if store is not None and shared is not None and int(store) > shared:
        yield Finding(
            key="ray_kwargs.ray_init.object_store_memory",
            problem=f"Ray's object store of {int(store) / GIB:.2f} GiB does not fit into /dev/shm, which has "
            f"{shared / GIB:.2f} free: Ray would put it on disk",
            fix="start the container with --shm-size=8g, or lower ray_kwargs.ray_init.object_store_memory",
            severity=Severity.WARNING,
        )


def disk(evidence: Evidence) -> Iterator[Finding]:
    """The disk holds the checkpoints that are kept, the one that is being written and the best one."""
    if evidence.machine is None or evidence.shape is None:
        return
    kept = evidence.get("trainer.max_actor_ckpt_to_keep")
    one = CHECKPOINT_BYTES * evidence.shape.parameters * (2 if evidence.has_critic else 1)
    copies = (int(kept) if kept else 10) + 2
    need, free = one * copies + _LOGS_BYTES, evidence.machine.disk
    if need > free:
        yield Finding(
            key="env_tuning.output_dir",
            problem=f"{copies} checkpoints of about {one / GIB:.2f} GiB need {need / GIB:.1f} GiB in "
            f"{evidence.get('env_tuning.output_dir')}, {free / GIB:.1f} are free",
            fix="free some, give env_tuning.output_dir=ANOTHER-DISK, or set trainer.max_actor_ckpt_to_keep=1",
        )
