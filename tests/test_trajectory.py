from hypothesis import given
from hypothesis import strategies as st

from env_tuning.trajectory import (
    CallRecord,
    LimitHit,
    StepOutcome,
    StepRecord,
    StopReason,
    Trajectory,
    TurnFailure,
    TurnVerdict,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
CALLS = st.builds(
    CallRecord,
    name=st.text(),
    arguments=st.dictionaries(st.text(), JSON, max_size=3),
    result=st.none() | st.text(),
    status=st.none() | st.sampled_from(["ok", "error", "exception"]),
)
STEPS = st.builds(
    StepRecord,
    turn=st.integers(0, 9),
    text=st.text(),
    outcome=st.sampled_from(StepOutcome),
    calls=st.lists(CALLS, max_size=2).map(tuple),
    limits=st.lists(st.sampled_from(LimitHit), max_size=2).map(tuple),
    observation=st.text(),
    closed_turn=st.booleans(),
)
VERDICTS = st.builds(
    TurnVerdict,
    turn=st.integers(0, 9),
    correct=st.booleans(),
    failure=st.none() | st.sampled_from(TurnFailure),
    mismatched_classes=st.lists(st.text(), max_size=2).map(tuple),
    missing_responses=st.lists(st.text(), max_size=2).map(tuple),
)
TRAJECTORIES = st.builds(
    Trajectory,
    task_id=st.text(),
    split=st.text(),
    turns=st.integers(1, 9),
    steps=st.lists(STEPS, max_size=4).map(tuple),
    verdicts=st.lists(VERDICTS, max_size=4).map(tuple),
    stop=st.sampled_from(StopReason),
    system_prompt=st.text(),
    first_request=st.text(),
)


@given(TRAJECTORIES)
def test_a_trajectory_survives_json(trajectory):
    assert Trajectory.from_json(trajectory.to_json()) == trajectory
    assert "\n" not in trajectory.to_json()


def test_only_a_completed_episode_is_not_truncated():
    assert [reason for reason in StopReason if not reason.is_truncated] == [StopReason.COMPLETED]
