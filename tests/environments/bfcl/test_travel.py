"""TravelAPI: the benchmark's quirks and error texts, as literals."""

from __future__ import annotations

import copy
import json
from dataclasses import fields
from datetime import datetime
from typing import Any

import pytest

from env_tuning.calls import parse_call
from env_tuning.environments.bfcl import travel
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.environments.bfcl.routes import AIRPORTS, FARES, NEAREST_AIRPORT
from env_tuning.environments.bfcl.travel import TravelAPI
from env_tuning.environments.environment import Environment

LOGGED_IN = {
    "access_token": "token",
    "token_expires_in": 2,
    "user_first_name": "Ann",
    "user_last_name": "Lee",
    "credit_card_list": {"card": {"balance": 1000.0}},
    "booking_record": {"old": {"flight_number": "X1"}},
}
FLIGHT = "card_id='card', travel_date='2026-01-02', travel_from='SFO', travel_to='LAX', travel_class='economy'"


def environment(long_context: LongContext | None = None, **config: Any) -> Environment:
    return Environment({"TravelAPI": TravelAPI(copy.deepcopy(config), long_context)})


def text(env: Environment, call: str) -> str:
    return env.call(parse_call(call)).text


def state(env: Environment) -> dict[str, Any]:
    return env.tool_classes["TravelAPI"].public_state()


@pytest.fixture
def padding() -> LongContext:
    tables: dict[str, Any] = {field.name: [] for field in fields(LongContext)}
    tables["credit_card_extension"] = {"extra": {"balance": 5000.0}, "card": {"balance": 1.0}}
    tables["booking_record_extension"] = {"booking_901": {"card_id": "extra", "travel_cost": 400.0}}
    return LongContext(**tables)


def test_an_empty_config_has_every_public_attribute() -> None:
    assert state(environment()) == {
        "credit_card_list": {},
        "booking_record": {},
        "access_token": None,
        "token_type": None,
        "token_expires_in": None,
        "token_scope": None,
        "user_first_name": None,
        "user_last_name": None,
        "budget_limit": None,
        "long_context": False,
    }


def test_ids_are_the_seeded_generators() -> None:
    env = environment(**LOGGED_IN)
    assert text(env, f"book_flight('token', {FLIGHT})") == (
        '{"booking_id": "3426812", "transaction_id": "45451592", "booking_status": true, "booking_history": {}}'
    )
    assert state(env)["booking_record"]["3426812"]["travel_cost"] == 200.0
    assert state(env)["credit_card_list"]["card"]["balance"] == 800.0


def test_a_configured_seed_is_used() -> None:
    login = "authenticate_travel('i', 's', 'r', 'read', 'A', 'B')"
    assert text(environment(random_seed=1), login) != text(environment(), login)


def test_login_issues_a_token_and_renames_the_user() -> None:
    env = environment(**LOGGED_IN)
    result = json.loads(text(env, "authenticate_travel('i', 's', 'r', 'read', 'Bo', 'Ng')"))
    assert list(result) == ["expires_in", "access_token", "token_type", "scope"]
    assert result["access_token"] == state(env)["access_token"] != "token"
    assert (state(env)["user_first_name"], state(env)["token_scope"]) == ("Bo", "read")


def test_login_status_knows_missing_and_expired_tokens() -> None:
    assert text(environment(), "travel_get_login_status()") == '{"status": false}'
    assert text(environment(token_expires_in=0), "travel_get_login_status()") == '{"status": false}'
    assert text(environment(token_expires_in=-1), "travel_get_login_status()") == '{"status": true}'


def test_none_is_a_valid_token_before_login() -> None:
    env = environment()
    assert text(env, "set_budget_limit(None, '50')") == '{"budget_limit": 50.0}'
    assert text(env, "register_credit_card(None, '1', '1/30', 'A', 1)") == '{"error": "Token not initialized"}'


@pytest.mark.parametrize("expires_in, problem", [(0, "Token expired"), (2, "Invalid access token")])
def test_each_secured_tool_refuses_a_bad_token(expires_in: int, problem: str) -> None:
    env = environment(token_expires_in=expires_in)
    refused = json.dumps({"error": problem})
    for call in (
        "register_credit_card('x', '1', '1/30', 'A', 1)",
        "get_credit_card_balance('x', 'card')",
        "retrieve_invoice('x')",
        "get_booking_history('x')",
        "set_budget_limit('x', 1)",
    ):
        assert text(env, call) == refused
    assert json.loads(text(env, f"book_flight('x', {FLIGHT})")) == {"booking_status": False, "error": problem}
    assert json.loads(text(env, "cancel_booking('x', 'b')")) == {"cancel_status": False, "error": problem}
    assert json.loads(text(env, "purchase_insurance('x', 't', 'b', 1, 'c')")) == {
        "insurance_status": False,
        "error": problem,
    }


