"""Every rule of the eight classes, met by a real call: the failure, its rule, and a word of what it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hinting import hint_after, task_of

from env_tuning.augmentation.registry import RULE_MODULES, rules_of
from env_tuning.environments.registry import tool_class
from env_tuning.task import Task, ToolDoc

FILE = {"type": "file", "content": "b\na"}
TREE = {
    "root": {
        "ws": {
            "type": "directory",
            "contents": {
                "a.txt": FILE,
                "b.txt": FILE,
                "d": {"type": "directory", "contents": {"a.txt": FILE}},
                "e": {"type": "directory", "contents": {}},
            },
        }
    }
}
LOGGED_IN = {"authenticated": True}
BROKE = {"authenticated": True, "account_info": {"account_id": 1, "balance": 5.0, "binding_card": 2}}
TICKET = {"id": 1, "title": "t", "description": "", "status": "Open", "priority": 1, "created_by": "u"}
TRAVELER = {
    "credit_card_list": {"1": {"balance": 300}, "2": {}},
    "booking_record": {"9": {}, "8": {"card_id": "1", "travel_cost": 5.0}},
    "access_token": "t",
    "token_expires_in": 2,
    "user_first_name": "A",
    "user_last_name": "B",
}
FLIGHT = {
    "access_token": "t", "card_id": "1", "travel_date": "2026-01-02",
    "travel_from": "SFO", "travel_to": "LAX", "travel_class": "economy",
}  # fmt: skip
CARD = {"card_number": "1", "expiration_date": "1/30", "cardholder_name": "A", "card_verification_number": 1}
PERSON = {"first_name": "A", "last_name": "B", "date_of_birth": "1980-01-02", "passport_number": "US1"}
INSURANCE = {
    "access_token": "t", "insurance_type": "x", "booking_id": "8", "insurance_cost": 5.0, "card_id": "1",
}  # fmt: skip
LOCKED = {"doorStatus": dict.fromkeys(("driver", "passenger", "rear_left", "rear_right"), "locked")}
CRUISE = {"speed": 60, "activate": True, "distanceToNextVehicle": 50}

Case = tuple[str, Mapping[str, Any], list[tuple[str, dict[str, Any]]], str]

CASES: dict[str, list[Case]] = {
    "GorillaFileSystem": [
        ("file_system.cd.path", TREE, [("cd", {"folder": "d/x"})], "one level"),
        ("file_system.cd.at_root", TREE, [("cd", {"folder": ".."})], "nothing above"),
        ("file_system.cd.missing", TREE, [("cd", {"folder": "x"})], "no directory"),
        ("file_system.cd.missing", TREE, [("cd", {"folder": "a.txt"})], "a file does not count"),
        ("file_system.new.path", TREE, [("mkdir", {"dir_name": "d/x"})], "without slashes"),
        ("file_system.new.path", TREE, [("touch", {"file_name": "d/x"})], "without slashes"),
        ("file_system.name.characters", TREE, [("mkdir", {"dir_name": "x?"})], "must not contain"),
        ("file_system.name.characters", TREE, [("touch", {"file_name": "x*"})], "must not contain"),
        ("file_system.new.taken", TREE, [("mkdir", {"dir_name": "d"})], "already has"),
        ("file_system.new.taken", TREE, [("touch", {"file_name": "a.txt"})], "already has"),
        ("file_system.name.path", TREE, [("echo", {"content": "x", "file_name": "d/a.txt"})], "without slashes"),
        ("file_system.name.characters", TREE, [("echo", {"content": "x", "file_name": "a|b"})], "must not contain"),
        ("file_system.echo.missing", TREE, [("echo", {"content": "x", "file_name": "new"})], "empty file first"),
        ("file_system.echo.directory", TREE, [("echo", {"content": "x", "file_name": "d"})], "is a directory"),
        ("file_system.name.path", TREE, [("cat", {"file_name": "d/a.txt"})], "without slashes"),
        ("file_system.read.missing", TREE, [("cat", {"file_name": "x"})], "no file of that name"),
        ("file_system.cat.directory", TREE, [("cat", {"file_name": "d"})], "is a directory"),
        ("file_system.find.parent", TREE, [("find", {"path": "../d"})], "go up first"),
        ("file_system.find.missing", TREE, [("find", {"path": "x"})], "where to start"),
        ("file_system.wc.mode", TREE, [("wc", {"file_name": "a.txt", "mode": "lines"})], "one small letter"),
        ("file_system.read.path", TREE, [("wc", {"file_name": "d/a.txt"})], "without slashes"),
        ("file_system.read.missing", TREE, [("wc", {"file_name": "d"})], "a directory does not count"),
        ("file_system.read.path", TREE, [("sort", {"file_name": "d/a.txt"})], "without slashes"),
        ("file_system.read.missing", TREE, [("sort", {"file_name": "x"})], "no file of that name"),
        ("file_system.read.path", TREE, [("grep", {"file_name": "d/a.txt", "pattern": "a"})], "without slashes"),
        ("file_system.read.missing", TREE, [("grep", {"file_name": "x", "pattern": "a"})], "no file of that name"),
        ("file_system.read.path", TREE, [("tail", {"file_name": "d/a.txt"})], "without slashes"),
        ("file_system.read.missing", TREE, [("tail", {"file_name": "d"})], "a directory does not count"),
        ("file_system.diff.path", TREE, [("diff", {"file_name1": "a.txt", "file_name2": "d/a.txt"})], "two names"),
        ("file_system.diff.missing", TREE, [("diff", {"file_name1": "a.txt", "file_name2": "d"})], "Both names"),
        ("file_system.transfer.source_path", TREE, [("mv", {"source": "d/a.txt", "destination": "e"})], "source"),
        ("file_system.transfer.source_missing", TREE, [("mv", {"source": "x", "destination": "e"})], "source"),
        ("file_system.transfer.destination_path", TREE, [("mv", {"source": "a.txt", "destination": "d/e"})], "several"),
        ("file_system.transfer.onto_file", TREE, [("mv", {"source": "a.txt", "destination": "b.txt"})], "overwritten"),
        ("file_system.transfer.taken", TREE, [("mv", {"source": "a.txt", "destination": "d"})], "overwritten"),
        ("file_system.transfer.source_path", TREE, [("cp", {"source": "d/a.txt", "destination": "e"})], "source"),
        ("file_system.transfer.source_missing", TREE, [("cp", {"source": "x", "destination": "e"})], "source"),
        ("file_system.transfer.destination_path", TREE, [("cp", {"source": "a.txt", "destination": "e/x"})], "several"),
        ("file_system.transfer.onto_file", TREE, [("cp", {"source": "a.txt", "destination": "b.txt"})], "overwritten"),
        ("file_system.transfer.taken", TREE, [("cp", {"source": "a.txt", "destination": "d"})], "overwritten"),
        ("file_system.remove.path", TREE, [("rm", {"file_name": "d/a.txt"})], "bare name"),
        ("file_system.remove.missing", TREE, [("rm", {"file_name": "x"})], "nothing of that name"),
        ("file_system.remove.path", TREE, [("rmdir", {"dir_name": "d/x"})], "bare name"),
        ("file_system.remove.missing", TREE, [("rmdir", {"dir_name": "x"})], "nothing of that name"),
        ("file_system.rmdir.file", TREE, [("rmdir", {"dir_name": "a.txt"})], "is a file"),
        ("file_system.rmdir.not_empty", TREE, [("rmdir", {"dir_name": "d"})], "empty directory"),
        ("file_system.cycle", TREE, [("cp", {"source": "d", "destination": "d"}), ("find", {})], "copy of itself"),
        ("file_system.cycle", TREE, [("cp", {"source": "d", "destination": "d"}), ("du", {})], "copy of itself"),
        (
            "file_system.content",
            TREE,
            [("echo", {"content": 7, "file_name": "a.txt"}), ("sort", {"file_name": "a.txt"})],
            "no text",
        ),
    ],
    "MathAPI": [
        ("math.logarithm", {}, [("logarithm", {"value": 8, "base": 1, "precision": 5})], "positive"),
        ("math.logarithm", {}, [("logarithm", {"value": "eight", "base": 2, "precision": 5})], "positive"),
        ("math.empty_list", {}, [("mean", {"numbers": []})], "list is empty"),
        ("math.empty_list", {}, [("max_value", {"numbers": []})], "list is empty"),
        ("math.numbers_in_list", {}, [("sum_values", {"numbers": [1, "2"]})], "flat list"),
        ("math.numbers", {}, [("multiply", {"a": "2", "b": 3})], "no quotes"),
        ("math.numbers", {}, [("subtract", {"a": "5 km", "b": 3})], "no units"),
        ("math.value", {}, [("si_unit_conversion", {"value": "5 km", "unit_in": "km", "unit_out": "m"})], "alone"),
        ("math.si_units", {}, [("si_unit_conversion", {"value": 5, "unit_in": "ft", "unit_out": "m"})], "metric"),
        (
            "math.imperial_units",
            {},
            [("imperial_si_conversion", {"value": 5, "unit_in": "mi", "unit_out": "m"})],
            "third",
        ),
        (
            "math.too_large",
            {},
            [("imperial_si_conversion", {"value": 10**400, "unit_in": "km", "unit_out": "miles"})],
            "digits",
        ),
        ("math.zero", {}, [("divide", {"a": 1, "b": 0})], "swapped"),
        ("math.zero", {}, [("percentage", {"part": 1, "whole": 0})], "swapped"),
        ("math.root", {}, [("square_root", {"number": -4, "precision": 5})], "zero up"),
        ("math.root_input", {}, [("square_root", {"number": "four", "precision": 5})], "plain number"),
        ("math.root_input", {}, [("square_root", {"number": 4, "precision": 0})], "at least one"),
        ("math.round", {}, [("round_number", {"number": 4.5, "decimal_places": "2"})], "whole number"),
        ("math.overflow", {}, [("power", {"base": 10, "exponent": 100_000})], "too large"),
        ("math.overflow", {}, [("power", {"base": 10.0, "exponent": 5_000})], "too large"),
        ("math.zero_power", {}, [("power", {"base": 0, "exponent": -1})], "negative powers"),
        ("generic.too_much", {}, [("square_root", {"number": 4, "precision": 10**6})], "too large"),
    ],
    "MessageAPI": [
        ("message.login", {}, [("send_message", {"receiver_id": "USR002", "message": "x"})], "Log in"),
        ("message.login", {}, [("view_messages_sent", {})], "Log in"),
        ("message.login", {}, [("get_message_stats", {})], "Log in"),
        (
            "message.receiver",
            {"current_user": "USR001"},
            [("send_message", {"receiver_id": "Bob", "message": "x"})],
            "by id",
        ),
        ("message.nothing_sent", {"current_user": "USR001"}, [("delete_message", {"receiver_id": "Bob"})], "by id"),
        ("message.user", {}, [("get_user_id", {"user": "Robert"})], "lists the users"),
        ("message.contact_name", {}, [("add_contact", {"user_name": "Bob"})], "already"),
        ("message.contact_id", {"user_count": 2}, [("add_contact", {"user_name": "Eve"})], "repeated"),
        (
            "message.unreadable",
            {"current_user": "USR001", "inbox": [{"USR002": ["x"]}]},
            [("search_messages", {"keyword": "x"})],
            "keyword",
        ),
        ("message.login_refused", {}, [("message_login", {"user_id": "Alice"})], "not with a name"),
    ],
    "TwitterAPI": [
        ("posting.login", {}, [("post_tweet", {"content": "x"})], "Authenticate first"),
        ("posting.login", {}, [("list_all_following", {})], "Authenticate first"),
        ("posting.login", {}, [("unfollow_user", {"username_to_unfollow": "x"})], "Authenticate first"),
        ("posting.tweet", {}, [("get_tweet", {"tweet_id": 5})], "its id"),
        ("posting.tweet", LOGGED_IN, [("retweet", {"tweet_id": 5})], "its id"),
        ("generic.wrong_type", {}, [("get_tweet", {"tweet_id": "5"})], "whole number"),
        (
            "posting.no_mentions",
            {"tweets": {"1": {"content": "x", "tags": []}}},
            [("mention", {"tweet_id": 1, "mentioned_usernames": ["@x"]})],
            "no list of users",
        ),
        (
            "posting.unsearchable",
            {"tweets": {"1": {"content": "x"}}},
            [("search_tweets", {"keyword": "y"})],
            "one by one",
        ),
        (
            "posting.login_refused",
            {},
            [("authenticate_twitter", {"username": "john", "password": "?"})],
            "exactly as the user wrote",
        ),
        (
            "posting.retweeted",
            {"authenticated": True, "tweets": {"1": {"content": "x"}}, "retweets": {"john": [1]}},
            [("retweet", {"tweet_id": 1})],
            "only once",
        ),
    ],
    "TicketAPI": [
        ("ticket.login", {}, [("create_ticket", {"title": "x"})], "Log in"),
        ("ticket.login_to_list", {}, [("get_user_tickets", {})], "Log in"),
        ("ticket.priority", {"current_user": "u"}, [("create_ticket", {"title": "x", "priority": 9})], "scale"),
        ("ticket.missing", {}, [("get_ticket", {"ticket_id": 7})], "list the user's tickets"),
        ("ticket.missing", {}, [("close_ticket", {"ticket_id": 7})], "list the user's tickets"),
        ("generic.wrong_type", {}, [("resolve_ticket", {"ticket_id": "7", "resolution": "x"})], "whole number"),
        (
            "ticket.closed",
            {"ticket_queue": [{**TICKET, "status": "Closed"}]},
            [("close_ticket", {"ticket_id": 1})],
            "left",
        ),
        (
            "ticket.resolved",
            {"ticket_queue": [{**TICKET, "status": "Resolved"}]},
            [("resolve_ticket", {"ticket_id": 1, "resolution": "x"})],
            "resolution already",
        ),
        (
            "ticket.fields",
            {"ticket_queue": [TICKET]},
            [("edit_ticket", {"ticket_id": 1, "updates": {"owner": "x"}})],
            "fields of a ticket",
        ),
        (
            "ticket.incomplete",
            {"ticket_queue": [{"title": "x"}]},
            [("get_ticket", {"ticket_id": 1})],
            "lacks the field",
        ),
        ("ticket.login_refused", {}, [("ticket_login", {"username": "", "password": "x"})], "may be empty"),
        ("ticket.logged_out", {}, [("logout", {})], "Nobody"),
    ],
    "TradingBot": [
        ("trading.login", {}, [("get_account_info", {})], "Log in"),
        ("trading.login", {}, [("fund_account", {"amount": 5})], "Log in"),
        ("trading.login", {}, [("remove_stock_from_watchlist", {"symbol": "NVDA"})], "Log in"),
        ("trading.login_to_list", {}, [("get_watchlist", {})], "Log in"),
        ("trading.login_to_list", {}, [("get_order_history", {})], "Log in"),
        ("trading.login_to_list", {}, [("get_transaction_history", {})], "Log in"),
        ("trading.symbol", {}, [("get_stock_info", {"symbol": "Apple"})], "ticker symbol"),
        (
            "trading.symbol",
            LOGGED_IN,
            [("place_order", {"order_type": "Buy", "symbol": "Apple", "price": 1.0, "amount": 1})],
            "ticker symbol",
        ),
        ("trading.order", {}, [("get_order_details", {"order_id": 1})], "order history"),
        ("trading.order", {}, [("cancel_order", {"order_id": 1})], "order history"),
        ("generic.wrong_type", {}, [("cancel_order", {"order_id": "12345"})], "whole number"),
        ("trading.completed", {}, [("cancel_order", {"order_id": 12345})], "cannot be undone"),
        ("trading.broken_order", {"orders": {"1": "Buy"}}, [("cancel_order", {"order_id": 1})], "no whole order"),
        (
            "trading.positive",
            LOGGED_IN,
            [("place_order", {"order_type": "Buy", "symbol": "AAPL", "price": -1.0, "amount": 1})],
            "greater than zero",
        ),
        ("trading.positive", LOGGED_IN, [("fund_account", {"amount": -5})], "greater than zero"),
        (
            "trading.order_funds",
            BROKE,
            [("place_order", {"order_type": "Buy", "symbol": "AAPL", "price": 9.0, "amount": 9})],
            "balance",
        ),
        ("trading.closed", LOGGED_IN, [("withdraw_funds", {"amount": 5})], "Tell the user"),
        (
            "trading.withdrawal_funds",
            {**BROKE, "market_status": "Open"},
            [("withdraw_funds", {"amount": 9})],
            "holds less",
        ),
        ("trading.not_watched", LOGGED_IN, [("remove_stock_from_watchlist", {"symbol": "Apple"})], "watch list"),
        ("trading.date", LOGGED_IN, [("get_transaction_history", {"start_date": "01/02/2024"})], "dashes"),
        (
            "trading.broken_transaction",
            {"authenticated": True, "transaction_history": [{"type": "deposit"}]},
            [("get_transaction_history", {})],
            "no date",
        ),
        ("trading.no_such_company", {}, [("get_symbol_by_name", {"name": "apple inc"})], "exactly this name"),
        ("trading.no_such_sector", {}, [("get_available_stocks", {"sector": "tech"})], "exactly this name"),
        ("trading.logged_out", {}, [("trading_logout", {})], "Nobody"),
    ],
    "TravelAPI": [
        ("travel.token", TRAVELER, [("get_booking_history", {"access_token": "x"})], "authenticate first"),
        ("travel.token", TRAVELER, [("book_flight", {**FLIGHT, "access_token": "x"})], "authenticate first"),
        (
            "travel.token_expired",
            {**TRAVELER, "token_expires_in": 0},
            [("set_budget_limit", {"access_token": "t", "budget_limit": 5.0})],
            "Authenticate again",
        ),
        ("travel.token_missing", {}, [("register_credit_card", {"access_token": "x", **CARD})], "Authenticate first"),
        ("travel.card_taken", TRAVELER, [("register_credit_card", {"access_token": "t", **CARD})], "its id"),
        ("travel.card", TRAVELER, [("get_credit_card_balance", {"access_token": "t", "card_id": "7"})], "by the id"),
        ("travel.card", TRAVELER, [("book_flight", {**FLIGHT, "card_id": "7"})], "by the id"),
        ("travel.card", TRAVELER, [("purchase_insurance", {**INSURANCE, "card_id": "7"})], "by the id"),
        ("travel.card_balance", TRAVELER, [("book_flight", {**FLIGHT, "card_id": "2"})], "cannot pay"),
        (
            "travel.card_without_balance",
            TRAVELER,
            [("get_credit_card_balance", {"access_token": "t", "card_id": "2"})],
            "nothing is known",
        ),
        ("travel.date_type", TRAVELER, [("book_flight", {**FLIGHT, "travel_date": 20260102})], "in quotes"),
        ("travel.airport", TRAVELER, [("book_flight", {**FLIGHT, "travel_from": "San Francisco"})], "three-letter"),
        ("travel.airport", TRAVELER, [("book_flight", {**FLIGHT, "travel_to": "sfo"})], "three-letter"),
        ("travel.route", TRAVELER, [("book_flight", {**FLIGHT, "travel_to": "LHR"})], "no direct flight"),
        (
            "travel.route",
            {},
            [("get_flight_cost", {key: FLIGHT[key] for key in FLIGHT if key[:6] == "travel"} | {"travel_to": "Rome"})],
            "no direct flight",
        ),
        ("travel.date", TRAVELER, [("book_flight", {**FLIGHT, "travel_date": "2 Jan"})], "dashes"),
        ("travel.class", TRAVELER, [("book_flight", {**FLIGHT, "travel_class": "Economy"})], "single word"),
        ("travel.funds", TRAVELER, [("book_flight", {**FLIGHT, "travel_class": "first"})], "cannot pay this flight"),
        ("travel.budget", {**TRAVELER, "budget_limit": 900.0}, [("book_flight", FLIGHT)], "budget limit"),
        ("travel.insurance_budget", {**TRAVELER, "budget_limit": 1.0}, [("purchase_insurance", INSURANCE)], "limit"),
        ("travel.booking", TRAVELER, [("cancel_booking", {"access_token": "t", "booking_id": "7"})], "by the id"),
        ("travel.booking", TRAVELER, [("retrieve_invoice", {"access_token": "t"})], "by the id"),
        ("travel.booking", {}, [("contact_customer_support", {"booking_id": "7", "message": "x"})], "by the id"),
        ("travel.booking", TRAVELER, [("purchase_insurance", {**INSURANCE, "booking_id": "7"})], "by the id"),
        (
            "travel.broken_booking",
            TRAVELER,
            [("retrieve_invoice", {"access_token": "t", "booking_id": "9"})],
            "lacks a part",
        ),
        (
            "travel.currency",
            {},
            [("compute_exchange_rate", {"base_currency": "EUR", "target_currency": "GBP", "value": 5.0})],
            "convert twice",
        ),
        (
            "travel.traveler",
            TRAVELER,
            [("verify_traveler_information", {**PERSON, "first_name": "C"})],
            "those of the login",
        ),
        (
            "travel.birthday",
            TRAVELER,
            [("verify_traveler_information", {**PERSON, "date_of_birth": "1/2/80"})],
            "dashes",
        ),
        (
            "travel.date_type",
            TRAVELER,
            [("verify_traveler_information", {**PERSON, "date_of_birth": 5})],
            "in quotes",
        ),
        (
            "travel.passport",
            TRAVELER,
            [("verify_traveler_information", {**PERSON, "passport_number": "DE1"})],
            "copied exactly",
        ),
        ("travel.city", {}, [("get_nearest_airport_by_city", {"location": "Rome, Italy"})], "by their name alone"),
    ],
    "VehicleControlAPI": [
        ("vehicle.stopped", {}, [("startEngine", {"ignitionMode": "STOP"})], "Stopping has worked"),
        ("vehicle.doors", {}, [("startEngine", {"ignitionMode": "START"})], "Lock the doors"),
        ("vehicle.brake", LOCKED, [("startEngine", {"ignitionMode": "START"})], "has to be down"),
        (
            "vehicle.brake_fully",
            LOCKED,
            [("pressBrakePedal", {"pedalPosition": 0.5}), ("startEngine", {"ignitionMode": "START"})],
            "partly down",
        ),
        (
            "vehicle.no_fuel",
            {**LOCKED, "fuelLevel": -1.0},
            [("pressBrakePedal", {"pedalPosition": 1}), ("startEngine", {"ignitionMode": "START"})],
            "no fuel",
        ),
        (
            "vehicle.ignition",
            LOCKED,
            [("pressBrakePedal", {"pedalPosition": 1}), ("startEngine", {"ignitionMode": "on"})],
            "`START`",
        ),
        ("vehicle.tank", {"fuelLevel": 40.0}, [("fillFuelTank", {"fuelAmount": 20})], "on top of what is there"),
        ("vehicle.fuel_amount", {}, [("fillFuelTank", {"fuelAmount": -2})], "not below zero"),
        ("vehicle.door_name", {}, [("lockDoors", {"unlock": False, "door": ["trunk"]})], "`rear_left`"),
        ("vehicle.fan", {}, [("adjustClimateControl", {"temperature": 20, "fanSpeed": 200})], "whole number"),
        ("vehicle.weather", {}, [("get_outside_temperature_from_weather_com", {})], "Another source"),
        ("vehicle.headlights", {}, [("setHeadlights", {"mode": "high"})], "`auto`"),
        ("vehicle.status", {}, [("displayCarStatus", {"option": "tires"})], "`battery`"),
        ("vehicle.parking_brake", {}, [("activateParkingBrake", {"mode": "on"})], "`engage`"),
        ("vehicle.pedal", {}, [("pressBrakePedal", {"pedalPosition": 50})], "share of the whole way"),
        ("vehicle.cruise_engine", {}, [("setCruiseControl", CRUISE)], "engine has to run first"),
        ("vehicle.cruise_speed", {"engineState": "running"}, [("setCruiseControl", {**CRUISE, "speed": 61})], "range"),
        ("vehicle.cruise_number", {}, [("setCruiseControl", {**CRUISE, "speed": "fast"})], "plain numbers"),
        ("vehicle.distance", {}, [("estimate_distance", {"cityA": "Rivermist", "cityB": "Stonebrook"})], "zip codes"),
        (
            "vehicle.mileage",
            {},
            [("estimate_drive_feasibility_by_mileage", {"distance": "far"})],
            "plain number of miles",
        ),
        (
            "generic.placeholder",
            {},
            [("adjustClimateControl", {"temperature": "$outside", "unit": "fahrenheit"})],
            "placeholder",
        ),
        ("vehicle.destination", {}, [("set_navigation", {"destination": ["Main Street"]})], "one text"),
        ("vehicle.conversion", {}, [("liter_to_gallon", {"liter": "5"})], "plain number"),
        ("vehicle.zip_code", {}, [("get_zipcode_based_on_city", {"city": "rivermist"})], "unknown"),
    ],
}
FLAT = [(name, *case) for name, cases in CASES.items() for case in cases]


@pytest.fixture(scope="module")
def documents(tasks: dict[str, Task]) -> dict[str, dict[str, ToolDoc]]:
    """The benchmark's documents of every class."""
    docs = {tool.name: tool for task in tasks.values() for tool in task.tools}
    return {name: {tool: docs[tool] for tool in tool_class(name).tools} for name in CASES}


