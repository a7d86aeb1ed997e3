"""Hints through an episode and through the interaction: shown to the model, recorded, and never judged."""

import asyncio
import json

import pytest
from counter import Counter

from env_tuning.augmentation.book import Augmentation, HintBook
from env_tuning.augmentation.policy import OFF, ON, HintPolicy
from env_tuning.augmentation.rules import ErrorCategory, HintKind, HintRule
from env_tuning.data.rows import task_row
from env_tuning.episode import Episode, Rules
from env_tuning.interaction.multi_turn import MultiTurnToolInteraction
from env_tuning.prepared_task import prepare_task
from env_tuning.protocols import PromptVersion, ThinkAnswer
from env_tuning.task import Task, ToolDoc
from env_tuning.trajectory import LimitHit, Trajectory

SENTENCE = "Stay small."


class Timid(Counter):
    """A counter that declines large amounts, at length."""

    def add(self, amount):
        """Add."""
        return {"error": "too large " + "x" * 50} if amount > 9 else super().add(amount)

    @classmethod
    def hints(cls):
        """One rule of its own."""
        yield HintRule(
            name="timid.add",
            tools=("add",),
            pattern="too large",
            category=ErrorCategory.PARAMETER_CONSTRAINT,
            kind=HintKind.CLARIFY_CONSTRAINT,
            text=SENTENCE,
        )


def doc(name: str, *parameters: str) -> ToolDoc:
    properties = {parameter: {"type": "integer", "description": "A number."} for parameter in parameters}
    return ToolDoc(
        name=name,
        description=f"{name}.",
        parameters={"type": "dict", "properties": properties, "required": list(parameters)},
    )


TASK = Task(
    id="timid_0",
    split="timid",
    user_turns=("Add 2.", "", "And which number is it?"),
    initial_config="{}",
    tool_classes=(f"{__name__}:Timid",),
    tools=(doc("add", "amount"), doc("read"), doc("reset")),
    ground_truth=(("add(amount=2)",), ("reset()",), ("read()",)),
    releases={1: ("reset",)},
)
A = "<think>t</think><answer>done</answer>"


def T(*calls) -> str:
    return f"<think>t</think><tool_call>{json.dumps([{'name': n, 'arguments': a} for n, a in calls])}</tool_call>"


def start(policy: HintPolicy = ON, *, step: int | None = None, **rules) -> Episode:
    prepared = prepare_task(TASK, protocol=ThinkAnswer())
    augmentation = Augmentation(HintBook(TASK), policy, episode="e", step=step)
    return Episode(prepared, Rules(**rules), augmentation)


def test_the_model_sees_the_hint_after_the_raw_result_and_the_record_keeps_both():
    reaction = start().step(T(("add", {"amount": 10})))
    (call,) = reaction.step.calls
    assert call.result == json.dumps({"error": "too large " + "x" * 50})
    assert (call.hint.rule, call.hint.category, call.hint.text) == ("timid.add", "parameter_constraint", SENTENCE)
    assert f"{json.dumps(call.result)[:-1]} Hint: {SENTENCE}" in reaction.content


def test_without_a_policy_that_shows_hints_nothing_changes():
    messages = [T(("add", {"amount": 10})), "x", T(("nosuch", {})), A]
    plain = Episode(prepare_task(TASK, protocol=ThinkAnswer()))
    silent = start(OFF)
    assert [plain.step(text) for text in messages] == [silent.step(text) for text in messages]


def test_hints_change_no_verdict():
    messages = [T(("add", {"amount": 10}), ("add", {"amount": 2})), A, T(("nosuch", {})), A, T(("read", {})), A]
    plain, hinted = Episode(prepare_task(TASK, protocol=ThinkAnswer())), start()
    for text in messages:
        plain.step(text)
        hinted.step(text)
    assert hinted.trajectory().verdicts == plain.trajectory().verdicts
    assert [verdict.correct for verdict in hinted.trajectory().verdicts] == [True, False, False]


def test_a_long_result_is_cut_and_its_hint_is_not():
    reaction = start(result_characters=12).step(T(("add", {"amount": 10})))
    assert reaction.content.count(f"more characters are not shown] Hint: {SENTENCE}") == 1
    assert reaction.step.limits == (LimitHit.RESULT_CHARACTERS,)


def test_a_hint_alone_is_no_cut():
    assert start().step(T(("add", {"amount": 10}))).step.limits == ()


def test_a_result_that_is_never_shown_records_no_hint():
    reaction = start(steps_per_turn=1).step(T(("add", {"amount": 10})))
    assert reaction.step.closed_turn
    assert reaction.step.calls[0].hint is None
    assert start(steps_per_turn=1).step("x").step.hint is None


def test_a_tool_that_is_held_back_is_no_name_to_suggest_before_its_release():
    episode = start()
    early = episode.step(T(("resett", {}))).step.calls[0].hint
    episode.step(A)
    late = episode.step(T(("resett", {}))).step.calls[0].hint
    assert early.rule == late.rule == "generic.unknown_tool"
    assert "reset" not in early.text
    assert "`reset`" in late.text


