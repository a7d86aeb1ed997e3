"""The configuration group, as a stage composes it and the interaction reads it."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from env_tuning.augmentation.policy import OFF, ON, HintPolicy
from env_tuning.interaction.multi_turn import MultiTurnToolInteraction
from env_tuning.verl_plugin.compose import compose_config

CONFIGS = Path(__file__).parents[2] / "configs"
KEY = "env_tuning.interactions.multi_turn_tool_call.config"
SPLIT = "multi_turn_base"


def interaction(*overrides: str) -> MultiTurnToolInteraction:
    config = compose_config(CONFIGS, "stage1", ["hardware=cpu", *overrides])
    return MultiTurnToolInteraction(OmegaConf.to_container(OmegaConf.select(config, KEY), resolve=True))


@pytest.mark.parametrize(
    ("overrides", "policy"),
    [
        ((), OFF),
        (("augmentation=on",), ON),
        (("augmentation=annealed", f"{KEY}.augmentation.steps=[5,9]"), HintPolicy(start=1, end=0, steps=(5, 9))),
        (("augmentation=first_k", f"{KEY}.augmentation.k=1"), HintPolicy(start=1, end=1, per_turn=1)),
        (("augmentation=on", f"+{KEY}.augmentation.splits.{SPLIT}=off"), OFF),
    ],
)
def test_a_stage_chooses_its_hints(overrides, policy):
    made = interaction(*overrides)
    assert made.policies.of(SPLIT) == policy
    assert made.eval_policies.of(SPLIT) == OFF


def test_validation_shows_hints_only_when_it_is_told_to():
    made = interaction("augmentation=off", f"{KEY}.eval_augmentation.mode=on")
    assert (made.policies.of(SPLIT), made.eval_policies.of(SPLIT)) == (OFF, ON)


def test_a_key_of_another_mode_is_refused_by_name():
    with pytest.raises(ValueError, match=r"\['k'\] for mode 'on'"):
        interaction("augmentation=on", f"+{KEY}.augmentation.k=1")
