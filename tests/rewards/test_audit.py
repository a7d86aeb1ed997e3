"""No reward ranks a policy without competence with the ground truth, unless the list of exploits says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from env_tuning.data.prepare import LONG_CONTEXT, load_tasks
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.environments.environment import CallStatus
from env_tuning.episode import Rules
from env_tuning.prepared_task import prepare_task
from env_tuning.protocols import ThinkAnswer
from env_tuning.rewards import cli
from env_tuning.rewards.audit import ALL, AUDITED, KNOWN, Audit, audit, documentation, report, unexpected
from env_tuning.rewards.policies import GROUND_TRUTH, POLICIES, harmless_call, play
from env_tuning.rewards.registry import REWARDS
from env_tuning.task import Task, ToolDoc
from env_tuning.trajectory import StepOutcome, StopReason, Trajectory

ROOT = Path(__file__).parents[2]
STAGES = sorted(file.stem for file in (ROOT / "configs").glob("stage*.yaml"))


def reward_of(stage: str) -> str:
    """The reward of a stage's file, or of the one that it builds on."""
    config = yaml.safe_load((ROOT / "configs" / f"{stage}.yaml").read_text(encoding="utf-8"))
    settings = config.get("env_tuning", {})
    return settings["reward"] if "reward" in settings else reward_of(config["defaults"][0])


def training_rules() -> Rules:
    base = yaml.safe_load((ROOT / "configs" / "base.yaml").read_text(encoding="utf-8"))
    return Rules(**base["env_tuning"]["interactions"]["multi_turn_tool_call"]["config"]["rules"])


REWARDS_OF_STAGES = {stage: reward_of(stage) for stage in STAGES}


@pytest.fixture(scope="module")
def validation(processed_data: Path) -> dict[str, Any]:
    return {
        "tasks": load_tasks(processed_data / "bfcl_v3" / "bfcl_val.parquet"),
        "long_context": LongContext.load(processed_data / LONG_CONTEXT),
        "rules": training_rules(),
    }


@pytest.fixture(scope="module")
def found(validation: dict[str, Any]) -> Audit:
    return audit(dict.fromkeys((*AUDITED, *REWARDS_OF_STAGES.values())), **validation)


@pytest.mark.parametrize("reward", AUDITED)
def test_nothing_reaches_the_ground_truth_but_the_known_exploits(found: Audit, reward: str) -> None:
    assert unexpected(found, reward) == ()
    rivals = found.rivals(reward)
    listed = {(exploit.policy, column) for exploit in KNOWN[reward] for column in exploit.columns}
    assert listed == {(rival.policy, rival.column) for rival in rivals}, "the list names what is no exploit any more"
    assert all(rival.mean == pytest.approx(rival.ground_truth) for rival in rivals), "better than the ground truth"


@pytest.mark.parametrize("stage", STAGES)
def test_the_reward_of_every_stage_ranks_the_ground_truth_first(found: Audit, stage: str) -> None:
    reward = REWARDS_OF_STAGES[stage]
    means = found.means[reward]
    assert unexpected(found, reward) == ()
    assert means[GROUND_TRUTH][ALL] == max(policy[ALL] for policy in means.values())
    if reward != "format":  # which knows nothing of success, by design
        assert all(means[name][ALL] < means[GROUND_TRUTH][ALL] for name in means if name != GROUND_TRUTH)


def test_every_registered_reward_and_every_stage_is_audited() -> None:
    assert set(AUDITED) >= set(REWARDS)
    assert set(KNOWN) == set(AUDITED)
    assert len(STAGES) >= 1


def test_the_exploits_of_the_authors_rewards_are_measured(found: Audit) -> None:
    for reward in ("format", "format_original"):
        assert found.means[reward]["spam"][ALL] == found.means[reward]["spam_and_answer"][ALL] == 2.0
    assert found.means["progress_original"]["first_turn_then_limit"][ALL] == 1.0
    assert found.means["progress"]["first_turn_then_limit"][ALL] < 0.3
    refusing = found.means["progress_original"]["refuse"]
    assert refusing["multi_turn_miss_func"] == refusing["multi_turn_miss_param"] == pytest.approx(0.235, abs=0.01)
    assert refusing["multi_turn_base"] == refusing["multi_turn_long_context"] == pytest.approx(0.003, abs=0.01)


def test_the_tables_in_the_docs_are_the_measured_ones(validation: dict[str, Any], found: Audit) -> None:
    text = (ROOT / "docs" / "reference" / "audit.md").read_text(encoding="utf-8")
    written = text.partition("<!-- audit -->\n")[2].partition("\n<!-- end of audit -->")[0]
    documented = Audit(means={reward: found.means[reward] for reward in AUDITED}, columns=found.columns)
    assert written == documentation(documented), (
        "copy env_tuning.rewards.audit.documentation(...) into docs/reference/audit.md"
    )


