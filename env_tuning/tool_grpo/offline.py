"""Small sets of conversations, made here: for tests, for a first run, and for machines without a network.

Owns: the requests, how they are solved, and the right answers, which come from the tools themselves. Refuses: being a
benchmark. Words and numbers come from short lists, so that a tiny model can learn the language of a set by heart.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from env_tuning.calls import ToolCall
from env_tuning.environments.assistant import Assistant
from env_tuning.protocols import protocol
from env_tuning.protocols.base import Protocol
from env_tuning.protocols.python_block import CODE_ARGUMENT, PYTHON_TOOL
from env_tuning.task import AnswerKind, Expected

Conversation = dict[str, Any]
"""One object of a JSONL file (docs/reference/dialogues.md), with the assistant's messages: a demonstration."""

_CITIES = MappingProxyType(
    {"北京": "Beijing", "上海": "Shanghai", "广州": "Guangzhou", "成都": "Chengdu", "武汉": "Wuhan", "西安": "Xian"}
)
_CLOCKS = (
    ("东京", "Tokyo", "Asia/Tokyo"),
    ("伦敦", "London", "Europe/London"),
    ("巴黎", "Paris", "Europe/Paris"),
    ("纽约", "New York", "America/New_York"),
)
_FACTS = (
    ("长城有多长？", "长城", "21196", "长城全长约21196千米。"),
    ("珠穆朗玛峰有多高？", "珠穆朗玛峰", "8848.86", "珠穆朗玛峰海拔8848.86米。"),
    ("黄河有多长？", "黄河", "5464", "黄河全长约5464千米。"),
    ("故宫建成于哪一年？", "故宫", "1420", "故宫建成于1420年。"),
    ("How tall is the Eiffel Tower?", "Eiffel Tower", "330", "The Eiffel Tower is 330 metres tall."),
    ("How high is Mount Fuji?", "Mount Fuji", "3776", "Mount Fuji is 3776 metres high."),
    ("How far away is the Moon?", "Moon", "384400", "The Moon is 384400 kilometres away."),
)
_MULTIPLES = (
    ("黄河长度的{factor}倍是多少千米？", "黄河", 5464),
    ("埃菲尔铁塔高度的{factor}倍是多少米？", "Eiffel Tower", 330),
    ("What is {factor} times the height of Mount Fuji in metres?", "Mount Fuji", 3776),
)
_CHAT = (
    ("你好！", "你好！有什么可以帮你？", "你好"),
    ("谢谢！", "不客气！", "不客气"),
    ("Hello!", "Hello! What can I do for you?", "hello"),
    ("Thank you!", "You are welcome!", "welcome"),
)


class _Exchange(NamedTuple):
    """One request of the user and everything that a perfect assistant writes about it."""

    request: str
    calls: tuple[ToolCall, ...]
    """One in each message."""
    answer: str
    expected: Expected


def assistant_conversations(seed: int = 0, *, pairs: int = 24) -> list[Conversation]:
    """Requests for the assistant's four tools, in Chinese and English.

    One tool, two tools of which the second takes what the first said, and none; and dialogues of two requests.

    Args:
        seed: of the dialogues of two requests.
        pairs: how many of them.
    """
    draw = random.Random(seed)
    singles = _singles()
    dialogues = [[one] for one in singles]
    dialogues += [[draw.choice(singles), draw.choice(singles)] for _ in range(pairs)]
    return _conversations(dialogues, "assistant", ("assistant",), "hermes")


def maths_conversations(seed: int = 0, *, count: int = 84) -> list[Conversation]:
    """Problems of number theory whose answers are whole numbers below 1000, and programs that solve them.

    Args:
        seed: of the numbers in them.
        count: how many different problems.

    Raises:
        ValueError: there are not so many.
    """
    return _conversations([[problem] for problem in _problems(seed, count)], "maths", ("python",), "python_block")


def mixed_conversations(seed: int = 0) -> list[Conversation]:
    """Rows of both sets, written in the one protocol that speaks of both kinds of tools; every row names its own."""
    requests, problems = ([[one] for one in exchanges] for exchanges in (_singles(), _problems(seed, 60)))
    return [
        *_conversations(requests, "assistant", ("assistant",), "python_block"),
        *_conversations(problems, "maths", ("python",), "python_block"),
    ]


def _conversations(
    dialogues: Sequence[Sequence[_Exchange]], split: str, tools: Sequence[str], spoken: str
) -> list[Conversation]:
    speak = protocol(spoken)
    return [
        {
            "id": f"{split}_{index}",
            "split": split,
            "tools": list(tools),
            "conversation": [message for exchange in dialogue for message in _messages(exchange, speak)],
            "expected": [
                {**exchange.expected._asdict(), "kind": exchange.expected.kind.value} for exchange in dialogue
            ],
        }
        for index, dialogue in enumerate(dialogues)
    ]


def _messages(exchange: _Exchange, speak: Protocol) -> list[dict[str, str]]:
    texts = [*(speak.write_calls([call]) for call in exchange.calls), speak.write_answer(exchange.answer)]
    return [
        {"role": "user", "content": exchange.request},
        *({"role": "assistant", "content": text} for text in texts),
    ]


def _singles() -> list[_Exchange]:
    return [*_sums(), *_weather(), *_facts(), *_clocks(), *_multiples(), *_chat()]


