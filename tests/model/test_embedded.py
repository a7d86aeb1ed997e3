"""The embedded model: built once, whole or not at all, and loadable like any other."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from env_tuning.data.demonstrations import Habits
from env_tuning.data.rows import load_tasks, task_row, write_rows
from env_tuning.data.splits import Category
from env_tuning.model import embedded
from env_tuning.model.embedded import FIGURES_FILE, LessonPlan, Speaker, embedded_model
from env_tuning.model.tiny import SIZES, TinySize
from env_tuning.model.warm_start import WarmStart
from env_tuning.protocols import PromptVersion, ThinkAnswer

PERFECT = LessonPlan(speakers=[Speaker()], settings=WarmStart(steps=2, batch_size=2))
HASTY = LessonPlan(speakers=[Speaker(habits=Habits(hasty=0.5))] * 2, settings=WarmStart(steps=1))


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def tasks_file(processed_data, tmp_path_factory):
    path = tmp_path_factory.mktemp("tasks") / "three.parquet"
    three = load_tasks(processed_data / "bfcl_v3" / "bfcl_train_base.parquet")[:3]
    rows = [
        task_row(task, ThinkAnswer(), version=PromptVersion.V1, split="train", index=index)
        for index, task in enumerate(three)
    ]
    write_rows(rows, path)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def build(tasks_file, cache):
    def build_once(**changes):
        options = {
            "size": "nano",
            "pieces": 600,
            "lessons": [PERFECT, HASTY],
            "report": quiet,
            **changes,
        }
        return embedded_model(cache, tasks_file, **options)

    return build_once


@pytest.fixture(scope="module")
def folder(build):
    return build()


def test_both_lessons_are_recorded(folder):
    figures = json.loads((folder / FIGURES_FILE).read_text())["figures"]
    assert [(one["steps"], one["demonstrations"] + one["left_out"]) for one in figures] == [(2, 3), (1, 6)]


def test_speakers_of_a_share_show_other_tasks_of_their_kinds(processed_data):
    tasks = load_tasks(processed_data / "bfcl_v3" / "bfcl_train.parquet")
    third = Speaker(kinds=(Category.BASE, Category.MISS_PARAM), every=3)
    chosen = [task for offset in range(3) for task in third.choose(tasks, offset)]
    assert sorted(task.id for task in chosen) == sorted(
        task.id for task in tasks if task.split in ("multi_turn_base", "multi_turn_miss_param")
    )
    assert len(third.choose(tasks, 1)) == 67


def refuse_to_build(*args, **kwargs):
    raise AssertionError("built again")


def test_the_model_loads_and_generates(folder):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.config.model_type == "qwen3"
    assert model.dtype == torch.float32
    assert model.config.vocab_size == len(tokenizer)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hello"}], add_generation_prompt=True, return_tensors="pt"
    )
    assert model.generate(**prompt, max_new_tokens=3).shape[1] > prompt["input_ids"].shape[1]


def test_nothing_but_the_model_is_left_in_the_cache(folder, cache):
    assert [path.name for path in cache.iterdir() if path.name.startswith(".")] == []
    assert {path.name for path in folder.iterdir()} >= {"README.md", FIGURES_FILE, "model.safetensors"}


def test_a_second_call_returns_the_cached_folder_without_building(folder, build, monkeypatch):
    monkeypatch.setattr(embedded, "_build", refuse_to_build)
    assert build() == folder


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"size": TinySize(hidden=48, layers=1, heads=1, kv_heads=1, mlp=64)}, {"lessons": [PERFECT]}],
)
def test_another_setting_is_another_model(folder, build, monkeypatch, change):
    monkeypatch.setattr(embedded, "_build", refuse_to_build)
    with pytest.raises(AssertionError, match="built again"):
        build(**change)


def test_an_interrupted_build_leaves_nothing_that_is_used(tasks_file, tmp_path, monkeypatch):
    def interrupt(folder, *args):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embedded, "_build", interrupt)
        with pytest.raises(KeyboardInterrupt):
            embedded_model(tmp_path, tasks_file, size="nano", report=quiet)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_folder_is_built_again_and_the_same_recipe_gives_the_same_weights(folder, tasks_file, tmp_path):
    damaged = tmp_path / folder.name
    shutil.copytree(folder, damaged)
    (damaged / "model.safetensors").write_bytes(b"half")
    state = torch.random.get_rng_state()
    again = embedded_model(tmp_path, tasks_file, size="nano", pieces=600, lessons=[PERFECT, HASTY], report=quiet)
    assert again == damaged
    assert torch.equal(state, torch.random.get_rng_state()), "a build changed the caller's random state"
    first, second = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (folder, again))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_demonstrations_that_are_too_long_are_named_as_the_cause(tasks_file, tmp_path):
    with pytest.raises(ValueError, match=r"raise WarmStart\.longest"):
        short = LessonPlan(speakers=[Speaker()], settings=WarmStart(steps=1, longest=10))
        embedded_model(tmp_path, tasks_file, size="nano", lessons=[short], report=quiet)


def test_an_unknown_size_names_the_known_ones(tasks_file, tmp_path):
    with pytest.raises(ValueError, match="known: nano"):
        embedded_model(tmp_path, tasks_file, size="huge")


def test_every_preset_keeps_the_head_width_that_vllm_needs():
    assert all(size.head_dim == 32 for size in SIZES.values())
