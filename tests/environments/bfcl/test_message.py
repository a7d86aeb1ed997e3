"""MessageAPI: the quirks and error texts that parity with the benchmark rests on."""

import copy
import json

import pytest

from env_tuning.calls import parse_call
from env_tuning.environments.bfcl.message import MessageAPI
from env_tuning.environments.environment import Environment

LOGGED_IN = {"current_user": "USR001"}


def run(config, *calls):
    environment = Environment({"MessageAPI": MessageAPI(copy.deepcopy(config))})
    return [environment.call(parse_call(call)).text for call in calls]


def test_default_state_differs_from_the_benchmarks():
    assert MessageAPI({}).public_state() == {
        "generated_ids": set(),
        "user_count": 4,
        "user_map": {"Alice": "USR001", "Bob": "USR002", "Catherine": "USR003", "Daniel": "USR004"},
        "inbox": [
            {"USR002": "My name is Alice. I want to connect."},
            {"USR003": "Could you upload the file?"},
            {"USR004": "Could you upload the file?"},
        ],
        "message_count": 3,
        "current_user": None,
    }


def test_two_workspaces_share_state():
    first, second = MessageAPI({}), MessageAPI({})
    untouched = second.snapshot()
    first.message_login("USR001")
    first.send_message("USR002", "hi")
    first.delete_message("USR003")
    first.add_contact("Eve")
    assert second.matches(untouched)
    assert not second.matches(first.snapshot())
    assert MessageAPI({}).matches(untouched)


@pytest.mark.parametrize(
    "call",
    [
        "send_message('USR002', 'x')",
        "delete_message('USR002')",
        "view_messages_sent()",
        "search_messages('x')",
        "get_message_stats()",
    ],
)
def test_a_call_works_without_login(call):
    assert run({}, call) == ['{"error": "No user is currently logged in."}']


def test_login_accepts_names_or_unknown_ids():
    assert run(
        {}, "message_login('Alice')", "message_get_login_status()", "message_login('USR004')", "message_login(None)"
    ) == [
        '{"login_status": false, "message": "User ID \'Alice\' not found."}',
        '{"login_status": false}',
        '{"login_status": true, "message": "User \'USR004\' logged in successfully."}',
        '{"login_status": false, "message": "User ID \'None\' not found."}',
    ]


def test_message_ids_leave_the_seeded_sequence_or_their_wrapping():
    assert run(LOGGED_IN, "send_message('USR002', 'a')", "send_message('USR003', 'b')") == [
        '{"sent_status": true, "message_id": {"new_id": 67410}, "message": "Message sent to \'USR002\' successfully."}',
        '{"sent_status": true, "message_id": {"new_id": 41772}, "message": "Message sent to \'USR003\' successfully."}',
    ]


def test_a_used_message_id_is_drawn_again():
    workspace = MessageAPI(LOGGED_IN | {"generated_ids": {67410}})
    assert workspace.send_message("USR002", "a")["message_id"] == {"new_id": 41772}


def test_ids_loaded_as_a_list_do_not_raise_or_send_the_message():
    workspace = MessageAPI(LOGGED_IN | {"generated_ids": []})
    with pytest.raises(AttributeError, match="'list' object has no attribute 'add'"):
        workspace.send_message("USR002", "a")
    assert (len(workspace.inbox), workspace.message_count) == (3, 3)


def test_a_refused_message_uses_up_an_id():
    refused, sent = run(LOGGED_IN, "send_message('Bob', 'a')", "send_message('USR002', 'a')")
    assert refused == '{"error": "Receiver ID \'Bob\' not found."}'
    assert json.loads(sent)["message_id"] == {"new_id": 67410}


def test_delete_counts_down_or_takes_another_receivers_message():
    workspace = MessageAPI(dict(LOGGED_IN))
    assert workspace.delete_message("USR003") == {
        "deleted_status": True,
        "receiver_id": "USR003",
        "message": "Receiver USR003's latest message deleted successfully.",
    }
    assert [*map(list, workspace.inbox)] == [["USR002"], ["USR004"]]
    assert workspace.message_count == 3
    assert workspace.delete_message("USR003") == {"error": "Receiver ID USR003 not found."}