def _sums() -> Iterator[_Exchange]:
    for left in (12, 25, 37, 48):
        for sign in "*+":
            for right in (6, 9, 15):
                expression = f"{left} {sign} {right}"
                result = str(_TOOLS.calculator(expression))
                call = ToolCall(name="calculator", arguments={"expression": expression})
                expected = Expected(answer=result, kind=AnswerKind.NUMBER, needs_tools=True)
                yield _Exchange(f"{expression} 等于多少？", (call,), f"等于 {result}。", expected)
                yield _Exchange(f"What is {expression}?", (call,), f"It is {result}.", expected)


def _weather() -> Iterator[_Exchange]:
    for chinese, english in _CITIES.items():
        condition, degrees, _ = str(_TOOLS.weather_query(chinese)).split(": ", 1)[1].split(", ")
        expected = Expected(answer=condition, kind=AnswerKind.WORDS, needs_tools=True)
        for city, request, answer in (
            (chinese, f"{chinese}今天天气怎么样？", f"{chinese}今天{condition}，{degrees}。"),
            (english, f"What is the weather in {english}?", f"{english} today: {condition}, {degrees}."),
        ):
            yield _Exchange(request, (ToolCall(name="weather_query", arguments={"city": city}),), answer, expected)


def _facts() -> Iterator[_Exchange]:
    for request, subject, number, answer in _FACTS:
        expected = Expected(answer=number, kind=AnswerKind.NUMBER, needs_tools=True)
        yield _Exchange(request, (_search(subject),), answer, expected)


def _clocks() -> Iterator[_Exchange]:
    for chinese, english, zone in _CLOCKS:
        time = str(_TOOLS.get_current_time(zone)).split()[1][:5]
        call = ToolCall(name="get_current_time", arguments={"timezone": zone})
        expected = Expected(answer=time, kind=AnswerKind.WORDS, needs_tools=True)
        yield _Exchange(f"{chinese}现在几点？", (call,), f"{chinese}现在是{time}。", expected)
        yield _Exchange(f"What time is it in {english}?", (call,), f"It is {time} in {english}.", expected)


def _multiples() -> Iterator[_Exchange]:
    for request, subject, number in _MULTIPLES:
        for factor in (2, 3):
            expression = f"{number} * {factor}"
            result = str(_TOOLS.calculator(expression))
            calls = (_search(subject), ToolCall(name="calculator", arguments={"expression": expression}))
            answer = f"It is {result}." if request.startswith("What") else f"等于 {result}。"
            expected = Expected(answer=result, kind=AnswerKind.NUMBER, needs_tools=True)
            yield _Exchange(request.format(factor=factor), calls, answer, expected)


def _chat() -> Iterator[_Exchange]:
    for request, answer, words in _CHAT:
        yield _Exchange(request, (), answer, Expected(answer=words, kind=AnswerKind.WORDS, needs_tools=False))


def _search(subject: str) -> ToolCall:
    return ToolCall(name="search", arguments={"query": subject, "max_results": 1})


class _Problem(NamedTuple):
    """A kind of problem: its words, a program and the function that computes the same, and what its numbers may be."""

    words: str
    program: str
    solve: Callable[..., int]
    numbers: tuple[Sequence[int], ...]


_BASES, _SMALL, _LARGE = (2, 3, 5, 7, 11), (7, 9, 13, 17, 19), (36, 48, 60, 84, 90, 120)
_PROBLEMS = (
    _Problem(
        "Find the remainder when {0}^{1} is divided by {2}.", "print({0} ** {1} % {2})",
        lambda base, power, divisor: base**power % divisor, (_BASES, (10, 20, 50), _SMALL),
    ),
    _Problem(
        "How many positive divisors does {0} have?", "print(sum({0} % d == 0 for d in range(1, {0} + 1)))",
        lambda number: sum(number % d == 0 for d in range(1, number + 1)), (_LARGE,),
    ),
    _Problem(
        "Find the greatest common divisor of {0} and {1}.", "import math\nprint(math.gcd({0}, {1}))",
        math.gcd, (_LARGE, _LARGE),
    ),
    _Problem(
        "How many of the first {0} positive integers are divisible by {1}?", "print({0} // {1})",
        lambda number, divisor: number // divisor, (_LARGE, _BASES),
    ),
    _Problem(
        "Find the sum of the digits of {0}^{1}.", "print(sum(map(int, str({0} ** {1}))))",
        lambda base, power: sum(map(int, str(base**power))), (_BASES, (10, 20, 50)),
    ),
)  # fmt: skip


def _problems(seed: int, count: int) -> list[_Exchange]:
    draw = random.Random(seed)
    made: dict[str, _Exchange] = {}
    for attempt in range(20 * count):
        if len(made) == count:
            return list(made.values())
        kind = _PROBLEMS[attempt % len(_PROBLEMS)]
        numbers = [draw.choice(choices) for choices in kind.numbers]
        request, result = kind.words.format(*numbers), kind.solve(*numbers)
        call = ToolCall(name=PYTHON_TOOL, arguments={CODE_ARGUMENT: kind.program.format(*numbers)})
        # By value: a first run needs no math-verify.
        expected = Expected(answer=str(result), kind=AnswerKind.NUMBER, needs_tools=True)
        made[request] = _Exchange(request, (call,), f"The answer is \\boxed{{{result}}}.", expected)
    raise ValueError(f"there are no {count} different problems; ask for fewer")


_TOOLS = Assistant({})
