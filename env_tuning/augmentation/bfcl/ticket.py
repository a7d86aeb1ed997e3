"""Hints of TicketAPI: log in first, ids of tickets that exist, fields that can be changed."""

from __future__ import annotations

from env_tuning.augmentation.generic import well_typed
from env_tuning.augmentation.rules import ErrorCategory, HintKind, HintRule

_BY_ID = ("get_ticket", "close_ticket", "resolve_ticket", "edit_ticket")

RULES = (
    HintRule(
        name="ticket.login",
        tools=("create_ticket",),
        pattern=r"User not authenticated",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="Tickets belong to a user who is logged in. Log in to the ticket system first, with what the user gave "
        "you; if that is nothing, ask.",
    ),
    HintRule(
        name="ticket.login_to_list",
        tools=("get_user_tickets",),
        pattern=r"User not authenticated",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="These are the tickets of whoever is logged in, and nobody is. Log in to the ticket system first.",
        quiet=True,
    ),
    HintRule(
        name="ticket.priority",
        tools=("create_ticket",),
        pattern=r"Invalid priority",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The priority is a whole number on the scale that the description of the parameter gives; the top of the "
        "scale is the most urgent. Words such as high have to be turned into it.",
    ),
    HintRule(
        name="ticket.missing",
        tools=_BY_ID,
        pattern=r"Ticket with ID .* not found",
        when=well_typed,
        category=ErrorCategory.DEPENDENCY_MISSING,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text="No ticket has this number. Take it from the result that created the ticket, or list the user's tickets.",
    ),
    HintRule(
        name="ticket.closed",
        tools=("close_ticket",),
        pattern=r"already closed",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Nothing is left to do for this ticket. Check that it is the one the user means.",
    ),
    HintRule(
        name="ticket.resolved",
        tools=("resolve_ticket",),
        pattern=r"already resolved",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="It has a resolution already, which stays. If its text has to change, look for a tool that edits tickets.",
    ),
    HintRule(
        name="ticket.fields",
        tools=("edit_ticket",),
        pattern=r"Invalid fields for update",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The updates are one object whose keys are the fields of a ticket that a user sees and may change, in "
        "small letters. The fields named in the error are none of these: correct their names or leave them out.",
    ),
    HintRule(
        name="ticket.incomplete",
        tools=(*_BY_ID, "get_user_tickets"),
        pattern=r"^Error during execution: '(?:id|created_by|status)'$",
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="A stored ticket lacks the field that is looked at, so this search stops there. Tickets made in this "
        "conversation answer with all their fields when they are made: use those.",
    ),
    HintRule(
        name="ticket.login_refused",
        tools=("ticket_login",),
        pattern=r'"success": false',
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Neither the user name nor the password may be empty. Take them from the user's words, or ask.",
        quiet=True,
    ),
    HintRule(
        name="ticket.logged_out",
        tools=("logout",),
        pattern=r'"success": false',
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Nobody is logged in, so there is nothing to end.",
        quiet=True,
    ),
)
