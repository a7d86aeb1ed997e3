"""Hints of TravelAPI: a token, a card and a booking before what needs them; codes, dates and classes as written."""

from __future__ import annotations

from env_tuning.augmentation.rules import ErrorCategory, HintKind, HintRule

_WITH_TOKEN = (
    "register_credit_card",
    "get_credit_card_balance",
    "book_flight",
    "retrieve_invoice",
    "get_booking_history",
    "cancel_booking",
    "set_budget_limit",
    "purchase_insurance",
)
_AIRPORT = "Airports are given by their three-letter codes in capitals, not by the names of cities. "
_AIRPORT_NAMED = "`get_nearest_airport_by_city` tells the code of a city."
_AIRPORT_PLAIN = "Look the code up first with a tool that tells it."

RULES = (
    HintRule(
        name="travel.token",
        tools=_WITH_TOKEN,
        pattern=r"Invalid access token",
        category=ErrorCategory.DEPENDENCY_MISSING,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text="The token is the one that the latest authentication returned, or that the user gave you: copy it "
        "exactly, as a text. Without one, authenticate first.",
    ),
    HintRule(
        name="travel.token_expired",
        tools=_WITH_TOKEN,
        pattern=r"Token expired",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="The login has run out. Authenticate again and use the new token from then on.",
    ),
    HintRule(
        name="travel.token_missing",
        tools=("register_credit_card",),
        pattern=r"Token not initialized",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="Nobody has logged in yet. Authenticate first; the result holds the token to use here.",
    ),
    HintRule(
        name="travel.card_taken",
        tools=("register_credit_card",),
        pattern=r"Card already registered",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="This card can be used as it is. Go on with its id; a tool that shows all cards tells it.",
    ),
    HintRule(
        name="travel.card",
        tools=("get_credit_card_balance", "book_flight", "purchase_insurance"),
        pattern=r"ard not registered",
        category=ErrorCategory.DEPENDENCY_MISSING,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text="A card is given by the id under which it is registered, as a text, and not by the number printed on it. "
        "Look at the registered cards, or register it first and use the id that this returns.",
    ),
    HintRule(
        name="travel.card_balance",
        tools=("book_flight",),
        pattern=r"Balance not found",
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="Nothing is known about the money on this card, so it cannot pay. Use another registered card, or ask.",
    ),
    HintRule(
        name="travel.card_without_balance",
        tools=("get_credit_card_balance", "purchase_insurance", "cancel_booking"),
        pattern=r"^Error during execution: 'balance'$",
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The card is registered, but nothing is known about the money on it. Use another registered card, or ask.",
    ),
    HintRule(
        name="travel.airport",
        tools=("book_flight",),
        pattern=r"airport code: ",
        category=ErrorCategory.DEPENDENCY_MISSING,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text=_AIRPORT + _AIRPORT_NAMED,
        names=("get_nearest_airport_by_city",),
        plain=_AIRPORT + _AIRPORT_PLAIN,
    ),
    HintRule(
        name="travel.route",
        tools=("get_flight_cost", "book_flight"),
        pattern=r"No available route",
        category=ErrorCategory.DEPENDENCY_MISSING,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text="There is no direct flight this way. Check the direction, and that both are codes. "
        + _AIRPORT
        + _AIRPORT_NAMED,
        names=("get_nearest_airport_by_city",),
        plain="There is no direct flight this way. Check the direction, and that both are codes. "
        + _AIRPORT
        + _AIRPORT_PLAIN,
    ),
    HintRule(
        name="travel.date",
        tools=("book_flight",),
        pattern=r"Invalid date format",
        category=ErrorCategory.FORMAT_MISMATCH,
        kind=HintKind.CORRECT_FORMAT,
        text="The date is written as year, month and day with dashes between, four and two and two digits, and the "
        "day has to exist.",
    ),
    HintRule(
        name="travel.date_type",
        tools=("book_flight", "verify_traveler_information"),
        pattern=r"^Error during execution: strptime",
        category=ErrorCategory.FORMAT_MISMATCH,
        kind=HintKind.CORRECT_FORMAT,
        text="A date is a text in quotes: year, month and day with dashes between.",
    ),
    HintRule(
        name="travel.class",
        tools=("get_flight_cost", "book_flight"),
        pattern=r"Invalid travel class",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The class is one of those that the error lists, as a single word in small letters.",
    ),
    HintRule(
        name="travel.funds",
        tools=("book_flight",),
        pattern=r"Insufficient funds",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="The card cannot pay this flight. Compare its balance with the price first; another card, date or class "
        "is for the user to choose.",
    ),
    HintRule(
        name="travel.budget",
        tools=("book_flight",),
        pattern=r"Balance is less than budget limit",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The money on the card has to be at least as much as the budget limit that was set. Use a card with "
        "more on it, or ask the user whether the limit may be lowered.",
    ),
    HintRule(
        name="travel.insurance_budget",
        tools=("purchase_insurance",),
        pattern=r"Exceeded budget limit",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The insurance costs more than the budget limit that was set. Check the amount, or ask whether the limit "
        "may be raised.",
    ),
    HintRule(
        name="travel.booking",
        tools=("retrieve_invoice", "cancel_booking", "purchase_insurance", "contact_customer_support"),
        pattern=r"Booking not found",
        category=ErrorCategory.DEPENDENCY_MISSING,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text="A booking is given by the id that booking the flight returned, copied exactly as a text; it is not the "
        "transaction's or the insurance's. A cancelled booking is gone.",
    ),
    HintRule(
        name="travel.broken_booking",
        tools=("retrieve_invoice", "cancel_booking"),
        pattern=r"^Error during execution: '",
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The stored booking lacks a part that is needed for this. Look at the booking history, and tell the user.",
    ),
    HintRule(
        name="travel.currency",
        tools=("compute_exchange_rate",),
        pattern=r"No available exchange rate",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Currencies are written as the three capitals that the description lists, and one of the two has to be "
        "the US dollar. Between two others, convert twice.",
    ),
    HintRule(
        name="travel.traveler",
        tools=("verify_traveler_information",),
        pattern=r"for another user",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text="Names are compared with those of the login, letter by letter, first name and last name apart. If nobody "
        "has logged in, authenticate first.",
        quiet=True,
    ),
    HintRule(
        name="travel.birthday",
        tools=("verify_traveler_information",),
        pattern=r"Invalid date of birth",
        category=ErrorCategory.FORMAT_MISMATCH,
        kind=HintKind.CORRECT_FORMAT,
        text="The date of birth is written as year, month and day with dashes between, four and two and two digits.",
        quiet=True,
    ),
    HintRule(
        name="travel.passport",
        tools=("verify_traveler_information",),
        pattern=r"at least 18|issued by the United States",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="This traveler does not meet the rules. Check that date of birth and passport number are copied exactly; "
        "if they are, tell the user.",
        quiet=True,
    ),
    HintRule(
        name="travel.city",
        tools=("get_nearest_airport_by_city",),
        pattern=r'"nearest_airport": "Unknown"',
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Only the cities in the description are known, by their name alone: capitals as there, no state and no "
        "country. What is an airport's code already needs no look-up.",
        quiet=True,
    ),
)