def test_the_policies_do_what_they_say(validation: dict[str, Any]) -> None:
    for task in validation["tasks"][::9]:
        prepared = prepare_task(task, protocol=ThinkAnswer(), long_context=validation["long_context"])
        played = play(prepared, POLICIES, validation["rules"])
        outcomes = {name: {step.outcome for step in each.steps} for name, each in played.items()}
        assert outcomes["null"] == outcomes["echo"] == {StepOutcome.FORMAT_ERROR}
        assert outcomes["refuse"] == {StepOutcome.ANSWER}
        assert StepOutcome.ANSWER not in outcomes["spam"] | outcomes["never_answers"]
        assert all(StepOutcome.CALLS_FAILED not in each for each in outcomes.values())
        assert played[GROUND_TRUTH].correct_turns == task.turns
        assert played["first_turn_then_limit"].stop is StopReason.RESPONSE_LENGTH or task.turns == 1
        assert len(played["first_turn_then_limit"].verdicts) == 1
        assert all(verdict.forced for verdict in played["spam"].verdicts)


def test_the_harmless_call_of_every_task_changes_nothing_whatever_was_solved_before(validation: dict[str, Any]) -> None:
    for task in validation["tasks"]:
        prepared = prepare_task(task, protocol=ThinkAnswer(), long_context=validation["long_context"])
        call = harmless_call(prepared)
        assert call is not None, task.id
        environment = prepared.environment()
        before = environment.snapshot()
        assert environment.call(call).status is CallStatus.OK
        assert environment.mismatches(before) == ()


def counter_task(*tools: str) -> Task:
    return Task(
        id="t",
        split="counting",
        user_turns=("Add one.", "Add two."),
        initial_config=json.dumps({"counter:Counter": {"value": 0}}),
        tool_classes=("counter:Counter",),
        tools=tuple(
            ToolDoc(name=name, description="", parameters={"properties": {}, "required": list(required)})
            for name, required in {"reset": (), "add": ("amount",), "read": ()}.items()
            if name in tools
        ),
        ground_truth=(("add(amount=1)",), ("add(amount=2)",)),
    )


@pytest.mark.parametrize(("tools", "harmless"), [(("add", "reset", "read"), "read"), (("add", "reset"), None)])
def test_a_call_that_undoes_what_was_solved_is_not_harmless(tools: tuple[str, ...], harmless: str | None) -> None:
    prepared = prepare_task(counter_task(*tools), protocol=ThinkAnswer())
    call = harmless_call(prepared)
    assert (None if call is None else call.name) == harmless
    spam = play(prepared, POLICIES, Rules(steps_per_turn=3))["spam"]
    assert len(spam.steps) == (2 if harmless is None else 6)


def wordy(trajectory: Trajectory) -> dict[str, float]:
    return {"score": float(len(trajectory.steps))}


def careful(trajectory: Trajectory) -> dict[str, float]:
    return {"score": trajectory.correct_turns - 0.1 * len(trajectory.steps)}


def test_a_reward_of_ones_own_can_be_audited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    bad, good = f"{__name__}:wordy", f"{__name__}:careful"
    mine = audit([bad, good], [counter_task("add", "read")], rules=Rules(steps_per_turn=4))
    assert {rival.policy for rival in unexpected(mine, bad)} == {
        "never_answers",
        "spam",
        "spam_and_answer",
        "echo",
        "null",
    }
    assert "spam earns no less than the ground truth on counting, all" in report(mine, bad)
    assert unexpected(mine, good) == ()
    assert report(mine, good).splitlines()[-1] == "the ground truth earns more than every other policy"


def test_an_audit_without_tasks_or_of_an_unknown_reward_says_so() -> None:
    with pytest.raises(ValueError, match="no tasks"):
        audit(["progress"], [])
    with pytest.raises(ValueError, match="did you mean 'progress'"):
        audit(["progres"], [counter_task("add")])


def test_the_command_reports_and_fails_for_what_is_reached_on_all_tasks(
    processed_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    app = typer.Typer()
    app.command()(cli.audit)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments, "--data", str(processed_data)])

    good = run("format", "--tasks", "validation")
    assert good.exit_code == 0, good.output
    assert good.output.splitlines()[0] == "reward format"
    assert run("progress", "--tasks", "multi_turn_base_4").exit_code == 0, "known of all splits that are played"
    bad = run(f"{__name__}:wordy", "--tasks", "multi_turn_base_4")
    assert bad.exit_code == 1
    assert "spam earns no less than the ground truth on multi_turn_base, all" in bad.output