def test_registering_asks_the_card_ids_not_the_numbers() -> None:
    env = environment(**LOGGED_IN)
    register = "register_credit_card('token', '42', '1/30', 'Ann', 123)"
    first, second = text(env, register), text(env, register)
    assert first != second and "card_id" in second
    assert text(env, register.replace("'42'", "'card'")) == '{"error": "Card already registered"}'
    card = state(env)["credit_card_list"][json.loads(first)["card_id"]]
    assert list(card) == [
        "card_number",
        "expiration_date",
        "cardholder_name",
        "card_verification_number",
        "balance",
    ]
    assert 10000 <= card["balance"] <= 99999


def test_a_fare_doubles_when_the_digit_sum_of_the_date_is_even() -> None:
    env = environment()
    assert text(env, "get_flight_cost('SFO', 'LAX', '2024-01-02', 'economy')") == '{"travel_cost_list": [200.0]}'
    assert text(env, "get_flight_cost('SFO', 'LAX', '2024-01-01', 'economy')") == '{"travel_cost_list": [400.0]}'
    assert text(env, "get_flight_cost('SFO', 'LAX', '2024-01-02', 'first')") == '{"travel_cost_list": [1000.0]}'


def test_pricing_raises_where_booking_declines() -> None:
    env = environment(**LOGGED_IN)
    assert text(env, "get_flight_cost('LHR', 'SFO', '2024-01-02', 'economy')") == (
        "Error during execution: No available route for the given airports."
    )
    assert text(env, "get_flight_cost('SFO', 'LAX', '2024-01-02', ['economy'])") == (
        "Error during execution: Invalid travel class. Options are: economy, business, first."
    )
    booking = f"book_flight('token', {FLIGHT})"
    assert text(env, booking.replace("SFO", "LHR").replace("LAX", "SFO")) == (
        '{"booking_status": false, "error": "No available route for the given airports."}'
    )
    assert text(env, booking.replace("'economy'", "['economy']")) == "Error during execution: unhashable type: 'list'"


@pytest.mark.parametrize(
    "old, new, problem",
    [
        ("'card'", "'nope'", "Card not registered"),
        ("SFO", "PVG", "Invalid departure airport code: PVG"),
        ("'LAX'", "['LAX']", "Invalid destination airport code: ['LAX']"),
        ("2026-01-02", "2026-02-30", "Invalid date format. Use YYYY-MM-DD."),
        ("economy", "coach", "Invalid travel class. Must be one of {'economy', 'business', 'first'}"),
        ("'economy'", "'first', extra=1", None),
    ],
)
def test_booking_declines_in_this_order(old: str, new: str, problem: str | None) -> None:
    env = environment(**LOGGED_IN)
    before = env.snapshot()
    result = text(env, f"book_flight('token', {FLIGHT})".replace(old, new))
    if problem is None:
        assert result == ("Error during execution: TravelAPI.book_flight() got an unexpected keyword argument 'extra'")
    else:
        assert json.loads(result) == {"booking_status": False, "error": problem}
    assert env.mismatches(before) == ()


def test_a_card_without_balance_cannot_book() -> None:
    env = environment(**{**LOGGED_IN, "credit_card_list": {"card": {"number": "1"}}})
    assert text(env, f"book_flight('token', {FLIGHT})") == '{"booking_status": false, "error": "Balance not found"}'
    assert text(env, "get_credit_card_balance('token', 'card')") == "Error during execution: 'balance'"
    assert text(env, "get_credit_card_balance('token', 'nope')") == (
        """{"error": "Card not registered. Here are a list of card_id's: ['card']"}"""
    )


def test_the_budget_limit_is_compared_with_the_balance() -> None:
    env = environment(**LOGGED_IN, budget_limit=1000.5)
    assert text(env, f"book_flight('token', {FLIGHT})") == (
        '{"booking_status": false, "error": "Balance is less than budget limit"}'
    )
    assert text(environment(**LOGGED_IN, budget_limit=1.0), f"book_flight('token', {FLIGHT})").startswith(
        '{"booking_id"'
    )


def test_a_booking_without_the_usual_fields_raises() -> None:
    env = environment(**LOGGED_IN)
    assert text(env, "retrieve_invoice('token', 'old')") == "Error during execution: 'travel_date'"
    assert text(env, "cancel_booking('token', 'old')") == "Error during execution: 'card_id'"
    assert text(env, "retrieve_invoice('token', insurance_id='1')") == '{"error": "Booking not found"}'


def test_cancelling_refunds_and_forgets_the_booking() -> None:
    env = environment(**LOGGED_IN)
    text(env, f"book_flight('token', {FLIGHT})")
    assert text(env, "cancel_booking('token', '3426812')") == '{"cancel_status": true}'
    assert state(env)["credit_card_list"] == LOGGED_IN["credit_card_list"]
    assert state(env)["booking_record"] == LOGGED_IN["booking_record"]


def test_insurance_may_overdraw_a_card_but_not_the_budget() -> None:
    env = environment(**LOGGED_IN)
    assert text(env, "purchase_insurance('token', 't', 'old', 5000, 'card')") == (
        '{"insurance_id": "255316027", "insurance_status": true}'
    )
    assert state(env)["credit_card_list"]["card"]["balance"] == -4000.0
    text(env, "set_budget_limit('token', 10)")
    assert text(env, "purchase_insurance('token', 't', 'nope', 11, 'card')") == (
        '{"insurance_status": false, "error": "Exceeded budget limit"}'
    )
    assert text(env, "purchase_insurance('token', 't', 'old', 1, 'nope')") == (
        '{"insurance_status": false, "error": "Credit card not registered"}'
    )


