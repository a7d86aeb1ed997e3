"""When hints are shown."""

import pytest

from env_tuning.augmentation.policy import OFF, ON, HintPolicy, read_policies, read_policy


def shown(policy: HintPolicy, *, episode: str = "e", step: int | None = None, calls: int = 1000) -> list[bool]:
    probability = policy.probability(step)
    return [
        policy.shows(episode=episode, number=number, probability=probability, shown_in_turn=0)
        for number in range(calls)
    ]


def test_off_shows_none_and_on_shows_all():
    assert not any(shown(OFF))
    assert all(shown(ON))
    assert (OFF.is_off, ON.is_off) == (True, False)


@pytest.mark.parametrize(("step", "probability"), [(0, 0.8), (10, 0.8), (15, 0.6), (20, 0.4), (30, 0.2), (99, 0.2)])
def test_the_probability_changes_evenly_between_the_steps(step, probability):
    policy = read_policy({"mode": "annealed", "start": 0.8, "end": 0.2, "steps": [10, 25]})
    assert policy.probability(step) == pytest.approx(0.8 - 0.6 * min(max(0, step - 10) / 15, 1))
    assert step not in (0, 10, 30, 99) or policy.probability(step) == pytest.approx(probability)


def test_hints_may_also_become_more_frequent_and_change_at_once():
    policy = read_policy({"mode": "annealed", "start": 0, "end": 1, "steps": [5, 5]})
    assert [policy.probability(step) for step in (4, 5, 6)] == [0, 1, 1]
    assert not policy.is_off


def test_chance_is_the_probability_and_depends_on_episode_and_call_alone():
    policy = HintPolicy(start=0.3, end=0.3)
    one, two = shown(policy), shown(policy, episode="f")
    assert one == shown(policy)
    assert one != two
    assert sum(one) / 1000 == pytest.approx(0.3, abs=0.05)
    assert sum(two) / 1000 == pytest.approx(0.3, abs=0.05)


def test_what_is_shown_at_a_low_probability_is_shown_at_a_higher_one():
    low, high = shown(HintPolicy(start=0.2, end=0.2)), shown(HintPolicy(start=0.6, end=0.6))
    assert all(above for below, above in zip(low, high, strict=True) if below)


def test_a_turn_shows_no_more_than_its_first_hints():
    policy = read_policy({"mode": "first_k", "k": 2})
    assert [policy.shows(episode="e", number=9, probability=1, shown_in_turn=count) for count in range(4)] == [
        True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        ("on", ON),
        (True, ON),
        (False, OFF),
        ({"mode": "off"}, OFF),
        ({"mode": False}, OFF),
        ({"mode": True}, ON),
        ({"mode": "first_k", "k": 3}, HintPolicy(start=1, end=1, per_turn=3)),
        ({"mode": "annealed", "steps": [0, 9]}, HintPolicy(start=1, end=0, steps=(0, 9))),
    ],
)
def test_a_configuration_is_read(given, policy):
    assert read_policy(given) == policy


def test_a_split_has_its_own_policy_where_it_is_given_one():
    policies = read_policies({"mode": "on", "splits": {"multi_turn_base": "off", "other": {"mode": "first_k", "k": 1}}})
    assert policies.of("multi_turn_base") == OFF
    assert policies.of("other").per_turn == 1
    assert policies.of("multi_turn_miss_func") == ON
    assert read_policies(None).of("anything") == OFF
    assert read_policies("on").of("anything") == ON
