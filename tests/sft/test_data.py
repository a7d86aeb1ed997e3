"""Generated rows: as many as asked, different requests in every split, the rules of the tools kept."""

import json

import pytest

from env_tuning.errors import UserError
from env_tuning.sft.conversations import calls_of
from env_tuning.sft.mixing import DOMAINS, SPLITS, DataSettings, generate, mix, split
from env_tuning.sft.tools import LEAST_PROMISE
from env_tuning.sft.transcript import OPTIONAL_FLOWS, Flow

ALL = DataSettings(domains=tuple(DOMAINS), rows=100, test_rows=40, flows=OPTIONAL_FLOWS)


@pytest.fixture(scope="module")
def splits():
    return generate(ALL)


def every(splits):
    return [row for name in SPLITS for row in splits[name]]


def test_the_same_seed_gives_the_same_rows_and_another_one_others(splits):
    assert generate(ALL) == splits
    assert generate(DataSettings(seed=2)).train != generate(DataSettings(seed=1)).train


def test_the_default_is_two_sets_of_two_hundred_rows(splits):
    default = generate(DataSettings())
    by_domain = [row.domain for row in (*default.train, *default.validation)]
    assert {name: by_domain.count(name) for name in set(by_domain)} == {"assistant": 200, "payments": 200}
    assert len(default.test) == 200


def test_no_request_of_one_split_is_in_another(splits):
    train, validation, test = ({row.request for row in splits[name]} for name in SPLITS)
    assert not train & validation and not train & test and not validation & test


def test_every_flow_that_was_asked_for_is_there(splits):
    assert {row.flow for row in splits.train} == {flow.value for flow in Flow}


def test_a_row_of_two_domains_calls_tools_of_both(splits):
    (row, *_) = [row for row in splits.train if row.flow == "domains"]
    names = {call.name for message in row.messages for call in calls_of(message)}
    mine = {"start_timer", "create_reminder"}
    assert names & mine and names - mine
    assert len(row.tools) == 7


def test_small_promises_are_refused_without_a_call(splits):
    promised = [
        call.arguments["promiseAmount"]
        for row in every(splits)
        for message in row.messages
        for call in calls_of(message)
        if call.name == "Promise_Payment"
    ]
    assert promised and min(promised) >= LEAST_PROMISE
    refused = [row for row in every(splits) if row.flow == "refuse" and row.domain == "payments"]
    assert refused and not any(calls_of(message) for row in refused for message in row.messages)


def test_only_recovery_rows_show_errors_and_each_of_them_does(splits):
    for row in every(splits):
        errors = [message for message in row.messages if message["role"] == "tool" and "error" in message["content"]]
        assert bool(errors) == (row.flow == "recovery"), row


def test_a_declined_confirmation_calls_nothing(splits):
    declined = [row for row in every(splits) if row.flow == "confirmation" and "not" in row.messages[-1]["content"]]
    declined += [row for row in every(splits) if row.messages[-1]["content"] == "I have charged nothing."]
    assert declined and not any(calls_of(message) for row in declined for message in row.messages)


def test_chains_call_one_after_the_other_and_parallel_rows_at_once(splits):
    for row in every(splits):
        most = max(len(calls_of(message)) for message in row.messages)
        if row.flow == "chain":
            assert most == 1 and sum(bool(calls_of(message)) for message in row.messages) == 2
        if row.flow == "parallel":
            assert most > 1


def test_schemas_come_from_signatures_and_docstrings(splits):
    tools = {tool["function"]["name"]: tool["function"] for row in splits.train for tool in row.tools}
    pay = tools["Pay_Now"]
    assert pay["parameters"]["required"] == ["payNowAmount", "paymentMethod"]
    assert pay["parameters"]["properties"]["paymentMethod"]["enum"] == ["card", "bank_account", "phone_bill"]
    assert tools["start_timer"]["parameters"]["properties"]["duration"]["type"] == "integer"
    assert "seconds" in json.dumps(tools["start_timer"])


def test_own_rows_with_the_same_request_stay_together(splits):
    rows = list(splits.train[:30]) * 2
    cut = split(rows, validation=0.2, test=0.2, seed=1)
    assert sorted(len(cut[name]) for name in SPLITS) == [12, 12, 36]
    assert not {row.request for row in cut.train} & {row.request for row in (*cut.validation, *cut.test)}


def test_mixing_keeps_splits_apart(splits):
    both = mix(splits, generate(DataSettings(seed=3)))
    assert len(both.validation) == len(splits.validation) + 40
    assert set(map(id, splits.test)) <= set(map(id, both.test))


@pytest.mark.parametrize("wrong", [{"domains": ("weather",)}, {"rows": 3}, {"validation": 1.0}, {"domains": ()}])
def test_settings_that_give_nothing_are_refused(wrong):
    with pytest.raises(UserError):
        DataSettings(**wrong)
