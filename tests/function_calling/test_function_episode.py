"""Stages of an episode, the scripted user, grades and rewards."""

import asyncio
import json

import pytest

from env_tuning.function_calling.episode import (
    FunctionCallingEpisode,
    Rules,
    planned_turns,
)
from env_tuning.function_calling.families import FAMILIES, family
from env_tuning.function_calling.grades import Stage, grades
from env_tuning.function_calling.interaction import FunctionCallingInteraction
from env_tuning.function_calling.offline import offline_dialogues, offline_tools
from env_tuning.function_calling.prepare import row
from env_tuning.function_calling.records import Dialogue, GoldCall, Request
from env_tuning.function_calling.rewards import dense, origin
from env_tuning.trajectory import StepOutcome, StopReason, Trajectory

TOOLS = offline_tools()
TWO = Request(
    query="Call Mira. Weather in Oslo?",
    calls=(
        GoldCall(name="call_person", arguments={"person": "Mira"}),
        GoldCall(name="get_weather", arguments={"city": "Oslo"}),
    ),
)
NONE = Request(query="Knit me a scarf.")
MISSING = Request(
    query="Book a hotel in Lima.",
    calls=(GoldCall(name="book_hotel", arguments={"city": "Lima", "nights": 3}),),
    withheld={"book_hotel": ("nights",)},
)
CANDIDATES = ["call_person", "get_weather", "book_hotel", "set_alarm"]


def start(*requests, **rules):
    dialogue = Dialogue(id="d", requests=requests)
    return FunctionCallingEpisode(
        dialogue, tools=TOOLS, candidates=[CANDIDATES] * len(requests), family=family("plain"), rules=Rules(**rules)
    )


def play(episode, *messages):
    """The trajectory after messages; the episode must be over after the last and not before."""
    reactions = [episode.step(message) for message in messages]
    assert [reaction.over for reaction in reactions] == [*[False] * (len(messages) - 1), True]
    return episode.trajectory()


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.parametrize("questioning", [True, False])
@pytest.mark.parametrize("roles", [True, False])
def test_perfect_messages_earn_everything(name, questioning, roles):
    rules = Rules(questioning=questioning, stop_at_error=True, roles=roles)
    for dialogue in offline_dialogues(60, seed=2):
        episode = FunctionCallingEpisode(
            dialogue,
            tools=TOOLS,
            candidates=[list(TOOLS)] * len(dialogue.requests),
            family=family(name),
            rules=rules,
        )
        while not episode.over:
            episode.step(episode.right_message())
        trajectory = episode.trajectory()
        assert len(trajectory.verdicts) == trajectory.turns == planned_turns(dialogue, rules)
        assert dense(trajectory).score == pytest.approx(1.0)
        assert origin(trajectory).score == pytest.approx(trajectory.turns + 2 / trajectory.turns)
        assert Trajectory.from_json(trajectory.to_json()) == trajectory


def test_each_selected_tool_is_filled_in_the_order_of_the_answers():
    episode = start(TWO)
    first = episode.step("get_weather, call_person")
    assert first.content.startswith("Parameters of call_person:\n- person (str, required)")
    second = episode.step('[{"person": "Mira"}]')
    assert "- day (str, optional): The day." in second.content
    assert episode.step('[{"city": "oslo"}]').over
    assert dense(episode.trajectory()).score == pytest.approx(1.0)


def test_wrong_selections_go_on_with_what_is_right():
    episode = start(TWO)
    assert episode.step("get_weather, set_alarm, no_such_tool").content.startswith("Parameters of get_weather")
    assert episode.step('[{"city": "Oslo"}]').over
    score = dense(episode.trajectory())
    assert score.turns == pytest.approx((0.5 * 0.4 / 3, 0.5 / 3))
    assert score.parts["invented_tools"] == 1.0
    assert score.parts["success"] == 0.0
    assert grades(episode.trajectory())[0].stage is Stage.SELECT


