"""Boundaries between rooms, held by importing them in a fresh interpreter."""

import json
import subprocess
import sys

PURE = [
    "env_tuning.task", "env_tuning.calls", "env_tuning.trajectory", "env_tuning.episode", "env_tuning.judge",
    "env_tuning.protocols", "env_tuning.environments.registry", "env_tuning.rewards.registry",
    "env_tuning.augmentation.book", "env_tuning.augmentation.coverage", "env_tuning.augmentation.leaks",
    "env_tuning.augmentation.metrics", "env_tuning.interaction.multi_turn", "env_tuning.launch", "env_tuning.cli",
    "env_tuning.contract", "env_tuning.play", "env_tuning.report.page", "env_tuning.report.plots",
    "env_tuning.doctor.cli", "env_tuning.doctor.examine",
    "env_tuning.function_calling.interaction", "env_tuning.function_calling.rewards",
    "env_tuning.function_calling.launching", "env_tuning.tool_grpo.launching", "env_tuning.rewards.by_tool",
]  # fmt: skip
HEAVY = ["verl", "torch", "ray", "transformers", "hydra", "pandas", "pyarrow"]


def loaded_after(imports: str) -> set[str]:
    code = f"import sys, json; {imports}; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(json.loads(output))


def test_pure_rooms_never_load_the_training_stack():
    loaded = loaded_after("import " + ", ".join(PURE))
    assert not loaded & set(HEAVY)


def test_rewards_never_reach_environments():
    loaded = loaded_after("import env_tuning.rewards.registry")
    assert not [name for name in loaded if name.startswith("env_tuning.environments")]


def test_counting_hints_never_reaches_environments():
    loaded = loaded_after("import env_tuning.augmentation.metrics")
    assert not [name for name in loaded if name.startswith("env_tuning.environments")]


def test_the_command_line_loads_no_hints_before_they_are_asked_for():
    loaded = loaded_after("import env_tuning.cli")
    assert {name for name in loaded if name.startswith("env_tuning.augmentation.")} == {"env_tuning.augmentation.cli"}


def test_importing_the_package_loads_nothing_of_it():
    loaded = loaded_after("import env_tuning")
    assert {name for name in loaded if name.startswith("env_tuning.")} == set()
