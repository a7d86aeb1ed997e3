"""The tools of the two data sets: an assistant's timer and reminder, and a payment desk.

Owns: the tools as typed methods with docstrings (schemas come from these), and what they do. Refuses: conversations
(`assistant_data.py`, `payment_data.py`). The names and parameters of the payment tools are those of the recipe's
document.
"""

from __future__ import annotations

from typing import Any, Literal

from env_tuning.environments.tool_class import ToolClass

LONGEST_TIMER = 86_400
"""Seconds: one day."""

LEAST_PROMISE = 25
"""Dollars: the business rule of the payment desk. A promise below it is refused."""


class AssistantTools(ToolClass):
    """Timer and reminder. The configuration may hold ``busy``: so many calls fail first, as a busy service does."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Start without timers and reminders."""
        self.timers: list[int] = []
        self.reminders: list[dict[str, str]] = []
        self._busy = int(config.get("busy", 0))

    def start_timer(self, duration: int) -> dict[str, Any]:
        """Start a timer.

        Args:
            duration: how long it runs, in seconds, at least 1 and at most 86400.

        Returns:
            The duration in seconds.
        """
        if error := self._refused():
            return error
        if not 1 <= duration <= LONGEST_TIMER:
            return {"error": f"duration must be between 1 and {LONGEST_TIMER} seconds"}
        self.timers.append(duration)
        return {"started": duration}

    def create_reminder(self, time: str, note: str) -> dict[str, Any]:
        """Create a reminder.

        Args:
            time: when to remind, in the user's words.
            note: what to remind of.

        Returns:
            The time of the reminder.
        """
        if error := self._refused():
            return error
        self.reminders.append({"time": time, "note": note})
        return {"reminder": time}

    def _refused(self) -> dict[str, Any] | None:
        if self._busy < 1:
            return None
        self._busy -= 1
        return {"error": "the service is busy, try again"}


class PaymentTools(ToolClass):
    """What a payment desk records about one customer. The configuration may hold ``busy``, as above."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Start with an empty record."""
        self.records: list[dict[str, Any]] = []
        self._busy = int(config.get("busy", 0))

    def Speak_With_An_Agent(self) -> dict[str, Any]:
        """Connect the customer to a person."""
        return self._record({"connected": True})

    def Pay_Now(
        self, payNowAmount: float, paymentMethod: Literal["card", "bank_account", "phone_bill"]
    ) -> dict[str, Any]:
        """Take a payment at once.

        Args:
            payNowAmount: dollars.
            paymentMethod: what the customer pays with.

        Returns:
            The amount taken.
        """
        if payNowAmount <= 0:
            return {"error": "payNowAmount must be positive"}
        return self._record({"paid": payNowAmount, "method": paymentMethod})

    def Promise_Payment(self, promiseAmount: float, promiseDate: str) -> dict[str, Any]:
        """Note a payment that the customer promises for a later day; at least 25 dollars.

        Args:
            promiseAmount: dollars.
            promiseDate: the day, in the customer's words.

        Returns:
            The promised amount and day.
        """
        if promiseAmount < LEAST_PROMISE:
            return {"error": f"promises below {LEAST_PROMISE} dollars are not accepted"}
        return self._record({"promised": promiseAmount, "date": promiseDate})

    def Already_Paid(self, paidAmount: float, paidDate: str) -> dict[str, Any]:
        """Note that the customer says to have paid already.

        Args:
            paidAmount: dollars.
            paidDate: the day, in the customer's words.

        Returns:
            The amount and day that were noted.
        """
        return self._record({"claimed": paidAmount, "date": paidDate})

    def Hardship(self) -> dict[str, Any]:
        """Open a hardship case for a customer who cannot pay at present."""
        return self._record({"case": "hardship"})

    def _record(self, entry: dict[str, Any]) -> dict[str, Any]:
        if self._busy > 0:
            self._busy -= 1
            return {"error": "the service is busy, try again"}
        self.records.append(entry)
        return entry