def test_nothing_right_ends_the_request():
    assert play(start(TWO), "set_alarm").correct_turns == 0
    assert play(start(TWO), "I think the weather tool").steps[0].outcome is StepOutcome.FORMAT_ERROR


def test_no_suitable_tool_has_a_right_answer():
    trajectory = play(start(NONE), "none")
    assert dense(trajectory).score == 1.0
    assert origin(trajectory).score == 3.0
    assert not trajectory.verdicts[0].expects_calls
    wrong = play(start(NONE), "set_alarm")
    assert dense(wrong).score == 0.0
    assert origin(wrong).score == -1.0


@pytest.mark.parametrize(
    ("messages", "value"),
    [
        (["call_person"], -0.5),
        (["call_person, set_alarm"], -1.0),
        (["none"], -1.0),
        (["call_person, get_weather", '[{"person": "Omar"}]'], 0.0),
        (["call_person, get_weather", "[]"], 0.0),
        (["call_person, get_weather", '[{"person": "Mira"}]', "what?"], 1.0),
        (["call_person, get_weather", '[{"person": "Mira"}]', '[{"city": "Oslo"}]'], 3.0 + 2 / 3),
    ],
)
def test_the_table_of_the_origin(messages, value):
    assert origin(play(start(TWO, stop_at_error=True), *messages)).score == pytest.approx(value)


def test_the_origin_counts_to_the_first_error_however_the_episode_goes_on():
    messages = ["get_weather", '[{"city": "Oslo"}]']
    assert origin(play(start(TWO), *messages)).score == -0.5


def test_what_is_missing_is_asked_for_and_told():
    episode = start(MISSING)
    assert "ask:" in episode.opening()[0]["content"]
    episode.step("book_hotel")
    told = episode.step("ask: nights")
    assert told.grade.stage is Stage.ASK
    assert told.content.startswith("nights: 3\n")
    assert episode.step('[{"city": "Lima", "nights": 3}]').over
    assert dense(episode.trajectory()).score == pytest.approx(1.0)


def test_a_guess_in_place_of_a_question_is_wrong_even_if_it_is_right():
    episode = start(MISSING)
    episode.step("book_hotel")
    guess = episode.step('[{"city": "Lima", "nights": 3}]')
    assert not guess.grade.right
    assert guess.content.startswith("nights: 3\n")
    assert episode.step('[{"city": "Lima", "nights": 3}]').over
    assert dense(episode.trajectory()).score == pytest.approx(1 / 3)


def test_a_question_for_the_wrong_parameters_is_answered_as_far_as_it_goes():
    episode = start(MISSING)
    episode.step("book_hotel")
    asked = episode.step("ask: city, price")
    assert (asked.grade.share, asked.content.splitlines()[0]) == (0.0, "city: Lima")


def test_a_question_without_need_is_wrong():
    episode = start(TWO)
    episode.step("call_person")
    assert episode.step("ask: person").grade == grades(episode.trajectory())[1]
    assert not episode.trajectory().verdicts[1].correct


def test_without_questioning_the_query_says_what_is_withheld():
    episode = start(MISSING, questioning=False)
    opening = episode.opening()
    assert "Book a hotel in Lima. (nights: 3)" in opening[1]["content"]
    assert "ask:" not in opening[0]["content"]
    assert dense(play(episode, "book_hotel", '[{"city": "Lima", "nights": 3}]')).score == pytest.approx(1.0)


def test_a_dialogue_goes_on_after_an_error():
    episode = start(TWO, NONE)
    following = episode.step("set_alarm")
    assert following.content.startswith("Request: Knit me a scarf.")
    assert episode.step("none").over
    assert dense(episode.trajectory()).score == pytest.approx(0.5 / 4)


