"""Arithmetic of memory: parameters to the last one, and formulas against what is known."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from patients import PROJECT, SHAPE

from env_tuning.doctor.machine import GIB
from env_tuning.doctor.memory import CHECKPOINT_BYTES, SIZES, Load, ModelShape, estimate, remedy, table


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama", "mistral"])
@pytest.mark.parametrize("tied", [False, True])
def test_parameters_are_those_of_the_model_class(kind, tied):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    described = SHAPE | {"model_type": kind, "tie_word_embeddings": tied, "head_dim": 32 if kind == "qwen3" else 16}
    config = transformers.AutoConfig.for_model(**described)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    real = sum(parameter.numel() for parameter in {id(p): p for p in model.parameters()}.values())
    if tied:
        real -= 0 if model.lm_head.weight is model.model.embed_tokens.weight else model.lm_head.weight.numel()
    shape = ModelShape.read(described)
    assert shape.parameters == real


@pytest.mark.parametrize(
    ("size", "billions"), [("0.5B", 0.49), ("1.5B", 1.54), ("3B", 3.09), ("7B", 7.61), ("14B", 14.7), ("32B", 32.5)]
)
def test_the_listed_sizes_are_those_that_the_models_are_sold_under(size, billions):
    # The model cards round, and some leave out the output layer.
    assert SIZES[size].parameters / 1e9 == pytest.approx(billions, rel=0.02)


def test_an_unknown_kind_is_not_guessed():
    assert ModelShape.read({"model_type": "mamba"}) is None


SEVEN = SIZES["7B"]


def test_states_are_sixteen_bytes_a_parameter_split_over_all_gpus():
    one, eight = (estimate(SEVEN, Load(gpus=gpus, tokens=1000, sequence=1000)) for gpus in (1, 8))
    assert one.states == 16 * SEVEN.parameters
    assert eight.states == pytest.approx(one.states / 8, abs=8)
    assert eight.resting == pytest.approx(12 * SEVEN.parameters / 8, rel=1e-6)


def test_a_token_of_cache_is_two_bytes_for_every_key_and_value():
    found = estimate(SEVEN, Load(gpus=8, tokens=1000, sequence=10_000))
    assert found.cache_per_sequence == 10_000 * 2 * 28 * 4 * 128 * 2
    assert estimate(SEVEN, Load(gpus=8, tokens=1, sequence=10_000, tensor_parallel=2)).cache_per_sequence * 2 == (
        found.cache_per_sequence
    )


def test_logits_cost_ten_bytes_a_word_where_they_are_written():
    fused, written = (estimate(SEVEN, Load(gpus=8, tokens=100, sequence=1, fused=fused)) for fused in (True, False))
    assert (fused.logits, written.logits) == (0, 10 * 100 * 152064)


def test_a_model_fits_from_some_number_of_gpus_on():
    fits = [
        estimate(SEVEN, load).fits(load, 80 * GIB)
        for load in (Load(gpus=gpus, tokens=65536, sequence=18192) for gpus in (1, 2, 4, 8, 16))
    ]
    assert fits == sorted(fits)
    assert (fits[0], fits[-1]) == (False, True)


def test_an_engine_without_room_for_one_episode_does_not_fit():
    load = Load(gpus=8, tokens=1000, sequence=18192, share=0.2)
    found = estimate(SEVEN, load)
    assert found.training < 80 * GIB
    assert (found.sequences(load, 80 * GIB), found.fits(load, 80 * GIB)) == (1, True)
    small = Load(gpus=8, tokens=1000, sequence=18192, share=0.1)
    assert (found.sequences(small, 80 * GIB), found.fits(small, 80 * GIB)) == (0, False)


def test_the_table_has_a_line_for_every_model_and_number_of_gpus():
    loads = [Load(gpus=gpus, tokens=1000, sequence=1000) for gpus in (1, 2, 8, 16)]
    lines = table(SIZES, loads, 80 * GIB).splitlines()
    assert len(lines) == 1 + len(SIZES) * len(loads)
    assert {line.split()[0] for line in lines[1:]} == set(SIZES)


def test_a_checkpoint_has_no_more_than_the_stated_bytes(tmp_path):
    # What verl writes with the configured contents: fp32 weights, two moments of Adam, and a Hugging Face folder.
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(256, 256, bias=False)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 256)).sum().backward()
    optimizer.step()
    torch.save(layer.state_dict(), tmp_path / "model.pt")
    torch.save(optimizer.state_dict(), tmp_path / "optim.pt")
    torch.save(layer.state_dict(), tmp_path / "hf.pt")
    written = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert written == pytest.approx(CHECKPOINT_BYTES * 256 * 256, rel=0.02)


def test_a_description_without_head_size_or_groups_is_read():
    described = {key: value for key, value in SHAPE.items() if key != "num_key_value_heads"}
    shape = ModelShape.read(json.loads(json.dumps(described)))
    assert (shape.head_size, shape.kv_heads) == (16, 4)


def test_a_model_of_the_hub_is_described_by_the_hub(monkeypatch):
    transformers = pytest.importorskip("transformers")
    from env_tuning.doctor.evidence import Evidence

    def described(path):
        if path != "their/model":
            raise OSError("no such model")
        return transformers.AutoConfig.for_model(**SHAPE)

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", described)
    shapes = [
        Evidence({"actor_rollout_ref": {"model": {"path": path}}}).shape
        for path in ("their/model", "no/model", "/no/model", "")
    ]
    assert [shape and shape.layers for shape in shapes] == [2, None, None, None]


def test_the_gpu1_group_says_what_fits():
    from omegaconf import OmegaConf

    from env_tuning.verl_plugin.compose import compose_config

    words = (PROJECT / "configs" / "hardware" / "gpu1.yaml").read_text(encoding="utf-8")
    assert "0.5 billion parameters in 24 GB, 1.5 billion in 40 GB" in words
    overrides = ["hardware=gpu1", "data.train_files=a", "env_tuning.home=."]
    load = Load.read(OmegaConf.to_container(compose_config(PROJECT / "configs", "stage3", overrides), resolve=True))
    fits = {
        (size, gib): estimate(SIZES[size], load).fits(load, gib * GIB) for size in ("0.5B", "1.5B") for gib in (24, 40)
    }
    assert fits == {("0.5B", 24): True, ("0.5B", 40): True, ("1.5B", 24): False, ("1.5B", 40): True}


@pytest.mark.parametrize("gpus", [1, 2, 8, 16])
@pytest.mark.parametrize("size", SIZES)
def test_what_is_said_to_make_a_model_fit_makes_it_fit_and_less_does_not(size, gpus):
    load = Load(gpus=gpus, tokens=65536, sequence=18192)
    found = remedy(SIZES[size], load, 80 * GIB)
    fits = estimate(SIZES[size], load).fits(load, 80 * GIB)
    assert (found == load) == fits
    if found is not None and not fits:
        assert estimate(SIZES[size], found).fits(found, 80 * GIB)
        undone = [
            replace(found, **{name: getattr(load, name)})
            for name in ("share", "tensor_parallel", "tokens", "offload")
            if getattr(found, name) != getattr(load, name)
        ]
        assert not [less for less in undone if estimate(SIZES[size], less).fits(less, 80 * GIB)]


def test_what_makes_models_fit_is_in_the_table():
    lines = table({"32B": SIZES["32B"]}, [Load(gpus=gpus, tokens=65536, sequence=18192) for gpus in (1, 16)], 80 * GIB)
    one, sixteen = lines.splitlines()[1:]
    assert one.endswith(" no")
    assert sixteen.endswith(" with share 0.6, engine over 2, 32768 tokens")
