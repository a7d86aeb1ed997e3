"""Seeds and orders that do not depend on what happened to come first."""

from __future__ import annotations

from env_tuning.verl_plugin.seeds import arrival_free_order, episode_seed

ROW = {"data_source": "base", "index": 3, "raw_prompt": [{"role": "user", "content": "hello"}]}


def seed(base: int = 1, *, step: int = 2, validate: bool = False, rollout: int = 0, **row: object) -> int:
    return episode_seed(base, step=step, validate=validate, row={**ROW, **row}, rollout=rollout)


def test_an_episode_has_the_same_seed_in_every_process() -> None:
    assert seed() == 84746681407594077
    assert 0 <= seed() < 2**63
    assert seed() == seed(uid="another", session_id=7)


def test_whatever_names_an_episode_changes_its_seed() -> None:
    others = [
        seed(2), seed(step=3), seed(validate=True), seed(rollout=1),
        seed(data_source="long_context"), seed(index=4), seed(raw_prompt=[]),
    ]  # fmt: skip
    assert len({seed(), *others}) == len(others) + 1


def test_rows_stand_in_the_order_of_their_names_with_numbers_as_numbers() -> None:
    keys = ["000002.0001_10_0", "000002.0001_9_0", "000002.0000_0_1", "000002.0000_0_0", "000002.0010_0_0"]
    ordered = [keys[position] for position in arrival_free_order(keys)]
    assert ordered == [keys[3], keys[2], keys[1], keys[0], keys[4]]
    assert sorted(arrival_free_order(keys)) == list(range(5))
