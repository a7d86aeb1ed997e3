"""Hints of MessageAPI: log in first, and ids instead of names."""

from __future__ import annotations

from env_tuning.augmentation.rules import ErrorCategory, HintKind, HintRule

RULES = (
    HintRule(
        name="message.login",
        tools=("send_message", "delete_message", "view_messages_sent", "search_messages", "get_message_stats"),
        pattern=r"No user is currently logged in",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="This works only for a user who is logged in. Log in to the workspace first, with the id of the user you "
        "act for.",
    ),
    HintRule(
        name="message.receiver",
        tools=("send_message",),
        pattern=r"Receiver ID .* not found",
        category=ErrorCategory.DEPENDENCY_MISSING,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text="A receiver is given by id, not by name. `get_user_id` tells the id of a name; somebody without one has "
        "to become a contact first.",
        names=("get_user_id",),
        plain="A receiver is given by id, not by name. Look the id up with a tool that tells it; somebody without one "
        "has to become a contact first.",
    ),
    HintRule(
        name="message.nothing_sent",
        tools=("delete_message",),
        pattern=r"Receiver ID .* not found",
        category=ErrorCategory.DEPENDENCY_MISSING,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="No message to this receiver is there. Receivers are given by id, not by name; look at the messages that "
        "were sent to see whose there are.",
    ),
    HintRule(
        name="message.user",
        tools=("get_user_id",),
        pattern=r"not found in the workspace",
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="Nobody here has exactly this name. Look at all names with a tool that lists the users; a new person has "
        "to become a contact first.",
    ),
    HintRule(
        name="message.contact_name",
        tools=("add_contact",),
        pattern=r"User name .* already exists",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="This person is a contact already, so nothing has to be done here. Go on with the person's id.",
    ),
    HintRule(
        name="message.contact_id",
        tools=("add_contact",),
        pattern=r"User ID .* already exists",
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The next free id was taken, and the counter has moved on: the same call may work when it is repeated.",
    ),
    HintRule(
        name="message.unreadable",
        tools=("search_messages",),
        pattern=r"^Error during execution: .*has no attribute 'lower'",
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="The inbox holds entries that cannot be searched by keyword. Show all the messages and read them instead.",
    ),
    HintRule(
        name="message.login_refused",
        tools=("message_login",),
        pattern=r'"login_status": false',
        category=ErrorCategory.DEPENDENCY_MISSING,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text="You log in with a user's id, not with a name. `get_user_id` tells the id of a name.",
        names=("get_user_id",),
        plain="You log in with a user's id, not with a name. Look the id up with a tool that tells it.",
        quiet=True,
    ),
)