def test_delete_takes_the_newer_of_two_equal_messages():
    inbox = [{"USR002": "same"}, {"USR002": "between"}, {"USR002": "same"}]
    workspace = MessageAPI(LOGGED_IN | {"inbox": inbox})
    workspace.delete_message("USR002")
    assert workspace.inbox == [{"USR002": "between"}, {"USR002": "same"}]


def test_view_hides_other_senders_messages_or_loses_order():
    assert run(LOGGED_IN, "send_message('USR003', 'again')", "view_messages_sent()")[1] == (
        '{"messages": {"USR002": ["My name is Alice. I want to connect."], '
        '"USR003": ["Could you upload the file?", "again"], "USR004": ["Could you upload the file?"]}}'
    )


def test_further_pairs_of_a_record_are_read():
    config = LOGGED_IN | {"inbox": [{"USR002": "first", "USR003": "second"}]}
    assert run(config, "view_messages_sent()", "search_messages('second')", "get_message_stats()") == [
        '{"messages": {"USR002": ["first"]}}',
        '{"results": []}',
        '{"stats": {"received_count": 1, "total_contacts": 1}}',
    ]


def test_an_empty_record_does_not_raise():
    config = LOGGED_IN | {"inbox": [{}]}
    raised = "Error during execution: list index out of range"
    assert (
        run(config, "view_messages_sent()", "search_messages('a')", "get_message_stats()", "delete_message('USR002')")
        == [raised] * 4
    )


def test_search_minds_case_or_misses_a_receiver():
    assert run(LOGGED_IN, "search_messages('UPLOAD')") == [
        '{"results": [{"receiver_id": "USR003", "message": "Could you upload the file?"}, '
        '{"receiver_id": "USR004", "message": "Could you upload the file?"}]}'
    ]


def test_search_survives_messages_loaded_as_lists_or_a_bad_keyword():
    config = LOGGED_IN | {"inbox": [{"USR002": ["hi"]}]}
    assert run(config, "search_messages('hi')", "search_messages(5)") == [
        "Error during execution: 'list' object has no attribute 'lower'",
        "Error during execution: 'int' object has no attribute 'lower'",
    ]


def test_a_failing_contact_keeps_the_user_number():
    config = {"user_count": 1, "user_map": {"Alice": "USR001", "Bob": "USR002"}}
    assert run(config, "add_contact('Alice')", "add_contact('Eve')", "add_contact('Eve')") == [
        '{"error": "User name \'Alice\' already exists."}',
        '{"error": "User ID \'USR002\' already exists."}',
        '{"added_status": true, "user_id": "USR003", "message": "Contact \'Eve\' added successfully."}',
    ]


def test_user_numbers_lose_their_padding():
    assert [MessageAPI({"user_count": n}).add_contact("Eve")["user_id"] for n in (8, 99, 999, -2)] == [
        "USR009",
        "USR100",
        "USR1000",
        "USR-01",
    ]


def test_user_lookups_answer_differently():
    assert run(
        {}, "list_users()", "get_user_id('Bob')", "get_user_id('bob')", "get_user_id(['Bob'])", "get_user_id()"
    ) == [
        '{"user_list": ["Alice", "Bob", "Catherine", "Daniel"]}',
        '{"user_id": "USR002"}',
        '{"error": "User \'bob\' not found in the workspace."}',
        "Error during execution: unhashable type: 'list'",
        "Error during execution: MessageAPI.get_user_id() missing 1 required positional argument: 'user'",
    ]


def test_description_is_not_json():
    workspace = MessageAPI(dict(LOGGED_IN))
    workspace.send_message("USR002", "a")
    workspace.send_message("USR002", "b")
    described = workspace.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["generated_ids"] == [41772, 67410]
    assert workspace.generated_ids == {41772, 67410}
