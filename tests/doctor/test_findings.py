"""What a user gets wrong is one line that names the fix, and nothing is touched."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from refusing import refuse

from env_tuning import run_folder
from env_tuning.doctor import data_rules, length_rules, loop_rules, model_rules, reward_rules
from env_tuning.doctor.evidence import Evidence, RowFile, read_file
from env_tuning.errors import UserError
from env_tuning.rewards.registry import resolve_reward

RUN = {"stage": "stage1", "model": "/m", "learning_rate": 1e-3}


def model(path):
    return Evidence({"actor_rollout_ref": {"model": {"path": path}}})


@pytest.mark.parametrize("path", ["/no/such/model", "./nothing", "~/nothing-here", "nothing", "a/b/c"])
def test_a_model_path_that_does_not_exist_is_named(path):
    with pytest.raises(UserError, match="does not exist; set MODEL="):
        refuse(model_rules.model(model(path)))


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no config\.json"):
        refuse(model_rules.model(model(str(tmp_path))))


def test_verls_single_turn_default_is_refused():
    config = {"actor_rollout_ref": {"rollout": {"agent": {"default_agent_loop": "single_turn_agent"}}}}
    with pytest.raises(UserError, match="default_agent_loop"):
        refuse(loop_rules.agent_loop(Evidence(config)))


def test_a_missing_parquet_file_names_the_command(tmp_path):
    with pytest.raises(ValueError, match="does not exist; run: env-tuning prepare"):
        read_file(tmp_path / "nothing.parquet", "env_tuning")


def test_a_truncated_parquet_file_names_the_command(tmp_path, processed_data):
    broken = tmp_path / "broken.parquet"
    broken.write_bytes((processed_data / "bfcl_v3" / "bfcl_val.parquet").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"not a whole parquet file.*env-tuning prepare"):
        read_file(broken, "env_tuning")


def test_a_parquet_file_of_another_schema_names_the_column(tmp_path):
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"question": ["a"]}), other)
    with pytest.raises(ValueError, match=r"extra_info.*env-tuning prepare"):
        read_file(other, "env_tuning")


def test_rows_of_an_unknown_interaction_are_refused(processed_data):
    rows = read_file(processed_data / "bfcl_v3" / "train_format_75.parquet", "env_tuning")
    settings = {"mine": {"class_name": "env_tuning.interaction.base:Interaction"}}
    with pytest.raises(UserError, match=r"interactions \['multi_turn_tool_call'\]; known: \['mine'\]"):
        refuse(data_rules.interactions(Evidence({"env_tuning": {"interactions": settings}}, train=(rows,))))


def test_an_output_folder_belongs_to_one_run(tmp_path):
    folder = tmp_path / "out"
    run_folder.claim_output(folder, RUN)
    run_folder.claim_output(folder, RUN)
    before = (folder / run_folder.RUN_FILE).read_text()
    with pytest.raises(UserError, match=r"another run \(model there: \"/m\", now: \"/n\"\).*output_dir"):
        run_folder.claim_output(folder, {**RUN, "model": "/n"})
    assert (folder / run_folder.RUN_FILE).read_text() == before


def test_looking_at_an_output_folder_makes_none(tmp_path):
    run_folder.refuse_occupied(tmp_path / "out", RUN)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_of_nobodys_run_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="holds files but no run"):
        run_folder.claim_output(tmp_path, RUN)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_broken_run_file_is_named(tmp_path):
    (tmp_path / run_folder.RUN_FILE).write_text("{")
    with pytest.raises(UserError, match="is broken"):
        run_folder.claim_output(tmp_path, RUN)


def test_a_length_that_is_too_small_names_key_task_and_value():
    with pytest.raises(UserError, match=r"data\.max_response_length=100 is too small.*t_1 takes 300.*=512"):
        refuse(length_rules.fits(300, "t_1", "the first turn's solution", "data.max_response_length", 100))


def test_an_unknown_reward_is_a_value_error_before_anything_starts():
    with pytest.raises(ValueError, match="did you mean 'format'"):
        resolve_reward("fromat")
    with pytest.raises(UserError, match="did you mean 'format'"):
        refuse(reward_rules.reward(Evidence({"env_tuning": {"reward": "fromat"}})))


def test_the_identity_changes_with_the_data(tmp_path, processed_data):
    file = tmp_path / "train.parquet"
    shutil.copy(processed_data / "bfcl_v3" / "train_format_75.parquet", file)
    config = {
        "env_tuning": {"stage": "s", "reward": "format", "reward_placement": "last", "interactions": {}},
        "data": {"train_files": str(file), "train_batch_size": 8, "seed": 1},
        "algorithm": {"adv_estimator": "grpo"},
        "actor_rollout_ref": {"model": {"path": "/m"}, "rollout": {"n": 8}, "actor": {"optim": {"lr": 1.0}}},
    }
    first = run_folder.identity(config)
    assert run_folder.identity(config) == first
    shutil.copy(processed_data / "bfcl_v3" / "bfcl_val.parquet", file)
    assert run_folder.identity(config) != first
    json.dumps(first)


def test_fewer_rows_than_a_batch_are_named(tmp_path):
    few = RowFile(path=tmp_path, rows=3)
    with pytest.raises(UserError, match=r"3 training rows do not fill a batch of 4; set data\.train_batch_size=3"):
        refuse(data_rules.rows(Evidence({"data": {"train_batch_size": 4}}, train=(few,))))


def placement(**settings):
    refuse(reward_rules.placement(Evidence({"env_tuning": settings})))


def test_a_placement_is_known_and_has_a_reward_to_place():
    placement(reward="progress", reward_placement="turns")
    with pytest.raises(ValueError, match="must be last or turns"):
        placement(reward="progress", reward_placement="turn")
    with pytest.raises(UserError, match=r"needs env_tuning\.reward"):
        placement(reward=None, reward_placement="turns")
