"""The warm-up leads on: what fine-tuning on the ground truth of tasks leaves is a `MODEL` for stage 1."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from env_tuning.sft.mixing import read_split
from env_tuning.sft.rendering import examples_of
from env_tuning.verl_plugin.progress import read_events

SECONDS = 600


def command(folder: Path, *arguments: object, **variables: object) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VERL_", "RAY_", "TQ_", "MODEL"))}
    done = subprocess.run(
        [sys.executable, "-m", "env_tuning.cli", *map(str, arguments)],
        cwd=folder,
        env=kept | {name: str(value) for name, value in variables.items()},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture
def rows(tmp_path: Path, processed_data: Path) -> Path:
    tasks = processed_data / "bfcl_v3" / "bfcl_train_base.parquet"
    command(tmp_path, "sft", "data", "rows", "--domains", "", "--tasks", tasks, "--tool-listing", "signatures")
    return tmp_path / "rows"


def test_the_agent_loop_continues_what_the_recipes_template_began(tmp_path, rows):
    """Otherwise the model would meet other tokens in reinforcement learning than it was trained on."""
    from transformers import AutoTokenizer

    from env_tuning.sft.tiny import untrained_model
    from env_tuning.verl_plugin.chat_tokens import chat_tokens_for

    conversations = read_split(rows, "train")
    model = untrained_model(tmp_path / "models", conversations, size="nano", pieces=1000)
    tokenizer = AutoTokenizer.from_pretrained(model)
    chat = chat_tokens_for(tokenizer, "qwen3")
    for conversation in conversations[:5]:
        (example,) = examples_of(tokenizer, conversation)
        messages = [dict(message) for message in conversation.messages]
        first = next(place for place, message in enumerate(messages) if message["role"] == "assistant")
        opening = chat.opening(messages[:first])
        assert list(example.tokens[: len(opening)]) == opening
        assert (example.trained[len(opening) - 1], example.trained[len(opening)]) == (0, 1)


@pytest.mark.slow
def test_stage_1_starts_from_a_fine_tuned_model(tmp_path, rows, processed_data):
    data = processed_data / "bfcl_v3"
    keys = {"data": rows, "output_dir": tmp_path / "sft", "size": "nano", "epochs": 1, "batch_size": 8, "threads": 1}
    command(tmp_path, "sft", "train", *(f"{name}={value}" for name, value in keys.items()), "max_length=4096")
    stage = [
        *("hardware=cpu", "trainer.total_training_steps=2", f"env_tuning.output_dir={tmp_path / 'stage1'}"),
        *(f"data.train_files={data / 'train_format_75.parquet'}", f"data.val_files={data / 'bfcl_val.parquet'}"),
        *("actor_rollout_ref.rollout.n=2", "trainer.val_before_train=false", "trainer.test_freq=-1"),
        *(
            "data.max_prompt_length=1536",
            "data.max_response_length=512",
            "env_tuning.threads=1",
            "trainer.save_freq=-1",
        ),
    ]
    command(tmp_path, "train", "stage1", *stage, MODEL=tmp_path / "sft" / "model")
    events = list(read_events(tmp_path / "stage1" / "progress.jsonl"))
    assert [event["step"] for event in events if event["event"] == "step"] == [1, 2]
