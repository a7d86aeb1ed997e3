"""The second set: a payment desk with five tools and one business rule.

Owns: its wording and what an assistant does for each request; promises below `tools.LEAST_PROMISE` are refused.
Refuses: the tools themselves (`tools.py`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType

from env_tuning.calls import ToolCall
from env_tuning.sft.tools import LEAST_PROMISE
from env_tuning.sft.transcript import Flow, Transcript, Writer

DOMAIN = "payments"

_METHODS = MappingProxyType(
    {
        "my card": "card",
        "my credit card": "card",
        "my bank account": "bank_account",
        "a bank transfer": "bank_account",
        "my phone bill": "phone_bill",
    }
)
_PAY = (
    "I can pay ${amount} today using {method}.", "I want to pay ${amount} now with {method}.",
    "Take ${amount} from {method}.", "Please charge ${amount} to {method}.", "Let me pay ${amount} with {method}.",
    "I will pay ${amount} right now by {method}.", "Use {method} for ${amount}, please.",
)  # fmt: skip
_PROMISE = (
    "I can promise to pay ${amount} {day}.", "I will pay ${amount} {day}.", "Can I pay ${amount} {day}?",
    "You get ${amount} {day}, I promise.", "My plan is to pay ${amount} {day}.", "{day} I can pay ${amount}.",
)  # fmt: skip
_LATER = (
    "next Monday", "next Friday", "on Tuesday", "on Thursday", "tomorrow", "in two weeks", "at the end of the month",
    "on the 15th", "on June 3", "on May 20", "after payday",
)  # fmt: skip
_PAID = (
    "I already paid ${amount} {day}.", "I have paid ${amount} {day}.", "But I sent ${amount} {day}.",
    "My payment of ${amount} went out {day}.", "You took ${amount} from me {day}.", "${amount} was paid {day}.",
)  # fmt: skip
_EARLIER = (
    "last Friday", "last Monday", "yesterday", "on Sunday", "a week ago", "two days ago", "last month", "on May 2",
    "on April 28", "this morning",
)  # fmt: skip
_POOR = ("I can't pay anything right now.", "I cannot pay this month.", "There is no money left.", "I am broke.",
         "Paying is not possible for me.", "I can't afford this.")  # fmt: skip
_REASONS = (
    "I just lost my job.", "I am in hospital.", "My hours were cut.", "My husband is ill.", "My car broke down.",
    "We had a flood at home.", "I am on sick leave.", "My shop had to close.", "I was laid off.", "",
)  # fmt: skip
_AGENT = (
    "I want to talk to someone.", "Let me speak with {who}.", "Put me through to {who}.", "Connect me to {who}.",
    "Can I talk to {who}?", "I want to speak with {who}, please.", "Is there {who} I can talk to?",
    "Get me {who}.", "I would rather talk to {who}.", "Please transfer me to {who}.",
)  # fmt: skip
_WHO = ("an agent", "a person", "a human", "your manager", "a real person", "somebody", "customer service")
_OTHERS = (
    "What is the weather in {town}?", "Can you help me?", "Hello!", "When do you open in {town}?", "Who are you?",
    "Change my address to {town}.", "What is my balance?", "Sell me a phone in {town}.", "What can you do?",
    "Is there an office in {town}?", "Good morning!", "Thank you!", "Do you sell cars in {town}?",
)  # fmt: skip
_TOWNS = ("Rome", "Oslo", "Paris", "Lima", "Cairo", "Boston", "Delhi", "Madrid", "Berlin", "Tokyo", "Quito",
          "Athens", "Dublin", "Vienna", "Lisbon", "Warsaw", "Zagreb", "Accra", "Hanoi", "Bogota",
          "Dallas", "Leeds", "Turin", "Kyoto")  # fmt: skip
_DONE = MappingProxyType(
    {
        "agent": "I am connecting you to an agent.",
        "hardship": "I am sorry to hear that. I have opened a hardship case for you.",
        "cannot": "I can take payments, note promises and payments, open a hardship case or connect you to an agent.",
        "method": "How would you like to pay: by card, bank account or phone bill?",
        "date": "On what day will you pay?",
        "rule": f"I can only note promises of at least ${LEAST_PROMISE}. Can you promise more?",
    }
)


def _amount(rng: random.Random) -> int:
    return rng.choice((rng.randrange(25, 100), rng.randrange(100, 400, 5)))


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _pay_call(amount: int, method: str) -> ToolCall:
    return ToolCall(name="Pay_Now", arguments={"payNowAmount": amount, "paymentMethod": _METHODS[method]})


def _promise_call(amount: int, day: str) -> ToolCall:
    return ToolCall(name="Promise_Payment", arguments={"promiseAmount": amount, "promiseDate": day})


def _paid_call(amount: int, day: str) -> ToolCall:
    return ToolCall(name="Already_Paid", arguments={"paidAmount": amount, "paidDate": day})


def _agent_call() -> ToolCall:
    return ToolCall(name="Speak_With_An_Agent")


def _pay(talk: Transcript, rng: random.Random) -> None:
    amount, method = _amount(rng), rng.choice(list(_METHODS))
    talk.user(rng.choice(_PAY).format(amount=amount, method=method))
    talk.call(_pay_call(amount, method))
    talk.assistant(f"Thank you, I took ${amount} from {method.replace('my ', 'your ')}.")


def _promise(talk: Transcript, rng: random.Random) -> None:
    amount, day = _amount(rng), rng.choice(_LATER)
    talk.user(_upper(rng.choice(_PROMISE).format(amount=amount, day=day)))
    talk.call(_promise_call(amount, day))
    talk.assistant(f"I noted that you will pay ${amount} {day}.")


def _paid(talk: Transcript, rng: random.Random) -> None:
    amount, day = _amount(rng), rng.choice(_EARLIER)
    talk.user(_upper(rng.choice(_PAID).format(amount=amount, day=day)))
    talk.call(_paid_call(amount, day))
    talk.assistant(f"Thank you, I noted your payment of ${amount} {day}.")


def _hardship(talk: Transcript, rng: random.Random) -> None:
    parts = [rng.choice(_POOR), rng.choice(_REASONS)]
    rng.shuffle(parts)
    talk.user(" ".join(filter(None, parts)))
    talk.call(ToolCall(name="Hardship"))
    talk.assistant(_DONE["hardship"])


def _agent(talk: Transcript, rng: random.Random) -> None:
    talk.user(rng.choice(_AGENT).format(who=rng.choice(_WHO)))
    talk.call(_agent_call())
    talk.assistant(_DONE["agent"])


def _single(talk: Transcript, rng: random.Random) -> None:
    rng.choice((_pay, _promise, _paid, _hardship, _agent))(talk, rng)


def _parallel(talk: Transcript, rng: random.Random) -> None:
    amount, day, later = _amount(rng), rng.choice(_EARLIER), rng.choice(_LATER)
    other = _amount(rng)
    talk.user(f"I already paid ${amount} {day}, and I will pay ${other} {later}.")
    talk.call(_paid_call(amount, day), _promise_call(other, later))
    talk.assistant(f"I noted your payment of ${amount} {day} and that you will pay ${other} {later}.")


def _ask(talk: Transcript, rng: random.Random) -> None:
    amount = _amount(rng)
    if rng.random() < 0.5:
        method = rng.choice(list(_METHODS))
        talk.user(rng.choice(("I want to pay ${} now.", "I can pay ${} today.", "Take ${} now.")).format(amount))
        talk.assistant(_DONE["method"])
        talk.user(rng.choice(("With {}.", "Use {}.")).format(method))
        talk.call(_pay_call(amount, method))
        talk.assistant(f"Thank you, I took ${amount} from {method.replace('my ', 'your ')}.")
        return
    day = rng.choice(_LATER)
    talk.user(rng.choice(("I will pay ${} later.", "I can promise ${}.", "You get ${} some day.")).format(amount))
    talk.assistant(_DONE["date"])
    talk.user(f"{_upper(day)}.")
    talk.call(_promise_call(amount, day))
    talk.assistant(f"I noted that you will pay ${amount} {day}.")


def _no_tool(talk: Transcript, rng: random.Random) -> None:
    talk.user(rng.choice(_OTHERS).format(town=rng.choice(_TOWNS)))
    talk.assistant(_DONE["cannot"])


def _refuse(talk: Transcript, rng: random.Random) -> None:
    talk.user(_upper(rng.choice(_PROMISE).format(amount=rng.randrange(1, LEAST_PROMISE), day=rng.choice(_LATER))))
    talk.assistant(_DONE["rule"])


def _chain(talk: Transcript, rng: random.Random) -> None:
    amount, day = _amount(rng), rng.choice(_EARLIER)
    talk.user(f"Note that I paid ${amount} {day}, and then connect me to {rng.choice(_WHO)}.")
    talk.call(_paid_call(amount, day))
    talk.call(_agent_call())
    talk.assistant(f"I noted your payment of ${amount} {day}, and I am connecting you to an agent.")


def _recovery(talk: Transcript, rng: random.Random) -> None:
    amount, method = _amount(rng), rng.choice(list(_METHODS))
    talk.user(rng.choice(_PAY).format(amount=amount, method=method))
    talk.call(_pay_call(amount, method))
    talk.call(_pay_call(amount, method))
    talk.assistant(f"It took a second try: I took ${amount} from {method.replace('my ', 'your ')}.")


def _confirmation(talk: Transcript, rng: random.Random) -> None:
    amount, method = _amount(rng), rng.choice(list(_METHODS))
    talk.user(f"{rng.choice(_PAY).format(amount=amount, method=method)} Ask me before you charge anything.")
    talk.assistant(f"You want to pay ${amount} today from {method.replace('my ', 'your ')}. Is that right?")
    if rng.random() < 0.7:
        talk.user(rng.choice(("Yes.", "That is right.", "Yes, please.")))
        talk.call(_pay_call(amount, method))
        talk.assistant(f"Thank you, I took ${amount} from {method.replace('my ', 'your ')}.")
    else:
        talk.user(rng.choice(("No, leave it.", "No.", "Forget it.")))
        talk.assistant("I have charged nothing.")


WRITERS: Mapping[Flow, Writer] = MappingProxyType(
    {
        Flow.SINGLE: _single,
        Flow.PARALLEL: _parallel,
        Flow.ASK: _ask,
        Flow.NO_TOOL: _no_tool,
        Flow.REFUSE: _refuse,
        Flow.CHAIN: _chain,
        Flow.RECOVERY: _recovery,
        Flow.CONFIRMATION: _confirmation,
    }
)
