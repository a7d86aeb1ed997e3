"""A stage without verl, and a curriculum of such stages; for test_curriculum.py.

`python stage_player.py --config-dir ... --config-name ... OVERRIDES` plays a stage: it takes the same arguments as the
training process, claims the output folder as that does, counts steps into it, and leaves an outcome and a model.

`python stage_player.py curriculum OPTIONS` is `env-tuning curriculum` with stages played that way.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

STEPS = 4


def finish(folder: Path, step: int = STEPS, weights: str = "weights") -> None:
    """Leave what a finished stage leaves."""
    from env_tuning.curriculum.gate import Decision, Verdict
    from env_tuning.outcome import Outcome, write_outcome

    model = folder / "checkpoints" / f"global_step_{step}" / "actor" / "huggingface"
    model.mkdir(parents=True, exist_ok=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_text(weights)
    decision = Decision(verdict=Verdict.BUDGET, reason="a test", step=step)
    checkpoint = f"checkpoints/global_step_{step}"
    write_outcome(
        folder, Outcome(step=step, total=step, decision=decision, checkpoint=checkpoint, checkpoint_step=step)
    )


def play() -> int:
    """Be the training process."""
    from omegaconf import OmegaConf

    from env_tuning.atomic import replace_text
    from env_tuning.curriculum.lineage import write_lineage
    from env_tuning.run_folder import claim_output, identity
    from env_tuning.verl_plugin.compose import compose_config
    from env_tuning.verl_plugin.main import complete, finished, settle_steps, sole_owner

    config = compose_config(Path(sys.argv[2]), sys.argv[4], sys.argv[5:])
    complete(config)
    plain = OmegaConf.to_container(config, resolve=True)
    folder = Path(config.env_tuning.output_dir)
    claim_output(folder, identity(plain))
    settle_steps(config)
    with sole_owner(folder):
        if finished(folder, config.trainer.total_training_steps):
            return 0
        write_lineage(folder, plain, identity(plain))
        state = folder / "state.json"
        done = json.loads(state.read_text())["step"] if state.is_file() else 0
        fail = Path(os.environ.get("FAIL_ONCE", "/nowhere"))
        for step in range(done + 1, config.trainer.total_training_steps + 1):
            time.sleep(float(os.environ.get("STEP_SECONDS", "0")))
            if fail.is_file():
                fail.unlink()
                return 1
            replace_text(state, json.dumps({"step": step}))
            print(f"[env-tuning] step {step}", flush=True)
        # The weights say through which stages they went.
        before = Path(config.actor_rollout_ref.model.path) / "model.safetensors"
        with (folder / "ends.txt").open("a") as ends:
            ends.write("end\n")
        finish(folder, weights=f"{before.read_text()} > {config.env_tuning.stage}")
    return 0


def curriculum() -> None:
    """Be the command line, with this program as the training process."""
    from env_tuning import cli, launch

    module = ("-u", "-m", "env_tuning.verl_plugin.main")
    real = launch.Launch.command.fget
    launch.Launch.command = property(  # type: ignore[assignment]
        lambda self: (real(self)[0], "-u", __file__, *real(self)[1 + len(module) :])
    )
    cli.main()


if __name__ == "__main__":
    sys.exit(curriculum() if sys.argv[1] == "curriculum" else play())
