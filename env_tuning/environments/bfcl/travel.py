"""Travel: log in, register cards, price, book, insure and cancel flights, convert money.

At parity with TravelAPI of bfcl_eval 2026.3.23, quirks included: a fare doubles when the digits of the date add up
to an even number; the budget limit is compared with the card's balance, not with the fare; before any login None
is a valid access token, and tokens never expire by themselves; whether a card is registered already is asked of
the card ids, not of the numbers; insurance may overdraw a card; cards and bookings that lack a field raise.
Booking and card ids come from one seeded generator, so they are the same in every episode.

A long-context task adds cards and bookings, prices every route at once and returns the whole history on booking.
The benchmark lets all episodes of a process share (and spend) those cards; here every instance has its own.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Sequence
from datetime import date, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from env_tuning.environments.bfcl.routes import AIRPORTS, FARES, NEAREST_AIRPORT, USD_RATES
from env_tuning.environments.rendering import FixedList
from env_tuning.environments.tool_class import ToolClass

if TYPE_CHECKING:
    from env_tuning.environments.bfcl.long_context import LongContext

_SEED = 141053
_FULL_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CLASS_FACTORS = MappingProxyType({"economy": 1, "business": 2, "first": 5})
_ADULT = 18


class TravelAPI(ToolClass):
    """One user's cards and bookings behind an access token."""

    def __init__(self, config: dict[str, Any], long_context: LongContext | None = None) -> None:
        """Load cards, bookings, token and user; each is optional."""
        # A generator costs more than all the rest, and most episodes never draw.
        self._random = random.Random(config["random_seed"]) if "random_seed" in config else None
        self.credit_card_list: dict[str, dict[str, Any]] = config.get("credit_card_list", {})
        self.booking_record: dict[str, dict[str, Any]] = config.get("booking_record", {})
        self.access_token: str | None = config.get("access_token")
        self.token_type: str | None = config.get("token_type")
        self.token_expires_in: int | None = config.get("token_expires_in")
        self.token_scope: str | None = config.get("token_scope")
        self.user_first_name: str | None = config.get("user_first_name")
        self.user_last_name: str | None = config.get("user_last_name")
        self.budget_limit: float | None = config.get("budget_limit")
        self.long_context: bool = long_context is not None
        if long_context is not None:
            _add_missing(self.credit_card_list, long_context.credit_card_extension)
            _add_missing(self.booking_record, long_context.booking_record_extension)

    def authenticate_travel(
        self,
        client_id: str,
        client_secret: str,
        refresh_token: str,
        grant_type: str,
        user_first_name: str,
        user_last_name: str,
    ) -> dict[str, Any]:
        """Log in with any credentials and get a new access token."""
        self.token_expires_in = 2
        self.access_token = self._draw(digits=6)
        self.token_type = "Bearer"
        self.token_scope = grant_type
        self.user_first_name = user_first_name
        self.user_last_name = user_last_name
        return {
            "expires_in": self.token_expires_in,
            "access_token": self.access_token,
            "token_type": self.token_type,
            "scope": grant_type,
        }

    def travel_get_login_status(self) -> dict[str, bool]:
        """Tell whether there is a token that has not expired."""
        return {"status": self.token_expires_in is not None and self.token_expires_in != 0}

    def get_budget_fiscal_year(
        self, lastModifiedAfter: str | None = None, includeRemoved: str | None = None
    ) -> dict[str, str]:
        """Name the fiscal year, always 2018."""
        return {"budget_fiscal_year": "2018"}

    def register_credit_card(
        self,
        access_token: str,
        card_number: str,
        expiration_date: str,
        cardholder_name: str,
        card_verification_number: int,
    ) -> dict[str, str]:
        """Register a card under a new id, with a drawn balance of five digits."""
        problem = "Token not initialized" if self.token_expires_in is None else self._token_problem(access_token)
        if problem is None and card_number in self.credit_card_list:
            problem = "Card already registered"
        if problem is not None:
            return {"error": problem}
        card_id = self._draw(digits=12)
        self.credit_card_list[card_id] = {
            "card_number": card_number,
            "expiration_date": expiration_date,
            "cardholder_name": cardholder_name,
            "card_verification_number": card_verification_number,
            "balance": int(self._draw(digits=5)),
        }
        return {"card_id": card_id}

    def get_flight_cost(
        self, travel_from: str, travel_to: str, travel_date: str, travel_class: str
    ) -> dict[str, Sequence[float]]:
        """Price a flight; a long-context task gets the price of every route."""
        fare = _base_fare(travel_from, travel_to)
        factor = _fare_factor(travel_date, travel_class)
        return {"travel_cost_list": _all_costs(factor) if self.long_context else [float(fare * factor)]}

    def get_credit_card_balance(self, access_token: str, card_id: str) -> dict[str, Any]:
        """Show a card's balance."""
        problem = self._token_problem(access_token)
        if problem is not None:
            return {"error": problem}
        if card_id not in self.credit_card_list:
            return {"error": f"Card not registered. Here are a list of card_id's: {list(self.credit_card_list)}"}
        return {"card_balance": self.credit_card_list[card_id]["balance"]}

    def book_flight(
        self,
        access_token: str,
        card_id: str,
        travel_date: str,
        travel_from: str,
        travel_to: str,
        travel_class: str,
    ) -> dict[str, Any]:
        """Book a flight and pay it with a registered card."""
        problem = (
            self._token_problem(access_token)
            or self._card_problem(card_id)
            or _flight_problem(travel_date, travel_from, travel_to, travel_class)
        )
        if problem is not None:
            return {"booking_status": False, "error": problem}
        try:
            cost = float(_base_fare(travel_from, travel_to) * _fare_factor(travel_date, travel_class))
        except ValueError as error:
            return {"booking_status": False, "error": str(error)}
        card = self.credit_card_list[card_id]
        if card["balance"] < cost:
            return {"booking_status": False, "error": "Insufficient funds"}
        if self.budget_limit is not None and card["balance"] < self.budget_limit:
            return {"booking_status": False, "error": "Balance is less than budget limit"}
        card["balance"] -= cost
        booking_id = self._draw(digits=7)
        transaction_id = self._draw(digits=8)
        self.booking_record[booking_id] = {
            "card_id": card_id,
            "travel_date": travel_date,
            "travel_from": travel_from,
            "travel_to": travel_to,
            "travel_class": travel_class,
            "travel_cost": cost,
            "transaction_id": transaction_id,
        }
        return {
            "booking_id": booking_id,
            "transaction_id": transaction_id,
            "booking_status": True,
            "booking_history": self.booking_record if self.long_context else {},
        }

    def retrieve_invoice(
        self, access_token: str, booking_id: str | None = None, insurance_id: str | None = None
    ) -> dict[str, Any]:
        """Show the invoice of a booking; an insurance id alone finds nothing."""
        problem = self._token_problem(access_token) or self._booking_problem(booking_id)
        if problem is not None:
            return {"error": problem}
        booking: dict[str, Any] = self.booking_record[booking_id]  # type: ignore[index]  # None was refused above
        invoice = {
            "booking_id": booking_id,
            "travel_date": booking["travel_date"],
            "travel_from": booking["travel_from"],
            "travel_to": booking["travel_to"],
            "travel_class": booking["travel_class"],
            "travel_cost": booking["travel_cost"],
            "transaction_id": booking["transaction_id"],
        }
        return {"invoice": invoice}

    def get_booking_history(self, access_token: str) -> dict[str, Any]:
        """Show every booking."""
        problem = self._token_problem(access_token)
        if problem is not None:
            return {"error": problem}
        return {"booking_history": self.booking_record}

    def list_all_airports(self) -> list[str]:
        """List the codes of all airports."""
        return list(AIRPORTS)

    def cancel_booking(self, access_token: str, booking_id: str) -> dict[str, Any]:
        """Cancel a booking and refund its card."""
        problem = self._token_problem(access_token) or self._booking_problem(booking_id)
        if problem is not None:
            return {"cancel_status": False, "error": problem}
        booking = self.booking_record[booking_id]
        card_id, cost = booking["card_id"], booking["travel_cost"]
        self.credit_card_list[card_id]["balance"] += cost
        del self.booking_record[booking_id]
        return {"cancel_status": True}

    def compute_exchange_rate(self, base_currency: str, target_currency: str, value: float) -> dict[str, float]:
        """Convert from or to US dollars; only the way to dollars rounds."""
        for currency, rate in USD_RATES.items():
            if base_currency == "USD" and target_currency == currency:
                return {"exchanged_value": float(value * rate)}
            if base_currency == currency and target_currency == "USD":
                return {"exchanged_value": round(value / rate, 2)}
        raise ValueError("No available exchange rate for the given currencies.")

    def verify_traveler_information(
        self, first_name: str, last_name: str, date_of_birth: str, passport_number: str
    ) -> dict[str, Any]:
        """Check that the traveler is the logged-in user, of age today, with a US passport."""
        if self.user_first_name != first_name or self.user_last_name != last_name:
            return _unverified(
                "Cannot book flight information for another user."
                f"Expected {self.user_first_name} {self.user_last_name}, got {first_name} {last_name}"
            )
        try:
            born = _date(date_of_birth)
        except ValueError:
            return _unverified("Invalid date of birth format. Please use YYYY-MM-DD.")
        today = datetime.today()
        before_birthday = (today.month, today.day) < (born.month, born.day)
        if today.year - born.year - before_birthday < _ADULT:
            return _unverified("Traveler must be at least 18 years old.")
        if not passport_number.startswith("US"):
            return _unverified("Passport must be issued by the United States.")
        return {"verification_status": True}

    def set_budget_limit(self, access_token: str, budget_limit: float) -> dict[str, Any]:
        """Set the budget limit in USD."""
        problem = self._token_problem(access_token)
        if problem is not None:
            return {"error": problem}
        self.budget_limit = float(budget_limit)
        return {"budget_limit": self.budget_limit}

    def get_nearest_airport_by_city(self, location: str) -> dict[str, str]:
        """Name the airport of a city, or Unknown."""
        return {"nearest_airport": NEAREST_AIRPORT.get(location, "Unknown")}

    def purchase_insurance(
        self, access_token: str, insurance_type: str, booking_id: str, insurance_cost: float, card_id: str
    ) -> dict[str, Any]:
        """Insure a booking and charge a card."""
        problem = self._token_problem(access_token)
        if problem is None and self.budget_limit is not None and self.budget_limit < insurance_cost:
            problem = "Exceeded budget limit"
        problem = problem or self._booking_problem(booking_id)
        if problem is None and card_id not in self.credit_card_list:
            problem = "Credit card not registered"
        if problem is not None:
            return {"insurance_status": False, "error": problem}
        self.credit_card_list[card_id]["balance"] -= insurance_cost
        return {"insurance_id": self._draw(digits=9), "insurance_status": True}

    def contact_customer_support(self, booking_id: str, message: str) -> dict[str, str]:
        """Send a message about a booking; the reply is always the same."""
        problem = self._booking_problem(booking_id)
        if problem is not None:
            return {"error": problem}
        return {
            "customer_support_message": "Thank you for contacting customer support. "
            "Your message has been received and we will get back to you shortly."
        }

    def get_all_credit_cards(self) -> dict[str, Any]:
        """Show every registered card."""
        return {"credit_card_list": self.credit_card_list}

    def _token_problem(self, access_token: Any) -> str | None:
        if self.token_expires_in == 0:
            return "Token expired"
        return None if access_token == self.access_token else "Invalid access token"

    def _card_problem(self, card_id: Any) -> str | None:
        if card_id not in self.credit_card_list:
            return "Card not registered"
        return None if "balance" in self.credit_card_list[card_id] else "Balance not found"

    def _booking_problem(self, booking_id: Any) -> str | None:
        return None if booking_id in self.booking_record else "Booking not found"

    def _draw(self, *, digits: int) -> str:
        """A number of so many digits from the seeded generator, as text."""
        if self._random is None:
            self._random = random.Random(_SEED)
        return str(self._random.randint(10 ** (digits - 1), 10**digits - 1))


