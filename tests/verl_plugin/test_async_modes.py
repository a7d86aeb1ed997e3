"""verl's asynchronous trainers: their configurations, and episodes that are interrupted for new weights.

No accelerator is needed for what is held here.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("verl")
from omegaconf import DictConfig, OmegaConf
from running import run_stage
from test_agent_loop import ROW, TOKENIZER, ScriptedServer, make_loop
from verl.trainer.ppo.v1 import get_trainer_cls
from verl.trainer.ppo.v1.trainer_base import PPOTrainer
from verl.workers.rollout.llm_server import FullyAsyncLLMServerClient
from verl.workers.rollout.replica import TokenOutput

from env_tuning.launch import project_folder
from env_tuning.verl_plugin import agent_loop
from env_tuning.verl_plugin.compose import compose_config
from env_tuning.verl_plugin.main import complete, refused_by_verl

MODES = ("colocate_async", "separate_async")


def composed(mode: str, *overrides: str) -> DictConfig:
    config = compose_config(
        project_folder() / "configs",
        "stage2",
        ["hardware=gpu8", f"+mode={mode}", "actor_rollout_ref.model.path=some/model", *overrides],
    )
    complete(config)
    return config


class MadeError(Exception):
    """Nothing of the trainer's own checks stopped it."""


def check(config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the trainer as far as its own checks; raises what they say, else `MadeError`."""

    def made(*_: Any, **__: Any) -> None:
        raise MadeError

    monkeypatch.setattr(PPOTrainer, "__init__", made)
    get_trainer_cls(config.trainer.v1.trainer_mode)(config=config)


@pytest.mark.parametrize("mode", MODES)
def test_verl_and_its_trainer_accept_the_configuration(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = composed(mode)
    assert [finding.line for finding in refused_by_verl(config)] == []
    assert config.trainer.logger == ["console", "tensorboard"]
    with pytest.raises(MadeError):
        check(config, monkeypatch)


def test_the_trainers_own_checks_are_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    config = composed("separate_async", "actor_rollout_ref.rollout.checkpoint_engine.backend=naive")
    with pytest.raises(AssertionError, match="backend for separate async"):
        check(config, monkeypatch)


class Interrupting:
    """A server that stops every message after its first three tokens, as for new weights, and then finishes it."""

    def __init__(self, *texts: str) -> None:
        self.left = [[*TOKENIZER.encode(text, add_special_tokens=False), TOKENIZER.eos_token_id] for text in texts]
        self.prompts: list[list[int]] = []
        self.generate = SimpleNamespace(remote=self._generate)

    async def _generate(self, *, prompt_ids: list[int], **_: Any) -> TokenOutput:
        self.prompts.append(list(prompt_ids))
        version = len(self.prompts)
        if version % 2:
            tokens, self.left[0] = self.left[0][:3], self.left[0][3:]
        else:
            tokens = self.left.pop(0)
        return TokenOutput(
            token_ids=tokens,
            log_probs=[-float(version)] * len(tokens),
            stop_reason="aborted" if version % 2 else "completed",
            extra_fields={"global_steps": version},
        )


class Client(FullyAsyncLLMServerClient):
    """verl's client of the asynchronous modes, with one server and no router."""

    def __init__(self, server: Interrupting) -> None:
        rollout = {"name": "transformers", "response_length": 400, "priority": None}
        super().__init__(
            config=OmegaConf.create({"actor_rollout_ref": {"rollout": rollout}}), load_balancer_handle=None
        )
        self._server = server

    async def _acquire_server(self, request_id: str, **_: Any) -> tuple[str, Any]:
        return "here", self._server

    def _release_server(self, server_id: str, request_id: str | None = None) -> None:
        pass


def test_an_episode_interrupted_for_new_weights_is_the_episode_without_interruption(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def at_once(_: float) -> None:
        """verl waits a second before it goes on."""

    agent_loop._interaction.cache_clear()
    texts = ("aaaaab", "aaaaaa")
    whole = asyncio.run(make_loop(ScriptedServer(*texts)).run({}, validate=False, **ROW))
    interrupting = Interrupting(*texts)
    client = Client(interrupting)
    monkeypatch.setattr("verl.workers.rollout.llm_server.asyncio.sleep", at_once)
    cut = asyncio.run(make_loop(client).run({}, validate=False, **ROW))
    assert len(interrupting.prompts) == 4
    assert cut.response_ids == whole.response_ids
    assert cut.response_mask == whole.response_mask
    assert cut.reward_score == whole.reward_score
    written = [value for value, trained in zip(cut.response_logprobs, cut.response_mask, strict=True) if trained]
    assert sorted(set(written), reverse=True) == [-1.0, -2.0, -3.0, -4.0]


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize("mode", ["colocate_async", "separate_async_cpu"])
def test_verls_trainer_trains_on_episodes_of_several_weights(folder: Path, mode: str) -> None:
    # Few episodes at a time, of long messages: when a batch is full, others are on their way.
    few = ["actor_rollout_ref.rollout.max_num_seqs=3", "env_tuning.max_message_tokens=80"]
    status, said = run_stage(folder, f"+mode={mode}", *few, "trainer.total_training_steps=4", "trainer.test_freq=-1")
    assert status == 0, said[-4000:]
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line.startswith("step:")]
    steps = [dict(part.split(":", 1) for part in line.split(" - ")) for line in lines]
    assert [step["training/global_step"] for step in steps] == ["1", "2", "3", "4"]
    oldest, youngest = (
        [_number(step[f"training/off_policy/trajectory_staleness/{end}"]) for step in steps] for end in ("max", "min")
    )
    assert max(oldest) > 0, "no episode of older weights was trained on"
    assert min(youngest[2:]) < 2, "the rollout's weights are not replaced"
    if mode == "colocate_async":  # the other's rollout has often nothing to do when new weights come
        spans = [_number(step["training/off_policy/trajectory_spans/max"]) for step in steps]
        assert max(spans) > 1, "no episode was interrupted"


def _number(text: str) -> float:
    """What verl's console prints, ``np.int64(2)`` among others."""
    return float(text.rpartition("(")[2].rstrip(")"))
