"""A small set of tools and requests, made here: for tests, for a first run, and for machines without a network.

Owns: sixteen tools, the sentences that ask for them, and drawing dialogues from a seed. Refuses: being a benchmark.
Every value stands word for word in its query, unless it is withheld.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from env_tuning.function_calling.records import Dialogue, GoldCall, Parameter, Request, Tool

# Few values, so that a tiny model can learn each: it does not learn to copy any word.
_CITIES = ("Oslo", "Lima", "Cairo", "Quito")
_DAYS = ("monday", "friday", "sunday")
_PEOPLE = ("Mira", "Tomas", "Vera")
_TIMES = ("07:30", "16:20", "20:30")
_NUMBERS = (2, 3, 4)
_CURRENCIES = ("EUR", "USD", "JPY")
_AMOUNTS = (15, 40, 600)
_GENRES = ("jazz", "rock", "folk")
_ROOMS = ("kitchen", "bedroom", "office")
_LANGUAGES = ("French", "Finnish", "Korean")
_WORDS = ("lantern", "harbour", "pebble")
_STOCKS = ("ACME", "ORBI", "TULA")
_GOODS = ("lemons", "soap", "tea")


@dataclass(frozen=True, kw_only=True)
class _Skill:
    """A tool and how to ask for it.

    Attributes:
        tool: of the inventory.
        values: for every parameter, what it may be.
        sentences: with ``{parameter}`` for every required parameter.
        extras: for every optional parameter, what is added to a sentence that says it.
        without: for a required parameter, a sentence that does not say it.
    """

    tool: Tool
    values: Mapping[str, Sequence[Any]]
    sentences: tuple[str, ...]
    extras: Mapping[str, str]
    without: Mapping[str, str]


def _skill(
    name: str,
    description: str,
    required: Mapping[str, tuple[str, Sequence[Any]]],
    sentences: Sequence[str],
    *,
    optional: Mapping[str, tuple[str, Sequence[Any], str]] = MappingProxyType({}),
    without: Mapping[str, str] = MappingProxyType({}),
) -> _Skill:
    parameters = [
        *(Parameter(name=key, description=about, type=_type_of(values)) for key, (about, values) in required.items()),
        *(
            Parameter(name=key, description=about, type=f"{_type_of(values)}, optional", required=False)
            for key, (about, values, _) in optional.items()
        ),
    ]
    values = {key: values for key, (_, values) in required.items()}
    return _Skill(
        tool=Tool(name=name, description=description, parameters=tuple(parameters)),
        values=values | {key: values for key, (_, values, _) in optional.items()},
        sentences=tuple(sentences),
        extras={key: words for key, (_, _, words) in optional.items()},
        without=without,
    )


def _type_of(values: Sequence[Any]) -> str:
    return type(values[0]).__name__


_SKILLS = (
    _skill(
        "get_weather", "Weather of a city.",
        {"city": ("The city.", _CITIES)},
        ("What is the weather in {city}?", "Will it rain in {city}?"),
        optional={"day": ("The day.", _DAYS, " I mean {day}.")},
        without={"city": "What is the weather like there?"},
    ),
    _skill(
        "find_flights", "Flights between two cities.",
        {"origin": ("Where from.", _CITIES), "destination": ("Where to.", _CITIES)},
        ("Find flights from {origin} to {destination}.", "How can I fly from {origin} to {destination}?"),
        without={"origin": "Find flights to {destination}."},
    ),
    _skill(
        "book_hotel", "Book a hotel room.",
        {"city": ("The city.", _CITIES), "nights": ("How many nights.", _NUMBERS)},
        ("Book a hotel in {city} for {nights} nights.", "I need a room in {city} for {nights} nights."),
        without={"nights": "Book a hotel in {city}."},
    ),
    _skill(
        "book_table", "Reserve a restaurant table.",
        {"people": ("How many people.", _NUMBERS), "time": ("When.", _TIMES)},
        ("Reserve a table for {people} at {time}.", "We want to eat at {time}, a table for {people} please."),
        without={"time": "Reserve a table for {people}."},
    ),
    _skill(
        "set_alarm", "Set an alarm clock.",
        {"time": ("When.", _TIMES)},
        ("Set an alarm for {time}.", "Wake me at {time}."),
        optional={"day": ("The day.", _DAYS, " On {day}.")},
        without={"time": "Set an alarm."},
    ),
    _skill(
        "send_message", "Send a text message to a person.",
        {"recipient": ("Who gets it.", _PEOPLE), "word": ("The text.", _WORDS)},
        ("Send {recipient} the message {word}.", "Write {word} to {recipient}."),
        without={"recipient": "Send the message {word}."},
    ),
    _skill(
        "call_person", "Call a person by phone.",
        {"person": ("Who is called.", _PEOPLE)},
        ("Call {person}.", "Ring up {person}, please."),
        without={"person": "Make a phone call."},
    ),
    _skill(
        "convert_currency", "Convert an amount of money.",
        {
            "amount": ("How much.", _AMOUNTS),
            "source": ("Its currency.", _CURRENCIES),
            "target": ("The wanted currency.", _CURRENCIES),
        },
        ("Convert {amount} {source} to {target}.", "How much is {amount} {source} in {target}?"),
        without={"target": "Convert {amount} {source}."},
    ),
    _skill(
        "play_music", "Play music of a genre.",
        {"genre": ("The genre.", _GENRES)},
        ("Play some {genre}.", "I want to hear {genre}."),
        optional={"room": ("Where.", _ROOMS, " In the {room}.")},
        without={"genre": "Play some music."},
    ),
    _skill(
        "switch_light", "Switch a lamp in a room on or off.",
        {"room": ("The room.", _ROOMS), "state": ("on or off.", ("on", "off"))},
        ("Switch the light in the {room} {state}.", "Turn the lamp of the {room} {state}."),
        without={"room": "Switch the light {state}."},
    ),
    _skill(
        "set_temperature", "Heat a room to a temperature.",
        {"room": ("The room.", _ROOMS), "degrees": ("In Celsius.", (16, 20, 22))},
        ("Heat the {room} to {degrees} degrees.", "I want {degrees} degrees in the {room}."),
        without={"degrees": "Heat the {room}."},
    ),
    _skill(
        "translate_word", "Translate a word.",
        {"word": ("The word.", _WORDS), "language": ("Into which language.", _LANGUAGES)},
        ("Translate {word} into {language}.", "What is {word} in {language}?"),
        without={"language": "Translate {word}."},
    ),
    _skill(
        "get_stock_price", "Price of a stock.",
        {"symbol": ("Its symbol.", _STOCKS)},
        ("What does a share of {symbol} cost?", "Give me the stock price of {symbol}."),
        without={"symbol": "Give me the stock price."},
    ),
    _skill(
        "add_to_list", "Put goods on the shopping list.",
        {"item": ("What.", _GOODS), "quantity": ("How many.", _NUMBERS)},
        ("Put {quantity} {item} on the shopping list.", "We need to buy {quantity} {item}."),
        without={"quantity": "Put {item} on the shopping list."},
    ),
    _skill(
        "add_event", "Put an event into the calendar.",
        {"person": ("Whom it is with.", _PEOPLE), "day": ("When.", _DAYS)},
        ("Put a meeting with {person} on {day} into my calendar.", "I meet {person} on {day}, note it."),
        without={"day": "Put a meeting with {person} into my calendar."},
    ),
    _skill(
        "start_timer", "Start a kitchen timer.",
        {"minutes": ("How long.", (10, 25, 45))},
        ("Start a timer of {minutes} minutes.", "Tell me when {minutes} minutes are over."),
        without={"minutes": "Start a timer."},
    ),
)  # fmt: skip

_UNANSWERABLE = (
    "Paint my fence green.",
    "Who wrote this old song?",
    "Walk the dog for me.",
    "Repair the washing machine.",
    "Tell me the secret of a long life.",
    "Water the plants on the balcony.",
    "Prove that there are infinitely many primes.",
    "Knit me a scarf.",
)


def offline_tools() -> dict[str, Tool]:
    """The inventory, by name."""
    return {skill.tool.name: skill.tool for skill in _SKILLS}


def offline_dialogues(count: int, *, seed: int = 0) -> list[Dialogue]:
    """Dialogues without repetition of a whole dialogue.

    Of ten, about four need one call, two two tools, one two calls of a tool, one no tool, one a question, and one has
    two requests.

    Args:
        count: how many.
        seed: of what is drawn.
    """
    draw = random.Random(seed)
    seen: set[tuple[str, ...]] = set()
    dialogues: list[Dialogue] = []
    while len(dialogues) < count:
        requests = _requests(draw, draw.randrange(10))
        asked = tuple(request.query for request in requests)
        # The few unanswerable requests may come again, for there is nothing to learn by heart but that.
        if asked in seen and requests[0].calls:
            continue
        seen.add(asked)
        dialogues.append(Dialogue(id=f"offline_{len(dialogues)}", requests=requests))
    return dialogues


def _requests(draw: random.Random, kind: int) -> tuple[Request, ...]:
    if kind < 4:
        return (_plain(draw, [draw.choice(_SKILLS)]),)
    if kind < 6:
        return (_plain(draw, draw.sample(_SKILLS, 2)),)
    if kind == 6:
        return (_plain(draw, [draw.choice(_SKILLS)] * 2),)
    if kind == 7:
        return (Request(query=draw.choice(_UNANSWERABLE)),)
    if kind == 8:
        return (_question(draw),)
    return tuple(_plain(draw, [skill]) for skill in draw.sample(_SKILLS, 2))


def _plain(draw: random.Random, skills: Sequence[_Skill]) -> Request:
    said, calls = [], []
    for skill in skills:
        while True:
            text, arguments = _sentence(draw, skill)
            call = GoldCall(name=skill.tool.name, arguments=arguments)
            if call not in calls:
                break
        said.append(text)
        calls.append(call)
    return Request(query=" ".join(said), calls=tuple(calls))


def _sentence(draw: random.Random, skill: _Skill) -> tuple[str, dict[str, Any]]:
    arguments = _required(draw, skill)
    text = draw.choice(skill.sentences).format(**arguments)
    for name, words in skill.extras.items():
        if draw.random() < 0.5:
            arguments[name] = draw.choice(skill.values[name])
            text += words.format(**{name: arguments[name]})
    return text, arguments


def _required(draw: random.Random, skill: _Skill) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for parameter in skill.tool.parameters:
        if parameter.required:
            # Not the same city twice: a flight from Oslo to Oslo is none.
            free = [value for value in skill.values[parameter.name] if value not in arguments.values()]
            arguments[parameter.name] = draw.choice(free)
    return arguments


def _question(draw: random.Random) -> Request:
    skill = draw.choice(_SKILLS)
    arguments = _required(draw, skill)
    withheld, sentence = draw.choice(sorted(skill.without.items()))
    call = GoldCall(name=skill.tool.name, arguments=arguments)
    return Request(query=sentence.format(**arguments), calls=(call,), withheld={skill.tool.name: (withheld,)})