def test_a_cut_message_closes_no_turn():
    episode = start(TWO)
    episode.step("call_person, get_weather")
    episode.cut(StopReason.MESSAGE_LENGTH, '[{"per')
    trajectory = episode.trajectory()
    assert (len(trajectory.steps), len(trajectory.verdicts)) == (2, 1)
    assert dense(trajectory).score == pytest.approx(0.5 / 3)


def test_candidates_and_requests_must_correspond():
    with pytest.raises(ValueError, match="1 requests, candidates for 2"):
        FunctionCallingEpisode(
            Dialogue(id="d", requests=(NONE,)), tools=TOOLS, candidates=[[], []], family=family("plain"), rules=Rules()
        )
    with pytest.raises(ValueError, match="no such tools"):
        FunctionCallingEpisode(
            Dialogue(id="d", requests=(NONE,)), tools={}, candidates=[["x"]], family=family("plain"), rules=Rules()
        )


def test_a_row_becomes_an_episode():
    kwargs = row(
        Dialogue(id="d", requests=(TWO, NONE)), TOOLS, [CANDIDATES, CANDIDATES[:2]], source="offline", index=0
    )["extra_info"]["interaction_kwargs"]

    async def whole():
        interaction = FunctionCallingInteraction({"family": "plain", "rules": {"stop_at_error": True}})
        episode = await interaction.start_interaction("e", **kwargs)
        assert interaction.opening_messages(episode, [])[1]["content"].startswith("Request: Call Mira.")
        message = [{"role": "assistant", "content": "call_person"}]
        over, content, reward, _ = await interaction.generate_response(episode, message)
        assert (over, content, reward) == (True, "", pytest.approx(2 / 3))
        assert await interaction.calculate_score(episode) == pytest.approx(0.5 * 2 / 3 / 4)
        with pytest.raises(ValueError, match="already open"):
            await interaction.start_interaction("e", **kwargs)
        await interaction.finalize_interaction(episode)

    asyncio.run(whole())


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="unknown interaction keys"):
        FunctionCallingInteraction({"families": "qwen"})
    with pytest.raises(ValueError, match="unknown rules keys"):
        FunctionCallingInteraction({"rules": {"questions": True}})


def test_trajectories_of_other_interactions_have_no_grades():
    episode = start(NONE)
    trajectory = Trajectory.from_dict({**json.loads(play(episode, "none").to_json()), "steps": []})
    with pytest.raises(ValueError, match="no grades"):
        dense(trajectory)


def test_roles_are_told_and_the_questioner_is_asked_about_every_tool():
    episode = start(MISSING, roles=True)
    system, first = episode.opening()
    assert "ask:" not in system["content"]
    assert first["content"].startswith("You are the selector")
    asked = episode.step("book_hotel")
    assert asked.content.startswith("You are the questioner")
    told = episode.step("ask: nights")
    assert told.grade.stage is Stage.ASK
    assert told.grade.right
    assert told.content.startswith("nights: 3\nYou are the filler")
    assert episode.step('[{"city": "Lima", "nights": 3}]').over
    assert dense(episode.trajectory()).score == pytest.approx(1.0)


@pytest.mark.parametrize(("said", "share"), [("none", 1.0), ("ask: city", 0.0), ("What?", 0.0)])
def test_a_questioner_that_nothing_is_missing_for_asks_nothing(said, share):
    request = Request(query="Call Mira.", calls=TWO.calls[:1])
    episode = start(request, roles=True)
    episode.step("call_person")
    answered = episode.step(said)
    assert (answered.grade.share, answered.grade.right) == (share, share == 1.0)
    assert "You are the filler" in answered.content
    assert answered.content.startswith("I have said all I know.") is (said == "ask: city")
    assert episode.step('[{"person": "Mira"}]').over


def test_a_questioner_that_asks_nothing_is_told_what_is_missing():
    episode = start(MISSING, roles=True)
    episode.step("book_hotel")
    answered = episode.step("none")
    assert not answered.grade.right
    assert answered.content.startswith("nights: 3\n")