def test_a_format_error_gets_a_hint_of_its_own():
    reaction = start().step("<think>t</think><tool_call>[{'name': 'read', 'arguments': {}}]</tool_call>")
    assert reaction.step.hint.rule == "format.single_quotes"
    assert reaction.content.endswith(f" Hint: {reaction.step.hint.text}")


def test_the_first_hints_of_every_turn():
    episode = start(HintPolicy(start=1, end=1, per_turn=2))
    wrong = T(*[("add", {"amount": 10})] * 3)
    assert [call.hint is not None for call in episode.step(wrong).step.calls] == [True, True, False]
    assert [call.hint is not None for call in episode.step(wrong).step.calls] == [False] * 3
    episode.step(A)
    assert [call.hint is not None for call in episode.step(wrong).step.calls] == [True, True, False]


def test_the_record_survives_json_and_old_records_still_load():
    episode = start()
    episode.step(T(("add", {"amount": 10})))
    episode.step("<think>t</think><tool_call>[{'name': 'read', 'arguments': {}}]</tool_call>")
    trajectory = episode.trajectory()
    assert trajectory.steps[0].calls[0].hint is not None
    assert Trajectory.from_json(trajectory.to_json()) == trajectory
    old = trajectory.to_dict()
    for step in old["steps"]:
        del step["hint"]
        for call in step["calls"]:
            del call["hint"]
    loaded = Trajectory.from_dict(old)
    assert [step.hint for step in loaded.steps] == [None, None]
    assert loaded.steps[0].calls[0].hint is None


def played(config, *, validate=False, step=None, split="timid", instance="one") -> list[bool]:
    """Whether each of eight failing calls got a hint."""

    async def run() -> list[bool]:
        interaction = MultiTurnToolInteraction({**config, "rules": {"steps_per_turn": 20}})
        row = task_row(TASK, ThinkAnswer(), version=PromptVersion.V1, split="train", index=0)
        kwargs = {**row["extra_info"]["interaction_kwargs"], "split": split}
        await interaction.start_interaction(instance, validate=validate, step=step, **kwargs)
        message = {"role": "assistant", "content": T(("add", {"amount": 10}))}
        for _ in range(8):
            await interaction.generate_response(instance, [message])
        return [step.calls[0].hint is not None for step in interaction.trajectory(instance).steps]

    return asyncio.run(run())


ANNEALED = {"mode": "annealed", "start": 1.0, "end": 0.0, "steps": [0, 10]}


def test_the_interaction_shows_hints_as_configured_and_none_in_validation():
    assert played({}) == [False] * 8
    assert played({"augmentation": "on"}) == [True] * 8
    assert played({"augmentation": {"mode": "on"}}, validate=True) == [False] * 8
    assert played({"eval_augmentation": "on"}, validate=True) == [True] * 8
    assert played({"augmentation": {"mode": "on", "splits": {"timid": "off"}}}) == [False] * 8
    assert played({"augmentation": {"mode": "on", "splits": {"timid": "off"}}}, split="other") == [True] * 8


def test_annealed_hints_follow_the_training_step_and_repeat_for_the_same_episode():
    assert played({"augmentation": ANNEALED}, step=0) == [True] * 8
    assert played({"augmentation": ANNEALED}, step=10) == [False] * 8
    halfway = played({"augmentation": ANNEALED}, step=5)
    assert 0 < sum(halfway) < 8
    assert played({"augmentation": ANNEALED}, step=5) == halfway
    assert played({"augmentation": ANNEALED}, step=5, instance="two") != halfway


def test_annealed_hints_without_the_training_step_are_refused():
    with pytest.raises(ValueError, match="training step"):
        played({"augmentation": ANNEALED})


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"augmentations": "on"}, "augmentations"),
        ({"augmentation": "sometimes"}, "sometimes"),
        ({"augmentation": {"mode": "on", "k": 2}}, "k"),
        ({"augmentation": {"mode": "first_k"}}, "k"),
        ({"augmentation": {"mode": "first_k", "k": 0}}, "k is 0"),
        ({"augmentation": {"mode": "annealed", "steps": [5, 1]}}, "steps"),
        ({"augmentation": {"mode": "annealed", "steps": 5}}, "steps"),
        ({"augmentation": {"mode": "annealed", "steps": [0, 1], "start": 2}}, "start"),
        ({"augmentation": {"mode": "on", "splits": {"base": {"mode": "never"}}}}, "never"),
        ({"augmentation": 3}, "augmentation is 3"),
        ({"augmentation": {"mode": "on", "splits": ["base"]}}, "splits"),
    ],
)
def test_a_wrong_key_or_value_is_named(config, named):
    with pytest.raises(ValueError, match=named):
        MultiTurnToolInteraction(config)