@pytest.mark.parametrize(
    ("name", "rule", "config", "calls", "says"), FLAT, ids=[f"{c[1]}-{i}" for i, c in enumerate(FLAT)]
)
def test_a_failure_gets_the_hint_of_its_rule(documents, name, rule, config, calls, says):
    result, hint = hint_after(task_of(name, documents[name], config), *calls)
    assert hint is not None, result.text
    assert (hint.rule, says in hint.text) == (rule, True), (hint, result.text)


def test_every_rule_is_met():
    met = {case[0] for cases in CASES.values() for case in cases}
    assert {rule.name for name in RULE_MODULES for rule in rules_of(name)} <= met


@pytest.mark.parametrize(
    ("name", "rule"),
    [(name, rule) for name in RULE_MODULES for rule in rules_of(name) if rule.names],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_rule_that_names_a_tool_says_it_without_the_name_when_the_tool_is_not_visible(documents, name, rule):
    _, config, calls, _ = next(case for case in CASES[name] if case[0] == rule.name)
    visible = {tool: doc for tool, doc in documents[name].items() if tool not in rule.names}
    _, named = hint_after(task_of(name, documents[name], config), *calls)
    _, plain = hint_after(task_of(name, visible, config), *calls)
    assert named.rule == plain.rule == rule.name
    assert all(f"`{tool}`" in named.text for tool in rule.names)
    assert not any(tool in plain.text for tool in rule.names)


ORIGINAL = {
    "GorillaFileSystem": (
        "cd", "mkdir", "touch", "echo", "wc", "grep", "sort", "tail", "diff", "mv", "cp", "rm", "rmdir",
    ),
    "TravelAPI": ("get_flight_cost", "compute_exchange_rate"),
    "VehicleControlAPI": ("get_outside_temperature_from_weather_com", "estimate_distance"),
}  # fmt: skip


def test_the_seventeen_functions_that_the_original_augments_have_rules_of_their_own():
    assert sum(map(len, ORIGINAL.values())) == 17
    for name, tools in ORIGINAL.items():
        assert set(tools) <= {tool for rule in rules_of(name) for tool in rule.tools}
