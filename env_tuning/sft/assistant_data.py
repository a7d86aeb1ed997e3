"""The first set: timers and reminders.

Owns: its wording and what an assistant does for each request. Refuses: the tools themselves (`tools.py`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType

from env_tuning.calls import ToolCall
from env_tuning.sft.transcript import Flow, Transcript, Writer

DOMAIN = "assistant"

_SPANS = (
    *((number, "second", 1) for number in (10, 15, 20, 30, 45, 90)),
    *((number, "minute", 60) for number in (1, 2, 3, 4, 5, 7, 8, 10, 12, 15, 18, 20, 25, 30, 35, 40, 45, 50)),
    *((number, "hour", 3600) for number in (1, 2, 3, 4)),
)
_TIMER_REQUESTS = (
    "Set a timer for {span}.", "Start a timer for {span}.", "Please set a timer for {span}.", "Timer for {span}.",
    "Can you start a timer for {span}?", "Set a timer for {span} for the {thing}.",
    "I need a timer for {span}.", "The {thing} needs {span}, start a timer.", "Count down {span} for the {thing}.",
    "Let me know when {span} are over.", "Give me {span} on the timer for the {thing}.",
)  # fmt: skip
_THINGS = ("pasta", "tea", "eggs", "laundry", "bread", "rice", "oven", "workout", "nap", "soup", "cake", "meeting")
_CLOCK = (
    "7 AM", "8 AM", "8:30 AM", "9 AM", "10 AM", "noon", "1 PM", "2 PM", "3:15 PM", "4 PM", "5 PM", "6:30 PM", "7 PM",
    "8 PM", "9 PM", "10 PM",
)  # fmt: skip
_DAYS = ("", "", "today at ", "tomorrow at ", "on Monday at ", "on Friday at ", "on Sunday at ")
_DEEDS = (
    "call {person}", "write to {person}", "visit {person}", "water the plants", "take out the trash", "buy {goods}",
    "order {goods}", "pay the rent", "feed the cat", "walk the dog", "book the flight", "take the medicine",
    "pick up the {goods}", "thank {person}",
)  # fmt: skip
_PEOPLE = ("mom", "dad", "Anna", "Ben", "the dentist", "the bank", "my sister", "the landlord", "Maria", "the school")
_GOODS = ("milk", "bread", "flowers", "coffee", "paper", "apples", "batteries", "stamps")
_REMINDER_REQUESTS = (
    "Remind me {time} to {deed}.", "Please remind me {time} to {deed}.", "Create a reminder {time} to {deed}.",
    "Can you remind me to {deed} {time}?", "I must {deed} {time}, remind me.", "Do not let me forget to {deed} {time}.",
)  # fmt: skip
_HELLOS = (
    "Can you help me?", "What can you do?", "Hello!", "Good morning!", "Who are you?", "How are you?",
    "I need some help.", "Help me, please.", "What are you good at?", "Are you there?",
)  # fmt: skip
_OTHERS = (
    "What is the weather in {town}?", "Book a table in {town}.", "How far is {town}?", "Play some music.",
    "Translate {goods} into French.", "What does {goods} cost?", "Find me a hotel in {town}.",
    "Send money to {person}.",
    "Who won the game in {town}?", "Tell me a joke about {goods}.", "Write a poem about {town}.", "Call a taxi.",
)  # fmt: skip
_TOWNS = (
    "Rome", "Oslo", "Paris", "Lima", "Cairo", "Boston", "Delhi", "Madrid", "Berlin", "Tokyo", "Quito", "Athens",
    "Dublin", "Vienna", "Lisbon", "Warsaw", "Zagreb", "Accra", "Hanoi", "Dallas", "Leeds", "Turin",
)  # fmt: skip
_HELP = "I can start timers and create reminders. Which of them do you need?"
_CANNOT = "I cannot do that. I can start timers and create reminders."
_NO_SPAN = (
    "Set a timer.",
    "Start a timer.",
    "I need a timer.",
    "Timer, please.",
    "Can you set a timer for the {thing}?",
)
_NO_SPANS = ("Set {number} timers.", "Start {number} timers for the {thing}.", "I need {number} timers.")
_ZERO = (
    "Set a timer for 0 {unit}.", "Start a timer for 0 {unit}.", "Timer for 0 {unit}, please.",
    "Set a timer for zero {unit}.", "Give me 0 {unit} for the {thing}.", "Set a timer for 0 {unit} for the {thing}.",
    "The {thing} needs 0 {unit}, start a timer.", "Count down 0 {unit} for the {thing}.",
)  # fmt: skip


def _span(rng: random.Random) -> tuple[str, int]:
    number, unit, seconds = rng.choice(_SPANS)
    return f"{number} {unit}{'' if number == 1 else 's'}", number * seconds


def _time(rng: random.Random) -> str:
    day, clock = rng.choice(_DAYS), rng.choice(_CLOCK)
    return f"{day}{clock}" if day else f"at {clock}"


def _deed(rng: random.Random) -> str:
    return rng.choice(_DEEDS).format(person=rng.choice(_PEOPLE), goods=rng.choice(_GOODS))


def _timer(seconds: int) -> ToolCall:
    return ToolCall(name="start_timer", arguments={"duration": seconds})


def _reminder(time: str, note: str) -> ToolCall:
    return ToolCall(name="create_reminder", arguments={"time": time.removeprefix("at "), "note": note})


def single_timer(talk: Transcript, rng: random.Random) -> None:
    """A timer."""
    span, seconds = _span(rng)
    talk.user(rng.choice(_TIMER_REQUESTS).format(span=span, thing=rng.choice(_THINGS)))
    talk.call(_timer(seconds))
    talk.assistant(f"The timer for {span} is running.")


def single_reminder(talk: Transcript, rng: random.Random) -> None:
    """A reminder."""
    time, deed = _time(rng), _deed(rng)
    talk.user(rng.choice(_REMINDER_REQUESTS).format(time=time, deed=deed))
    talk.call(_reminder(time, deed))
    talk.assistant(f"I will remind you {time} to {deed}.")


def _single(talk: Transcript, rng: random.Random) -> None:
    rng.choice((single_timer, single_reminder))(talk, rng)


def _parallel(talk: Transcript, rng: random.Random) -> None:
    (first, one), (second, two), (third, three) = _span(rng), _span(rng), _span(rng)
    kind = rng.randrange(3)
    if kind == 0:
        talk.user(rng.choice(("Set two timers: {} and {}.", "Start 2 timers: {} and {}.")).format(first, second))
        talk.call(_timer(one), _timer(two))
        talk.assistant(f"Two timers are running: {first} and {second}.")
        return
    if kind == 1:
        request = rng.choice(("Set 3 timers: {}, {} and {}.", "Start three timers: {}, {} and {}."))
        talk.user(request.format(first, second, third))
        talk.call(_timer(one), _timer(two), _timer(three))
        talk.assistant(f"Three timers are running: {first}, {second} and {third}.")
        return
    time, deed = _time(rng), _deed(rng)
    talk.user(f"Set a timer for {first} and remind me {time} to {deed}.")
    talk.call(_timer(one), _reminder(time, deed))
    talk.assistant(f"The timer for {first} is running, and I will remind you {time} to {deed}.")


def _ask(talk: Transcript, rng: random.Random) -> None:
    kind = rng.randrange(3)
    if kind == 0:
        talk.user(rng.choice(_NO_SPAN).format(thing=rng.choice(_THINGS)))
        talk.assistant("How long should the timer run?")
    elif kind == 1:
        talk.user(rng.choice(_NO_SPANS).format(number=rng.choice((2, 3, 4)), thing=rng.choice(_THINGS)))
        talk.assistant("How long should each timer run?")
        first, seconds = _span(rng)
        talk.user(f"{first} each.")
        talk.call(_timer(seconds), _timer(seconds))
        talk.assistant(f"The timers for {first} are running.")
        return
    else:
        deed, time = _deed(rng), _time(rng)
        day = rng.choice(("", " tomorrow", " on Friday", " on Monday"))
        talk.user(rng.choice(("Remind me{} to {}.", "Please remind me{} to {}.")).format(day, deed))
        talk.assistant("At what time should I remind you?")
        talk.user(f"{time[:1].upper()}{time[1:]}.")
        talk.call(_reminder(time, deed))
        talk.assistant(f"I will remind you {time} to {deed}.")
        return
    span, seconds = _span(rng)
    talk.user(f"{span}.")
    talk.call(_timer(seconds))
    talk.assistant(f"The timer for {span} is running.")


def _no_tool(talk: Transcript, rng: random.Random) -> None:
    if rng.random() < 0.3:
        talk.user(rng.choice(_HELLOS))
        talk.assistant(_HELP)
        return
    words = {"town": rng.choice(_TOWNS), "goods": rng.choice(_GOODS), "person": rng.choice(_PEOPLE)}
    talk.user(rng.choice(_OTHERS).format(**words))
    talk.assistant(_CANNOT)


def _refuse(talk: Transcript, rng: random.Random) -> None:
    talk.user(rng.choice(_ZERO).format(unit=rng.choice(("seconds", "minutes", "hours")), thing=rng.choice(_THINGS)))
    talk.assistant("A timer must run for at least one second. How long should it be?")


def _chain(talk: Transcript, rng: random.Random) -> None:
    (span, seconds), time, deed = _span(rng), _time(rng), _deed(rng)
    talk.user(f"Remind me {time} to {deed}, and then start a timer for {span}.")
    talk.call(_reminder(time, deed))
    talk.call(_timer(seconds))
    talk.assistant(f"I will remind you {time} to {deed}, and the timer for {span} is running.")


def _recovery(talk: Transcript, rng: random.Random) -> None:
    span, seconds = _span(rng)
    talk.user(rng.choice(_TIMER_REQUESTS).format(span=span, thing=rng.choice(_THINGS)))
    talk.call(_timer(seconds))
    talk.call(_timer(seconds))
    talk.assistant(f"It took a second try: the timer for {span} is running.")


def _confirmation(talk: Transcript, rng: random.Random) -> None:
    time, deed = _time(rng), _deed(rng)
    talk.user(f"Remind me {time} to {deed}, but read it back to me first.")
    talk.assistant(f"A reminder {time} to {deed}. Is that right?")
    if rng.random() < 0.7:
        talk.user(rng.choice(("Yes.", "That is right.", "Yes, please.")))
        talk.call(_reminder(time, deed))
        talk.assistant(f"I will remind you {time} to {deed}.")
    else:
        talk.user(rng.choice(("No, leave it.", "No.", "Forget it.")))
        talk.assistant("I have not created a reminder.")


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
