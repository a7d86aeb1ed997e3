"""The ticket queue: quirks and error paths, with the texts the benchmark's judge compares."""

import pytest

from env_tuning.calls import parse_call
from env_tuning.environments.bfcl.ticket import TicketAPI
from env_tuning.environments.environment import Environment


def ticket(**fields):
    return {
        "id": 1,
        "title": "t",
        "description": "d",
        "status": "Open",
        "priority": 2,
        "created_by": "ada",
        **fields,
    }


def ask(queue, *calls):
    """The text of the last call's result."""
    environment = Environment({"TicketAPI": queue})
    return [environment.call(parse_call(call)).text for call in calls][-1]


def test_defaults_are_the_benchmarks():
    assert TicketAPI({}).public_state() == {"ticket_queue": [], "ticket_counter": 1, "current_user": None}


def test_the_counter_is_not_derived_from_the_tickets_that_were_loaded():
    queue = TicketAPI({"ticket_queue": [ticket()], "current_user": "ada"})
    assert ask(queue, "create_ticket('second')") == (
        '{"id": 1, "title": "second", "description": "", "status": "Open", "priority": 1, "created_by": "ada"}'
    )
    assert ask(queue, "get_ticket(1)").startswith('{"id": 1, "title": "t"')


def test_only_a_user_may_create_a_ticket():
    queue = TicketAPI({})
    assert ask(queue, "create_ticket('x', priority=9)") == (
        '{"error": "User not authenticated. Please log in to create a ticket."}'
    )
    assert queue.ticket_counter == 1


@pytest.mark.parametrize("priority", ["0", "6", "5.5"])
def test_creation_checks_the_priority(priority):
    queue = TicketAPI({"current_user": "ada"})
    assert ask(queue, f"create_ticket('x', 'y', {priority})") == (
        '{"error": "Invalid priority. Priority must be between 1 and 5."}'
    )


def test_a_priority_that_is_text_raises():
    assert ask(TicketAPI({"current_user": "ada"}), "create_ticket('x', priority='1')") == (
        "Error during execution: '<' not supported between instances of 'str' and 'int'"
    )


@pytest.mark.parametrize("call", ["get_ticket(7)", "close_ticket(7)", "resolve_ticket(7, 'r')", "edit_ticket(7, {})"])
def test_a_ticket_that_is_not_there_is_an_error(call):
    assert ask(TicketAPI({"ticket_queue": [ticket()]}), call) == '{"error": "Ticket with ID 7 not found."}'


def test_closing_and_resolving_twice_is_refused_but_one_after_the_other_is_not():
    queue = TicketAPI({"ticket_queue": [ticket()]})
    assert ask(queue, "close_ticket(1)") == '{"status": "Ticket 1 has been closed successfully."}'
    assert ask(queue, "close_ticket(1)") == '{"error": "Ticket with ID 1 is already closed."}'
    assert ask(queue, "resolve_ticket(1, 'done')") == '{"status": "Ticket 1 has been resolved successfully."}'
    assert ask(queue, "resolve_ticket(1, 'again')") == '{"error": "Ticket with ID 1 is already resolved."}'
    assert queue.ticket_queue == [ticket(status="Resolved", resolution="done")]


def test_an_edit_accepts_any_status_and_priority_and_skips_none():
    queue = TicketAPI({"ticket_queue": [ticket()]})
    assert ask(queue, "edit_ticket(1, {'status': 'Lost', 'priority': 99, 'title': None})") == (
        '{"status": "Ticket 1 has been updated successfully."}'
    )
    assert queue.ticket_queue == [ticket(status="Lost", priority=99)]


def test_an_edit_with_a_wrong_field_changes_nothing_and_names_it():
    queue = TicketAPI({"ticket_queue": [ticket()]})
    assert ask(queue, "edit_ticket(1, {'title': 'new', 'owner': 'x'})") == (
        '{"error": "Invalid fields for update: owner"}'
    )
    assert queue.ticket_queue == [ticket()]


def test_several_wrong_fields_are_named_in_the_callers_order():
    queue = TicketAPI({"ticket_queue": [ticket()]})
    fields = [f"f{number}" for number in range(9, 0, -1)]
    updates = dict.fromkeys(fields, 1)
    assert ask(queue, f"edit_ticket(1, {updates!r})") == (
        f'{{"error": "Invalid fields for update: {", ".join(fields)}"}}'
    )


def test_updates_that_are_no_mapping_raise_the_benchmarks_text():
    assert ask(TicketAPI({"ticket_queue": [ticket()]}), "edit_ticket(1, 'title')") == (
        "Error during execution: 'str' object has no attribute 'keys'"
    )


def test_any_credentials_log_in_unless_one_is_empty():
    queue = TicketAPI({})
    assert ask(queue, "ticket_login('ada', '')") == '{"success": false}'
    assert ask(queue, "ticket_get_login_status()") == '{"login_status": false}'
    assert ask(queue, "ticket_login(username='ada', password='anything')") == '{"success": true}'
    assert ask(queue, "ticket_get_login_status()") == '{"login_status": true}'
    assert ask(queue, "logout()") == '{"success": true}'
    assert ask(queue, "logout()") == '{"success": false}'


def test_logging_out_an_empty_user_leaves_it_as_it_was():
    queue = TicketAPI({"current_user": ""})
    assert ask(queue, "logout()") == '{"success": false}'
    assert queue.current_user == ""


def test_listing_without_a_user_is_a_list_with_an_error():
    assert ask(TicketAPI({}), "get_user_tickets()") == (
        "[{'error': 'User not authenticated. Please log in to view tickets.'}]"
    )


def test_listing_filters_by_creator_and_by_status_in_any_case():
    tickets = [ticket(), ticket(id=2, created_by="bob"), ticket(id=3, status="Closed")]
    queue = TicketAPI({"ticket_queue": tickets, "current_user": "ada"})
    assert ask(queue, "get_user_tickets()") == str([tickets[0], tickets[2]])
    assert ask(queue, "get_user_tickets('cLOSED')") == str([tickets[2]])
    assert ask(queue, "get_user_tickets('')") == str([tickets[0], tickets[2]])


def test_tickets_of_other_shapes_raise_what_the_benchmark_raises():
    queue = TicketAPI({"ticket_queue": [{"ticket_001": {"status": "Open"}}], "current_user": "ada"})
    assert ask(queue, "get_ticket(1)") == "Error during execution: 'id'"
    assert ask(queue, "get_user_tickets()") == "Error during execution: 'created_by'"


def test_argument_errors_carry_the_benchmarks_names():
    assert ask(TicketAPI({}), "get_ticket(id=1)") == (
        "Error during execution: TicketAPI.get_ticket() got an unexpected keyword argument 'id'"
    )


def test_two_queues_share_no_state():
    first, second = TicketAPI({}), TicketAPI({})
    untouched = second.snapshot()
    ask(first, "ticket_login('ada', 'x')", "create_ticket('t')")
    assert second.matches(untouched)
    assert not first.matches(untouched)