def _add_missing(records: dict[str, dict[str, Any]], extension: dict[str, dict[str, Any]]) -> None:
    """Add copies of the extension's (flat) records whose id is not taken."""
    for record_id, record in extension.items():
        if record_id not in records:
            records[record_id] = dict(record)


def _flight_problem(travel_date: Any, travel_from: Any, travel_to: Any, travel_class: Any) -> str | None:
    """Why a flight cannot be booked, as far as its own fields tell."""
    if travel_from not in AIRPORTS:
        return f"Invalid departure airport code: {travel_from}"
    if travel_to not in AIRPORTS:
        return f"Invalid destination airport code: {travel_to}"
    try:
        _date(travel_date)
    except ValueError:
        return "Invalid date format. Use YYYY-MM-DD."
    if travel_class not in _CLASS_FACTORS:
        # The benchmark prints a set, whose order depends on its hash seed; ours is fixed, from cheap to dear.
        return "Invalid travel class. Must be one of {'economy', 'business', 'first'}"
    return None


def _date(text: Any) -> date:
    """Read a date as `strptime` does, which takes a hundred times longer for one written in full."""
    if isinstance(text, str) and _FULL_DATE.fullmatch(text):
        return date.fromisoformat(text)
    return datetime.strptime(text, "%Y-%m-%d").date()


def _base_fare(travel_from: Any, travel_to: Any) -> int:
    fare = FARES.get((travel_from, travel_to))
    if fare is None:
        raise ValueError("No available route for the given airports.")
    return fare


@functools.cache
def _all_costs(factor: int) -> FixedList:
    """What every route costs at one of the five factors there are."""
    return FixedList(float(fare * factor) for fare in FARES.values())


def _fare_factor(travel_date: Any, travel_class: Any) -> int:
    """What the class and the date multiply a fare with."""
    # A tuple, since an unhashable class is an invalid class here and a TypeError when booking.
    if travel_class not in tuple(_CLASS_FACTORS):
        raise ValueError("Invalid travel class. Options are: economy, business, first.")
    digit_sum = sum(int(character) for character in travel_date if character.isdigit())
    return _CLASS_FACTORS[travel_class] * (2 if digit_sum % 2 == 0 else 1)


def _unverified(reason: str) -> dict[str, Any]:
    return {"verification_status": False, "verification_failure": reason}