def test_only_conversion_to_dollars_rounds() -> None:
    env = environment()
    assert text(env, "compute_exchange_rate('USD', 'EUR', 0.7)") == '{"exchanged_value": 0.5599999999999999}'
    assert text(env, "compute_exchange_rate('EUR', 'USD', 0.333)") == '{"exchanged_value": 0.42}'
    assert text(env, "compute_exchange_rate('USD', 'RMB', '5')") == '{"exchanged_value": 5555555.0}'
    for pair in ("'EUR', 'GBP'", "'USD', 'USD'", "['USD'], 'RMB'"):
        assert text(env, f"compute_exchange_rate({pair}, 1)") == (
            "Error during execution: No available exchange rate for the given currencies."
        )


def test_a_traveler_must_be_the_user_of_age_with_a_us_passport(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def today(cls) -> Clock:
            return cls(2026, 6, 15)

    monkeypatch.setattr(travel, "datetime", Clock)
    env = environment(**LOGGED_IN)
    assert json.loads(text(env, "verify_traveler_information('Bo', 'Ng', 'x', 1)")) == {
        "verification_status": False,
        "verification_failure": "Cannot book flight information for another user.Expected Ann Lee, got Bo Ng",
    }
    for born, passport, failure in (
        ("15-06-2008", "US1", "Invalid date of birth format. Please use YYYY-MM-DD."),
        ("2008-06-16", "US1", "Traveler must be at least 18 years old."),
        ("2008-06-15", "us1", "Passport must be issued by the United States."),
    ):
        result = json.loads(text(env, f"verify_traveler_information('Ann', 'Lee', '{born}', '{passport}')"))
        assert result == {"verification_status": False, "verification_failure": failure}
    assert text(env, "verify_traveler_information('Ann', 'Lee', '2008-06-15', 'US1')") == (
        '{"verification_status": true}'
    )
    assert text(env, "verify_traveler_information('Ann', 'Lee', 2008, 'US1')") == (
        "Error during execution: strptime() argument 1 must be str, not int"
    )


def test_airports_and_fares_are_the_benchmarks_tables() -> None:
    env = environment()
    assert text(env, "list_all_airports()").startswith("['RMS', 'SBK', 'MPC', 'SVP', 'SHD', 'CDG', 'LHR'")
    assert set(NEAREST_AIRPORT.values()) == set(AIRPORTS) and len(AIRPORTS) == 23
    assert len(FARES) == 153 and sum(FARES.values()) == 52820
    assert text(env, "get_nearest_airport_by_city('Oz')") == '{"nearest_airport": "Unknown"}'


def test_long_context_pads_state_prices_and_history(padding: LongContext) -> None:
    env = environment(padding, **LOGGED_IN)
    assert state(env)["long_context"] is True
    assert state(env)["credit_card_list"] == {"card": {"balance": 1000.0}, "extra": {"balance": 5000.0}}
    prices = json.loads(text(env, "get_flight_cost('OKD', 'LAX', '2024-01-02', 'business')"))["travel_cost_list"]
    assert (len(prices), prices[0], prices[-1]) == (153, 400.0, 440.0)
    history = json.loads(text(env, f"book_flight('token', {FLIGHT})"))["booking_history"]
    assert list(history) == ["old", "booking_901", "3426812"]


def test_two_instances_never_share_state(padding: LongContext) -> None:
    untouched = copy.deepcopy(padding)
    config = {"access_token": "token", "token_expires_in": 2}
    first, second = environment(padding, **config), environment(padding, **config)
    before = second.snapshot()
    assert "booking_id" in text(first, f"book_flight('token', {FLIGHT})".replace("'card'", "'extra'"))
    assert text(first, "cancel_booking('token', 'booking_901')") == '{"cancel_status": true}'
    assert text(first, "register_credit_card('token', '1', '1/30', 'A', 1)").startswith('{"card_id"')
    assert second.mismatches(before) == () and padding == untouched
    plain, other = environment(token_expires_in=2), environment()
    text(plain, "register_credit_card(None, '1', '1/30', 'A', 1)")
    assert state(other)["credit_card_list"] == {}


@pytest.mark.parametrize(
    "text",
    [
        *("2024-11-10", "2024-02-29", "2023-02-29", "0001-01-01", "0000-01-01", "2024-13-01", "2024-1-5", "2024-W01-1"),
        *("20241110", "2024-11-10 ", " 2024-11-10", "2024-11-10\n", "٢٠٢٤-١١-١٠", "2024-11-100", "-024-11-10", ""),
    ],
)
def test_dates_are_read_as_strptime_reads_them(text):
    def outcome(read):
        try:
            found = read(text)
        except ValueError:
            return "no date"
        return found.year, found.month, found.day

    assert outcome(travel._date) == outcome(lambda text: datetime.strptime(text, "%Y-%m-%d"))
