"""From dumps to error sites, our own checks of a proposal, and the file that a person reviews: all without a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from parking import LEAVE_HINT, NAME, garage_tasks, judged, write_run, written

from env_tuning.augmentation.book import HintBook
from env_tuning.augmentation.proposals.answers import read_object
from env_tuning.augmentation.proposals.candidate import SiteChecks, read_candidate, read_verdict
from env_tuning.augmentation.proposals.proposing import Attempt, Proposal, open_sites, with_proposal
from env_tuning.augmentation.proposals.rollouts import RolloutReader, rollout_files
from env_tuning.augmentation.proposals.sites import ErrorSite, error_sites, error_template, error_words
from env_tuning.augmentation.registry import rule_table, rules_of
from env_tuning.augmentation.rule_file import read_entries, write_entries
from env_tuning.augmentation.rules import Failure
from env_tuning.calls import ToolCall
from env_tuning.endpoint.client import UnusableReply
from env_tuning.environments.registry import make_environment, tool_class
from env_tuning.environments.scenario import tasks_of
from env_tuning.errors import UserError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


@pytest.fixture
def sites(run: Path) -> tuple[ErrorSite, ...]:
    return error_sites(RolloutReader(tasks=garage_tasks()).failed_calls(rollout_files([run])))


# Sites.


def test_failed_calls_are_grouped_by_tool_and_error_most_frequent_first(sites):
    assert [(site.tool, site.template, site.count, site.tasks) for site in sites] == [
        ("leave", '{"error": "‹plate›: no such car."}', 5, 2),
        ("park", '{"error": "Row ‹row› is closed."}', 2, 1),
        ("weigh", "Error during execution: the scale is locked", 1, 1),
    ]
    assert {site.tool_class for site in sites} == {NAME}
    assert [example.task.id for example in sites[0].examples] == ["Garage_0", "Garage_1"]


def test_what_is_left_out_is_counted_and_said(run):
    tasks = garage_tasks()
    reader = RolloutReader(tasks=tasks)
    list(reader.failed_calls(rollout_files([run])))
    assert reader.counts == {"episodes": 4, "torn": 1, "unknown": 1, "answered": 1}
    assert "1 torn lines" in reader.summary
    reader = RolloutReader(tasks={"Garage_0": tasks["Garage_0"]}, answered=True)
    assert "generic" not in {failure.call.name for failure in reader.failed_calls(rollout_files([run]))}
    assert reader.counts == {"episodes": 2, "torn": 1, "strange": 2}


def test_a_failure_that_a_rule_answers_is_no_site_unless_asked_for(run):
    reader = RolloutReader(tasks=garage_tasks(), answered=True)
    templates = [site.template for site in error_sites(reader.failed_calls(rollout_files([run])))]
    assert any("unexpected keyword" in template for template in templates)


def test_an_example_knows_the_request_and_what_the_model_had_seen(sites):
    example = sites[0].examples[1]
    assert example.request == "Park AB 12 in row 4."
    assert any("Row 12 is closed." in text for text in example.seen)
    assert '"A 1"' in example.seen[-1]


def test_a_run_means_its_rollouts_and_validation_has_to_be_named(run):
    (run / "validation").mkdir()
    (run / "validation" / "5.jsonl").write_text("")
    (run / "progress.jsonl").write_text("")
    assert [file.name for file in rollout_files([run])] == ["1.jsonl", "10.jsonl"]
    assert [file.name for file in rollout_files([run / "validation", run])] == ["5.jsonl", "1.jsonl", "10.jsonl"]
    with pytest.raises(UserError, match="holds no rollouts"):
        rollout_files([run.parent / "elsewhere"])


@pytest.mark.parametrize(
    ("result", "arguments", "template"),
    [
        ('{"error": "cd: a/b: no way"}', {"folder": "a/b"}, '{"error": "cd: ‹folder›: no way"}'),
        ('{"error": "No stock ZETA."}', {"names": ["ZETA"]}, '{"error": "No stock ‹names›."}'),
        ('{"error": "caf\\u00e9 is shut"}', {"place": "café"}, '{"error": "‹place› is shut"}'),
        ('{"error": "Order 12446 of 7.5 is gone"}', {}, '{"error": "Order ‹number› of ‹number› is gone"}'),
        ("'<' not supported between 'str' and 'int'", {}, "‹text› not supported between ‹text› and ‹text›"),
        ("Error during execution: not in ['a', 'b']", {}, "Error during execution: not in [‹text›, ...]"),
        ('{"error": "I can\'t, I don\'t"}', {}, '{"error": "I can\'t, I don\'t"}'),
        ('{"error": 404}', {}, '{"error": 404}'),
        ('{"done": false, "error": "Booking not found"}', {}, '{"done": false, "error": "Booking not found"}'),
        ('{"error": "cat: \'a.txt\': no"}', {"name": "a.txt"}, '{"error": "cat: \'‹name›\': no"}'),
        ('{"error": "The mode \\"fast\\" is off"}', {}, '{"error": "The mode ‹text› is off"}'),
        ('{"error": "x 1 y"}', {"odd name 1": "x 1"}, '{"error": "x 1 y"}'),
    ],
)
def test_a_template_leaves_out_what_is_particular_to_a_call(result, arguments, template):
    assert error_template(result, arguments) == template


@given(st.text(max_size=80), st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers(), max_size=3))
def test_the_words_of_any_error_stand_in_it(error, arguments):
    template = error_template(error, arguments)
    if "‹" not in error and "›" not in error:
        assert all(word in error for word in error_words(template))


# Proposals.


def rule(site, **changes):
    return read_candidate(written(**changes), site).rule


def test_a_good_proposal_passes_and_takes_the_words_of_the_error(sites):
    made = rule(sites[0])
    assert made.error_contains == (": no such car.",)
    assert SiteChecks(sites[0]).problems(made) == ()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"hint": "Let ZX 77 out, it is the only car."}, "a value of the solution"),
        ({"hint": "The plate must be written as in zx 7, with a space."}, "a value of one example"),
        ({"hint": "First call list_cars and read the plate from it."}, "names the tool 'list_cars'"),
        ({"hint": "Write leave(plate) with the right plate, as it is listed."}, "writes a call of 'leave'"),
        ({"hint": 'Send {"name": "leave"} with the right plate.'}, "writes a call as JSON"),
        ({"hint": "Hint: look the plate up."}, "is put before it anyway"),
        ({"hint": "Wrong."}, "says nothing"),
        ({"error_contains": ["no such cars"]}, "answers only 0 of 2"),
        ({"arguments": [{"argument": "row", "test": "given", "value": ""}]}, "answers only 0 of 2"),
    ],
)
def test_what_leaks_or_never_applies_is_refused_without_a_judge(sites, changes, problem):
    assert any(problem in found for found in SiteChecks(sites[0]).problems(rule(sites[0], **changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"hint": ""},
        {"hint": 7},
        {"hint": "x" * 401},
        {"reasoning": None},
        {"need_augmentation": "yes"},
        {"error_category": "bad_luck"},
        {"augmentation_type": "shout"},
        {"error_contains": "no such car"},
        {"error_contains": [" "]},
        {"arguments": [{"argument": "plate", "test": "matches", "value": "(a+)+"}]},
        {"arguments": [{"argument": "plate", "test": "contains", "value": ""}]},
        {"arguments": ["plate"]},
    ],
)
def test_an_answer_of_another_form_is_no_proposal(sites, changes):
    with pytest.raises(ValueError):
        read_candidate(written(**changes), sites[0])


def test_no_hint_is_an_answer_too(sites):
    assert read_candidate(written(need_augmentation=False, hint=""), sites[0]).rule is None


@pytest.mark.parametrize("changes", [{"leaks_solution": True}, {"restricts_exploration": True}, {"actionable": False}])
def test_one_objection_of_the_judge_is_enough(changes):
    verdict = read_verdict(judged(**changes))
    assert not verdict.accepts
    assert verdict.problem.endswith("It points to the right check.")


@pytest.mark.parametrize(
    "text",
    ['{"a": 1}', '```json\n{"a": 1}\n```', 'Hm, {this}. </think>\nSo: {"a": 1}. Done.', '{ {"a": 1}'],
)
def test_an_object_is_found_in_what_models_write_around_it(text):
    assert read_object(text) == {"a": 1}


@pytest.mark.parametrize("text", ["", "I would rather not.", "[1]", '{"a": ', "{" * 3000])
def test_an_answer_without_an_object_is_unusable(text):
    with pytest.raises(UnusableReply):
        read_object(text)


# The file.


def proposal(site, *problems, **changes) -> Proposal:
    """One that is accepted after some problems."""
    refused = [Attempt(candidate=read_candidate(written(), site), problem=problem) for problem in problems]
    accepted = Attempt(candidate=read_candidate(written(**changes), site), verdict=read_verdict(judged()))
    return Proposal(site=site, attempts=(*refused, accepted))


def reviewed(file: Path) -> None:
    entries = read_entries(file)
    for entry in entries["hints"]:
        entry["reviewed"] = True
    write_entries(file, entries)


@pytest.fixture
def hinted_garage(tmp_path: Path, sites, monkeypatch: pytest.MonkeyPatch):
    """A module whose class names a file of hints beside it."""
    entries = with_proposal({"hints": [], "no_hint": []}, proposal(sites[0], "too vague"))
    write_entries(tmp_path / "garage_hints.yaml", entries)
    source = Path(__file__).with_name("parking.py").read_text(encoding="utf-8")
    (tmp_path / "hinted_parking.py").write_text(
        source.replace("parking:Garage", "hinted_parking:Garage").replace(
            "    @classmethod\n    def scenarios",
            '    hints = "garage_hints.yaml"\n\n    @classmethod\n    def scenarios',
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "hinted_parking:Garage"
    rules_of.cache_clear()
    tool_class.cache_clear()
    del sys.modules["hinted_parking"]


def hint_in(name: str, call: ToolCall):
    task = tasks_of(name)[0]
    environment = make_environment(task.tool_classes, task.initial_config)
    return HintBook(task).hint(0, call, environment.call(call))


def test_only_a_reviewed_hint_is_shown(hinted_garage, tmp_path):
    call = ToolCall(name="leave", arguments={"plate": "ZX 7"})
    assert hint_in(hinted_garage, call) is None
    reviewed(tmp_path / "garage_hints.yaml")
    rules_of.cache_clear()
    rule_table.cache_clear()
    hint = hint_in(hinted_garage, call)
    assert (hint.rule, hint.text, hint.category) == ("garage.leave.no_such_car", LEAVE_HINT, "dependency_missing")
    assert hint_in(hinted_garage, ToolCall(name="weigh", arguments={"plate": "ZX 7"})) is None
    rule_table.cache_clear()


def test_a_reviewed_entry_that_is_no_rule_is_named(hinted_garage, tmp_path):
    file = tmp_path / "garage_hints.yaml"
    reviewed(file)
    file.write_text(file.read_text(encoding="utf-8").replace("tool: leave", "tool: flee"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"'garage.leave.no_such_car' is for \['flee'\]"):
        rules_of(hinted_garage)
    file.write_text(file.read_text(encoding="utf-8").replace("kind: suggest_pre", "kind: pre"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"garage_hints.yaml: hint 'garage.leave.no_such_car'.*prerequisite"):
        rules_of(hinted_garage)
    file.unlink()
    with pytest.raises(ValueError, match=r"garage_hints.yaml cannot be read: No such file"):
        rules_of(hinted_garage)


@pytest.mark.parametrize("text", ["hints: [1]", "hints: {}", "other: []", "[]", "{", "hints: !!python/object:os.x []"])
def test_a_file_that_is_none_of_ours_is_refused(tmp_path, text):
    (tmp_path / "file.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"file.yaml"):
        read_entries(tmp_path / "file.yaml")


def test_an_entry_holds_what_a_person_needs_to_judge_it(sites, tmp_path):
    file = tmp_path / "hints.yaml"
    write_entries(file, with_proposal({"hints": [], "no_hint": []}, proposal(sites[0], "too vague")))
    (entry,) = yaml.safe_load(file.read_text(encoding="utf-8"))["hints"]
    assert entry["reviewed"] is False
    assert (entry["attempts"], entry["refused"]) == (2, [{"hint": LEAVE_HINT, "problem": "too vague"}])
    assert entry["evidence"] == {
        "error": '{"error": "‹plate›: no such car."}',
        "count": 5,
        "tasks": 2,
        "example": {
            "task": "Garage_0",
            "turn": 0,
            "call": "leave(plate='ZX 7')",
            "result": '{"error": "ZX 7: no such car."}',
        },
    }
    assert entry["judge"] == "It points to the right check."


def test_what_a_person_changed_survives_and_failed_sites_stay_open(sites):
    entries = with_proposal({"hints": [], "no_hint": []}, proposal(sites[0]))
    entries["hints"][0].update(reviewed=True, text="Better words for it than before.")
    failed = Proposal(site=sites[1], attempts=(Attempt(problem="no answer"),))
    entries = with_proposal(with_proposal(entries, failed), proposal(sites[0]))
    assert entries["hints"][0]["text"] == "Better words for it than before."
    assert open_sites(sites, entries) == sites[1:]
    again = with_proposal(entries, proposal(sites[1], hint="Rows have numbers with a limit; choose another row."))
    assert (len(again["hints"]), again["no_hint"]) == (2, [])
    assert open_sites(sites, again) == sites[2:]


def test_two_errors_of_a_tool_get_rules_of_different_names(sites):
    other = ErrorSite(**{**vars(sites[0]), "template": '{"error": "‹plate›: No such car"}'})
    entries = with_proposal(with_proposal({"hints": [], "no_hint": []}, proposal(sites[0])), proposal(other))
    assert [entry["name"] for entry in entries["hints"]] == ["garage.leave.no_such_car", "garage.leave.no_such_car_2"]


def test_conditions_on_arguments_decide_between_causes(sites):
    wanted = [
        {"argument": "plate", "test": "contains", "value": " "},
        {"argument": "row", "test": "missing", "value": ""},
        {"argument": "plate", "test": "lacks", "value": "-"},
    ]
    made = rule(sites[0], arguments=wanted).rule("r", tool_class(NAME).tools)
    assert [
        made.when(Failure(tool="leave", arguments=arguments, error="x: no such car.", visible={}))
        for arguments in ({"plate": "A 1"}, {"plate": "A1"}, {"plate": "A 1-"}, {"plate": "A 1", "row": 1}, {})
    ] == [True, False, False, False, False]


def test_proposing_loads_nothing_of_the_training_stack():
    modules = ", ".join(f"env_tuning.augmentation.{name}" for name in ("proposals.proposing", "rule_file", "registry"))
    code = f"import sys, {modules}; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"verl", "torch", "ray", "transformers", "pandas", "pyarrow"} & set(loaded)
