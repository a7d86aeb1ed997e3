"""A tiny model, its tokenizer, rows and an interaction for tests of the verl plugin.

Owns: everything an end-to-end run needs and that is made in a second. Refuses: real tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from env_tuning.interaction.base import Interaction, Message
from env_tuning.rewards.score import Score
from env_tuning.trajectory import StepOutcome, StepRecord, StopReason, Trajectory, TurnVerdict

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def make_tokenizer() -> Any:
    """A byte-level tokenizer with ChatML's special tokens and template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=4096
    )
    fast.chat_template = CHATML
    return fast


def make_model(folder: Path, seed: int = 0, **shape: Any) -> Path:
    """A random Qwen3 of 60 thousand parameters, with its tokenizer, as a Hugging Face folder.

    Args:
        folder: where to.
        seed: of the weights.
        shape: other values of the configuration.
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    values = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = Qwen3Config(**{**values, **shape})
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_rows(path: Path, count: int) -> Path:
    """Rows of the toy interaction, as a parquet file."""
    import pandas as pd

    rows = [
        {
            "data_source": "toy",
            "prompt": [{"role": "user", "content": f"Write an {chr(97 + index)}."}],
            "reward_model": {"style": "interaction", "ground_truth": ""},
            "extra_info": {"index": index, "interaction_kwargs": {"name": "toy", "letter": chr(97 + index)}},
        }
        for index in range(count)
    ]
    pd.DataFrame(rows).to_parquet(path)
    return path


class LetterInteraction(Interaction):
    """Two turns; every message that has the letter is right, and three messages a turn are allowed."""

    turns = 2

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.episodes: dict[str, dict[str, Any]] = {}
        self.stopped: list[tuple[StopReason, str | None]] = []

    async def start_interaction(
        self, instance_id: str | None = None, *, letter: str = "a", validate: bool = False, **kwargs: Any
    ) -> str:
        instance_id = await super().start_interaction(instance_id)
        self.episodes[instance_id] = {
            "letter": letter,
            "steps": [],
            "verdicts": [],
            "stop": StopReason.COMPLETED,
            "limit": 6 if validate else 3,
        }
        return instance_id

    async def generate_response(
        self, instance_id: str, messages: Sequence[Message], **kwargs: Any
    ) -> tuple[bool, str, float, dict[str, Any]]:
        episode = self.episodes[instance_id]
        text = messages[-1]["content"]
        turn = len(episode["verdicts"])
        right = episode["letter"] in text
        tried = sum(step.turn == turn for step in episode["steps"]) + 1
        closed = right or tried >= episode["limit"]
        episode["steps"].append(
            StepRecord(turn=turn, text=text, outcome=StepOutcome.ANSWER, observation="again", closed_turn=closed)
        )
        if closed:
            episode["verdicts"].append(TurnVerdict(turn=turn, correct=right, forced=not right))
        over = len(episode["verdicts"]) == self.turns
        return over, "" if over else "again", float(right), {}

    async def stop_interaction(self, instance_id: str, reason: StopReason, partial_text: str | None = None) -> None:
        episode = self.episodes[instance_id]
        episode["stop"] = reason
        self.stopped.append((reason, partial_text))
        if partial_text is not None:
            episode["steps"].append(
                StepRecord(turn=len(episode["verdicts"]), text=partial_text, outcome=StepOutcome.CUT)
            )

    async def calculate_score(self, instance_id: str, **kwargs: Any) -> float:
        return 0.25

    def trajectory(self, instance_id: str) -> Trajectory:
        episode = self.episodes[instance_id]
        return Trajectory(
            task_id=f"toy_{episode['letter']}",
            split="toy",
            turns=self.turns,
            steps=tuple(episode["steps"]),
            verdicts=tuple(episode["verdicts"]),
            stop=episode["stop"],
        )

    async def finalize_interaction(self, instance_id: str, **kwargs: Any) -> None:
        del self.episodes[instance_id]


def letter_reward(trajectory: Trajectory) -> dict[str, float]:
    """A score with enough spread for GRPO: how often the letter was written, and one part."""
    letter = trajectory.task_id[-1]
    texts = [step.text for step in trajectory.steps]
    share = sum(text.count(letter) for text in texts) / max(1, sum(map(len, texts)))
    return {"score": share, "completed": float(trajectory.stop is StopReason.COMPLETED)}


def turn_reward(trajectory: Trajectory) -> Score:
    """What every closed turn earned: the share of its last message that is the letter."""
    letter = trajectory.task_id[-1]
    texts = [step.text for step in trajectory.steps if step.closed_turn]
    turns = tuple(text.count(letter) / max(1, len(text)) for text in texts)
    return Score(score=sum(turns), turns=turns)


def broken_reward(trajectory: Trajectory) -> dict[str, float]:
    """A bug in a user's reward."""
    raise ZeroDivisionError("the reward is broken")


def rollout_config(**changes: object) -> object:
    """verl's configuration of the light rollout, for short sequences."""
    from verl.workers.config import RolloutConfig

    values = {
        "name": "transformers",
        "tensor_model_parallel_size": 1,
        "max_num_seqs": 8,
        "prompt_length": 64,
        "response_length": 64,
        "dtype": "float32",
        **changes,
    }
    return RolloutConfig(**values)
