"""One configuration that is well, and for every rule a change that makes it ill: found, named, and nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import patients
import pytest
from patients import ROOMY, changed, first_rows, write_model

from env_tuning.data.rows import load_tasks
from env_tuning.doctor.data_rules import overlap
from env_tuning.doctor.evidence import Evidence, RowFile
from env_tuning.doctor.examine import RULES, examine, stops
from env_tuning.doctor.finding import Severity
from env_tuning.doctor.machine import GIB
from env_tuning.doctor.size_rules import COUNTS

ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
AGENT = f"{ROLLOUT}.agent"
FLASH = "actor_rollout_ref.model.override_config.attn_implementation"
GPUS = {"trainer.device": "cuda", "trainer.n_gpus_per_node": 8, f"{ROLLOUT}.name": "transformers"}
LARGE = {
    f"{ACTOR}.ppo_max_token_len_per_gpu": 50000,
    f"{ROLLOUT}.log_prob_max_token_len_per_gpu": 50000,
    "actor_rollout_ref.ref.log_prob_max_token_len_per_gpu": 50000,
}
LONG = {
    "data.max_prompt_length": 9000,
    "data.max_response_length": 9000,
    **LARGE,
    "env_tuning.max_message_tokens": None,
}
GPU8 = {**GPUS, "actor_rollout_ref.model.use_fused_kernels": True}


def found(config, *, machine=ROOMY, environ=None):
    return examine(config, machine=machine, environ=environ or {})


def test_a_healthy_configuration_is_left_alone(healthy):
    assert found(healthy) == ()


ILL = [
    ("agent_loop", f"{AGENT}.default_agent_loop", {f"{AGENT}.default_agent_loop": "single_turn_agent"}),
    ("agent_loop", f"{AGENT}.agent_loop_manager_class", {f"{AGENT}.agent_loop_manager_class": None}),
    ("trainer", "trainer.use_v1", {"trainer.use_v1": False}),
    ("trainer", "trainer.v1.trainer_mode", {"trainer.v1.trainer_mode": "sync"}),
    ("platform", "env_tuning.deterministic", {**GPU8, "env_tuning.deterministic": True}),
    (
        "interactions",
        "env_tuning.interactions.mine",
        {"env_tuning.interactions.mine": {"class_name": "no.such:Thing", "config": {}}},
    ),
    (
        "interactions",
        "env_tuning.interactions.multi_turn_tool_call",
        {"env_tuning.interactions.multi_turn_tool_call.config.rule": {}},
    ),
    ("rows", "data.train_batch_size", {"data.train_batch_size": 8, f"{ACTOR}.ppo_mini_batch_size": 8}),
    ("reward", "env_tuning.reward", {"env_tuning.reward": "fromat"}),
    ("reward", "env_tuning.reward", {"env_tuning.reward": "patients:raising"}),
    ("reward", "env_tuning.reward", {"env_tuning.reward": "patients:constant"}),
    ("reward", "env_tuning.reward", {"env_tuning.reward": "patients:counting"}),
    ("placement", "env_tuning.reward_placement", {"env_tuning.reward_placement": "turn"}),
    ("batches", "data.gen_batch_size", {"data.gen_batch_size": 3}),
    ("batches", f"{ACTOR}.ppo_mini_batch_size", {f"{ACTOR}.ppo_mini_batch_size": 3}),
    ("batches", f"{ACTOR}.ppo_mini_batch_size", {f"{ACTOR}.ppo_mini_batch_size": 8}),
    ("batches", f"{ACTOR}.ppo_mini_batch_size", {**GPU8, f"{ROLLOUT}.n": 3}),
    ("batches", f"{ACTOR}.ulysses_sequence_parallel_size", {f"{ACTOR}.ulysses_sequence_parallel_size": 2}),
    ("batches", f"{ACTOR}.ppo_micro_batch_size_per_gpu", {f"{ACTOR}.use_dynamic_bsz": False}),
    (
        "batches",
        f"{ACTOR}.ppo_micro_batch_size_per_gpu",
        {f"{ACTOR}.use_dynamic_bsz": False, f"{ACTOR}.ppo_micro_batch_size_per_gpu": 5},
    ),
    ("parallelism", f"{ROLLOUT}.tensor_model_parallel_size", {f"{ROLLOUT}.tensor_model_parallel_size": 2}),
    (
        "parallelism",
        f"{ROLLOUT}.tensor_model_parallel_size",
        {**GPU8, f"{ROLLOUT}.tensor_model_parallel_size": 8},  # four heads
    ),
    ("groups", f"{ROLLOUT}.n", {f"{ROLLOUT}.n": 1}),
    ("critic", "critic.enable", {"algorithm.adv_estimator": "tppo"}),
    ("critic", f"{ACTOR}.loss_agg_mode", {f"{ACTOR}.policy_loss.loss_mode": "appo_token"}),
    ("sampling", f"{ROLLOUT}.temperature", {f"{ROLLOUT}.temperature": 0.0}),
    ("gate", "env_tuning.gate", {"env_tuning.gate.window": 0}),
    ("positions", "data.max_response_length", {"data.max_response_length": 32768, **LARGE}),
    ("positions", f"{ROLLOUT}.max_model_len", {f"{ROLLOUT}.max_model_len": 2048}),
    ("token_budget", f"{ACTOR}.ppo_max_token_len_per_gpu", {f"{ACTOR}.ppo_max_token_len_per_gpu": 6000}),
    (
        "token_budget",
        f"{ROLLOUT}.log_prob_max_token_len_per_gpu",
        {f"{ROLLOUT}.log_prob_max_token_len_per_gpu": 4096, f"{ROLLOUT}.log_prob_use_dynamic_bsz": True},
    ),
    ("lengths", "data.max_prompt_length", {"data.max_prompt_length": 100}),
    ("lengths", "env_tuning.max_message_tokens", {"env_tuning.max_message_tokens": 4}),
    ("engine", f"{ROLLOUT}.name", {f"{ROLLOUT}.name": "sglang"}),
    ("attention", FLASH, {**GPU8, FLASH: None}),
    ("accept", "env_tuning.accept", {"env_tuning.accept": ["overlaps"]}),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "key", "changes"), ILL, ids=[f"{rule}-{at}" for at, (rule, _, _) in enumerate(ILL)])
def test_one_wrong_value_is_one_error_with_its_key_and_a_fix(healthy, rule, key, changes):
    errors = [finding for finding in found(changed(healthy, changes)) if finding.severity is Severity.ERROR]
    assert {(finding.rule, finding.key) for finding in errors} == {(rule, key)}
    assert "\n" not in errors[0].line


@pytest.mark.parametrize("value", [0, -1, 1.5, "many", True])
@pytest.mark.parametrize("key", COUNTS)
def test_a_count_that_cannot_be_one_is_the_only_error(healthy, key, value):
    (error,) = found(changed(healthy, {key: value}))
    assert (error.rule, error.key, error.severity) == ("counts", key, Severity.ERROR)
    assert f"{key}={value}" in error.line


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("placement", {"env_tuning.reward_placement": "turns"}),
        ("gate", {"trainer.test_freq": -1}),
        ("positions", {f"{ROLLOUT}.max_model_len": 4000}),
        ("trainer", {**GPU8, "trainer.v1.trainer_mode": "sync"}),
        ("trainer", {"trainer.v1.trainer_mode": "env_tuning_colocate_async"}),
    ],
)
def test_what_may_be_meant_is_a_warning(healthy, rule, changes):
    findings = found(changed(healthy, changes))
    assert [(finding.rule, finding.severity) for finding in findings] == [(rule, Severity.WARNING)]
    assert not stops(findings)


def test_errors_of_an_accepted_rule_are_told_and_stop_nothing(healthy):
    ill = changed(healthy, {f"{ROLLOUT}.n": 1})
    assert stops(found(ill))
    accepted = found(changed(ill, {"env_tuning.accept": ["groups"]}))
    assert [finding.rule for finding in accepted] == ["groups"]
    assert not stops(accepted)


def test_every_rule_is_tried_here():
    files = ("test_rules.py", "test_findings.py", "test_vllm_cpu_rules.py")
    text = "".join(Path(__file__).with_name(name).read_text("utf-8") for name in files)
    assert [name for name in RULES if f'"{name}"' not in text and f"_rules.{name}" not in text] == []


# The model and the files ---------------------------------------------------------------------------------------------


def test_a_critic_without_a_model_is_found(healthy):
    # verl's default is a folder in the home directory that nobody has.
    ill = changed(healthy, {"algorithm.adv_estimator": "gae", "critic.model.path": "~/models/deepseek-llm-7b-chat"})
    assert ("model", "critic.model.path") in [(finding.rule, finding.key) for finding in found(ill)]


def test_a_model_that_is_missing_hides_nothing_else(healthy):
    ill = changed(healthy, {"actor_rollout_ref.model.path": "/no/model", f"{ROLLOUT}.n": 1})
    assert {"model", "groups"} <= {finding.rule for finding in found(ill)}


def test_all_files_that_cannot_be_read_are_told(healthy):
    ill = changed(healthy, {"data.train_files": "no.parquet", "data.val_files": ["neither.parquet"]})
    assert [finding.key for finding in found(ill) if finding.rule == "files"] == ["data.train_files", "data.val_files"]


@pytest.mark.parametrize(
    ("names", "said"),
    [("single_turn_agent", "goes before the default env_tuning"), (["env_tuning"] * 5 + [None], "have no agent_name")],
)
def test_agent_names_of_rows_are_read(healthy, folder, tmp_path, names, said):
    file = first_rows(folder / "train.parquet", tmp_path / "named.parquet", 6, agent_name=names)
    errors = [
        finding for finding in found(changed(healthy, {"data.train_files": str(file)})) if "agent" in finding.rule
    ]
    assert said in errors[0].problem


def test_named_rows_make_the_default_loop_harmless(healthy, folder, tmp_path):
    named = {
        f"data.{kind}_files": str(
            first_rows(folder / f"{kind}.parquet", tmp_path / kind, count, agent_name="env_tuning")
        )
        for kind, count in (("train", 6), ("val", 4))
    }
    assert found(changed(healthy, {**named, f"{AGENT}.default_agent_loop": "single_turn_agent"})) == ()


def test_verls_tool_loop_is_asked_for_its_two_limits(healthy):
    tools = {f"{AGENT}.default_agent_loop": "tool_agent"}
    multi_turn = f"{ROLLOUT}.multi_turn"
    limits = {f"{multi_turn}.max_parallel_calls": 1, f"{multi_turn}.max_tool_response_length": 256}
    assert found(changed(healthy, tools)) == ()
    assert [(finding.rule, finding.key) for finding in found(changed(healthy, tools | limits))] == [
        ("tool_loop", key) for key in limits
    ]
    # They are of that loop alone.
    assert found(changed(healthy, limits)) == ()


def test_validation_on_training_tasks_is_refused_unless_it_is_meant(healthy, folder):
    ill = changed(healthy, {"data.val_files": str(folder / "train.parquet")})
    (finding,) = found(ill)
    assert (finding.rule, finding.key) == ("overlap", "data.val_files")
    assert "6 of 6 validation tasks are training tasks" in finding.problem
    assert not stops(found(changed(ill, {"env_tuning.accept": ["overlap"]})))


def test_an_environment_of_ones_own_may_validate_on_its_training_tasks(healthy, folder):
    (task, *_) = load_tasks(folder / "train.parquet")
    file = RowFile(path=Path("garage.parquet"), rows=1, tasks=(replace(task, id="Garage_0"),))
    (finding,) = overlap(Evidence(healthy, train=(file,), validation=(file,)))
    assert (finding.severity, finding.key) == (Severity.WARNING, "data.val_files")
    assert "1 of 1 validation tasks are training tasks (for example Garage_0)" in finding.problem
    assert "accept" not in finding.fix


def test_a_scenario_in_another_kind_of_task_is_an_overlap(healthy, folder, processed_data, tmp_path):
    # train_format_75 holds base tasks; row 100 of the training file is another kind with numbers of its own.
    import pyarrow.parquet as pq

    table = pq.read_table(processed_data / "bfcl_v3" / "bfcl_train.parquet", partitioning=None)
    trained = {row["original_id"] for row in pq.read_table(folder / "train.parquet").column("extra_info").to_pylist()}
    numbers = {name.rpartition("_")[2] for name in trained}
    names = [row["original_id"] for row in table.column("extra_info").to_pylist()]
    at = next(at for at, name in enumerate(names) if name.rpartition("_")[2] in numbers and "miss_param" in name)
    pq.write_table(table.slice(at, 1), tmp_path / "val.parquet")
    (finding,) = found(changed(healthy, {"data.val_files": str(tmp_path / "val.parquet")}))
    assert (finding.rule, "another kind of task" in finding.problem) == ("overlap", True)


def test_two_system_prompts_in_one_run_are_found(healthy, processed_data, tmp_path):
    other = first_rows(processed_data / "bfcl_v3_new_prompt" / "bfcl_val.parquet", tmp_path / "v2.parquet", 4)
    (finding,) = found(changed(healthy, {"data.val_files": str(other)}))
    assert (finding.rule, finding.key) == ("prompts", "data.val_files")


def test_an_output_folder_of_another_run_is_found_and_left_alone(healthy, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    (finding,) = found(changed(healthy, {"env_tuning.output_dir": str(tmp_path)}))
    assert (finding.rule, finding.key) == ("output", "env_tuning.output_dir")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


# Lengths and messages, on the tokenizer ------------------------------------------------------------------------------


def test_a_response_that_holds_no_first_turn_and_one_that_holds_no_whole_task(healthy):
    errors = found(changed(healthy, {"data.max_response_length": 60, "env_tuning.max_message_tokens": None}))
    assert {finding.key for finding in errors} == {"data.max_response_length"}
    assert any("the first turn's solution of" in finding.problem for finding in errors)
    assert any("does not hold the whole solution of 6 of 6 training tasks" in finding.problem for finding in errors)
    some = found(changed(healthy, {"data.max_response_length": 500}))
    assert some
    assert {finding.severity for finding in some} == {Severity.WARNING}


CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\nGIVEN{% endif %}"
)
TEMPLATES = {
    "begins every message with '<think>'": CHATML.replace("GIVEN", "<think>\n"),
    "begins every message with '<think>\\n\\n</think>'": CHATML.replace("GIVEN", "<think>\n\n</think>\n\n"),
    "leaves the system message out": CHATML.replace("GIVEN", "").replace("in messages", "in messages[1:]"),
    "refuses a system message": "{{ raise_exception('System role not supported') }}",
    "generation stops at": CHATML.replace("GIVEN", "").replace("<|im_end|>", "<end>"),
}


@pytest.mark.parametrize("said", TEMPLATES)
def test_a_chat_template_that_breaks_the_protocol_is_found(healthy, tmp_path, said):
    model = write_model(tmp_path / "model", ["<think>so</think>"], template=TEMPLATES[said])
    findings = found(changed(healthy, {"actor_rollout_ref.model.path": str(model), **LONG}))
    assert [(finding.rule, said in finding.problem) for finding in findings] == [("speech", True)]


def test_the_template_that_leaves_thinking_to_the_model_is_fine(healthy, tmp_path):
    model = write_model(tmp_path / "model", ["<think>so</think>"], template=CHATML.replace("GIVEN", ""))
    assert found(changed(healthy, {"actor_rollout_ref.model.path": str(model), **LONG})) == ()


FORCED = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"


def test_a_tokenizer_that_tidies_spaces_up_is_found(healthy, tmp_path):
    shutil.copytree(healthy["actor_rollout_ref"]["model"]["path"], tmp_path / "model")
    file = tmp_path / "model" / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "clean_up_tokenization_spaces": True, FORCED: True}))
    (finding,) = found(changed(healthy, {"actor_rollout_ref.model.path": str(tmp_path / "model")}))
    assert finding.rule == "speech"
    assert "does not give a think_answer message back as it was" in finding.problem


# Rewards -------------------------------------------------------------------------------------------------------------


def test_an_interaction_without_trajectories_or_scores_is_found(healthy):
    mute = {"env_tuning.interactions.multi_turn_tool_call": {"class_name": "patients:Mute", "config": {}}}
    (finding,) = [item for item in found(changed(healthy, mute)) if item.rule == "reward"]
    assert "keeps no trajectory, so env_tuning.reward=format has nothing to read" in finding.problem
    (finding,) = [
        item for item in found(changed(healthy, {**mute, "env_tuning.reward": None})) if item.rule == "reward"
    ]
    assert "nothing scores episodes" in finding.problem


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def compute_score(data_source, solution_str, ground_truth, extra_info=None): return 0.0", None),
        ("async def compute_score(data_source, solution_str, **more): return 0.0", None),
        ("def compute_score(trajectory): return 0.0", "cannot be called with data_source, solution_str"),
        ("def score(**more): return 0.0", "cannot be loaded (AttributeError"),
        ("import no_such_module", "cannot be loaded (ModuleNotFoundError"),
        (None, "cannot be loaded (FileNotFoundError"),
    ],
)
def test_verls_own_reward_function_is_loaded_and_its_signature_tried(healthy, tmp_path, code, said):
    file = tmp_path / "mine.py"
    if code is not None:
        file.write_text(code)
    custom = {"reward.custom_reward_function.path": str(file), "env_tuning.reward": None}
    findings = found(changed(healthy, custom))
    assert [(finding.rule, said in finding.problem) for finding in findings] == (
        [] if said is None else [("verl_reward", True)]
    )


def test_two_rewards_are_one_too_many(healthy, tmp_path):
    (tmp_path / "mine.py").write_text("def compute_score(**given): return 0.0")
    (finding,) = found(changed(healthy, {"reward.custom_reward_function.path": str(tmp_path / "mine.py")}))
    assert (finding.rule, finding.problem) == (
        "reward", "env_tuning.reward and reward.custom_reward_function.path are both set"
    )  # fmt: skip


# The machine and what is installed -----------------------------------------------------------------------------------


def test_a_variable_that_keeps_the_plugin_out_is_found(healthy):
    other = {"VERL_USE_EXTERNAL_MODULES": "theirs", "VERL_USE_EXTERNAL_PLUGINS": "none"}
    (finding,) = found(healthy, environ=other)
    assert (finding.rule, finding.key) == ("plugin", "VERL_USE_EXTERNAL_MODULES")
    both = {**other, "VERL_USE_EXTERNAL_MODULES": "theirs,env_tuning.verl_plugin.registration"}
    assert found(healthy, environ=both) == ()


def test_a_variable_for_another_platform_is_found(healthy):
    (finding,) = found(healthy, environ={"VERL_PLATFORM": "nvidia"})
    assert (finding.rule, finding.key) == ("platform", "VERL_PLATFORM")


@pytest.mark.parametrize(
    ("rule", "short"),
    [("memory", {"memory": GIB}), ("disk", {"disk": GIB // 8}), ("memory", {"shared": 64 * 2**20})],
)
def test_a_machine_that_is_too_small_is_told_what_is_missing(healthy, rule, short):
    (finding,) = found(healthy, machine=replace(ROOMY, **short))
    assert finding.rule == rule
    assert ("shared" in short) == (finding.severity is Severity.WARNING)


def test_gpus_that_are_not_there_or_too_small_are_found(healthy, tmp_path):
    on_gpus = changed(healthy, GPU8)
    assert found(on_gpus) == ()
    (finding,) = found(on_gpus, machine=replace(ROOMY, gpus=ROOMY.gpus[:2]))
    assert (finding.rule, finding.key) == ("gpus", "trainer.n_gpus_per_node")
    assert finding.fix == "set trainer.n_gpus_per_node=2"
    # On a cluster, the GPUs are on other machines.
    assert found(on_gpus, machine=replace(ROOMY, gpus=()), environ={"RAY_ADDRESS": "ray://there:1"}) == ()
    (finding,) = found(on_gpus, machine=replace(ROOMY, gpus=(GIB // 64,) * 8))
    assert "an update needs about" in finding.problem


def test_an_engine_that_does_not_fit_beside_what_rests_is_found(healthy, tmp_path):
    seven = {"num_hidden_layers": 28, "hidden_size": 3584, "num_attention_heads": 28, "num_key_value_heads": 4,
             "intermediate_size": 18944, "vocab_size": 152064, "tie_word_embeddings": False}  # fmt: skip
    shutil.copytree(healthy["actor_rollout_ref"]["model"]["path"], tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(json.dumps(patients.SHAPE | seven))
    big = changed(healthy, {**GPU8, "actor_rollout_ref.model.path": str(tmp_path / "model")})
    assert found(big) == ()
    (finding,) = found(changed(big, {f"{ROLLOUT}.gpu_memory_utilization": 0.95}))
    assert (finding.rule, finding.key) == ("gpus", f"{ROLLOUT}.gpu_memory_utilization")


def test_other_versions_are_told_and_forbidden_ones_refused(healthy, monkeypatch):
    from env_tuning.doctor import model_rules

    real = model_rules.installed
    monkeypatch.setattr(model_rules, "installed", lambda name: "2.99.0" if name == "torch" else real(name))
    (finding,) = found(healthy)
    assert (finding.rule, finding.severity) == ("versions", Severity.WARNING)
    assert finding.problem == "not the tested versions: torch 2.99.0 (tested 2.13.0)"
    monkeypatch.setattr(model_rules, "installed", lambda name: "0.8.0" if name == "verl" else real(name))
    errors = [finding for finding in found(healthy) if finding.severity is Severity.ERROR]
    assert [(finding.key, finding.fix) for finding in errors] == [("verl", "pip install 'verl==0.9.1'")]
