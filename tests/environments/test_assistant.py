"""The assistant's tools: right answers, no evaluation, no clock, bounded cost."""

from __future__ import annotations

import datetime
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from env_tuning import contract
from env_tuning.calls import ToolCall
from env_tuning.environments.arithmetic import ArithmeticFault, evaluate, shown
from env_tuning.environments.assistant import Assistant
from env_tuning.environments.checking import CheckedEnvironment, argument_fault
from env_tuning.environments.environment import CallStatus
from env_tuning.environments.registry import make_environment
from env_tuning.environments.scenario import tasks_of
from env_tuning.environments.schemas import tool_docs_of

NAME = "env_tuning.environments.assistant:Assistant"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("25 * 37 + 128", "1053"),
        ("25 × 37 ÷ 5", "185"),
        ("（２５ ＋ 5） * 2 = ?", "60"),
        ("2^10", "1024"),
        ("7 / 2", "3.5"),
        ("0.1 + 0.2", "0.3"),
        ("sqrt(2) * sqrt(2)", "2"),
        ("-3 ** 2 % 5", "1"),
        ("round(10 / 3, 2)", "3.33"),
        ("max(1, 2, 3) + factorial(5) + gcd(12, 18)", "129"),
        ("2 * pi", "6.28318530718"),
    ],
)
def test_arithmetic_has_a_value(text, value):
    assert shown(evaluate(text)) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9**9**9", "too large"),
        ("2**-99999999", "too large"),
        ("factorial(10**6)", "from 0 to 1000"),
        ("1" * 1001, "more than 1000 characters"),
        ("9" * 900 + "**4", "too large"),
        ("*".join(["9" * 99] * 9) + "**9" * 9, "too large"),
        ("(" * 400 + "1" + ")" * 400, "nested too deeply|no arithmetic"),
        ("1 / 0", "division by zero"),
        ("1e308 * 10", "not a finite number"),
        ("(-8) ** 0.5", "no real number"),
        ("sqrt(-1)", "sqrt"),
        ("__import__('os').system('touch pwned')", "not allowed|no function"),
        ("().__class__.__bases__", "not allowed"),
        ("open('x')", "no function open"),
        ("[1][0]", "not allowed"),
        ("lambda: 1", "not allowed"),
        ("'a' * 9", "not allowed"),
        ("True + 1", "not allowed"),
        ("x + 1", "not allowed"),
        ("min()", "argument"),
        ("sqrt(1, 2)", "argument"),
        ("round(1, 2, 3)", "argument"),
        ("1 +", "no arithmetic"),
        ("", "no arithmetic"),
    ],
)
def test_what_is_no_arithmetic_or_too_much_is_a_fault(text, said):
    with pytest.raises(ArithmeticFault, match=said):
        evaluate(text)


@given(st.text(alphabet="0123456789+-*/%().,e^×÷ sqrtpilogma", max_size=60))
def test_arithmetic_gives_a_finite_value_or_a_fault_for_any_text(text):
    try:
        value = evaluate(text)
    except ArithmeticFault:
        return
    # A whole number may be beyond the floats.
    assert isinstance(value, int) or math.isfinite(value)


def environment(**config: object) -> CheckedEnvironment:
    made = make_environment([NAME], json.dumps({NAME: config}), checked=tool_docs_of(Assistant))
    assert isinstance(made, CheckedEnvironment)
    return made


def call(name: str, **arguments: object) -> tuple[str, CallStatus]:
    return environment().call(ToolCall(name=name, arguments=arguments))


def test_the_tools_answer():
    assert call("calculator", expression="25 * 37") == ("925", CallStatus.OK)
    text, status = call("search", query="长城有多长", max_results=1)
    assert (status, text.count("\n")) == (CallStatus.OK, 0)
    assert "21196" in text
    assert "330 metres" in call("search", query="How tall is the Eiffel Tower?")[0]
    assert call("get_current_time") == ("2025-06-02 12:00:00", CallStatus.OK)
    assert call("get_current_time", timezone="UTC") == ("2025-06-02 04:00:00", CallStatus.OK)


def test_the_weather_is_the_same_everywhere_and_knows_both_names_of_a_city():
    today = call("weather_query", city="北京")
    assert today == call("weather_query", city=" Beijing ", date="2025-06-02") == call("weather_query", city="北京市")
    assert today[1] is CallStatus.OK
    assert today != call("weather_query", city="北京", date="2025-06-03")


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("calculator", {"expression": "1 / 0"}, "division by zero"),
        ("weather_query", {"city": "Atlantis"}, "no weather"),
        ("weather_query", {"city": "北京", "date": "明天"}, "YYYY-MM-DD"),
        ("weather_query", {"city": "北京", "date": "2025-02-30"}, "YYYY-MM-DD"),
        ("search", {"query": "zzz"}, "nothing was found"),
        ("search", {"query": "长城", "max_results": 0}, "from 1 to 20"),
        ("get_current_time", {"timezone": "Mars/Base"}, "no time zone"),
        ("get_current_time", {"timezone": "../../etc/passwd"}, "no time zone"),
    ],
)
def test_what_a_tool_declines_is_an_error_with_a_reason(name, arguments, said):
    text, status = call(name, **arguments)
    assert status is CallStatus.ERROR
    assert said in text


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("calculate", {}, "unknown tool: calculate; there are calculator, weather_query"),
        ("calculator", {}, "wrong arguments: 'expression' is a required property"),
        ("calculator", {"expression": 7}, "wrong arguments: expression: 7 is not of type 'string'"),
        ("calculator", {"expr": "1"}, "wrong arguments: calculator has no parameter 'expr'; it has expression"),
        ("search", {"query": "长城", "max_results": "5"}, "wrong arguments: max_results: '5' is not of type 'integer'"),
        ("calculator", {"expression": "1" * 200_000}, "wrong arguments: the arguments contain more than 100000"),
        ("_now", {"timezone": "UTC"}, "unknown tool: _now"),
    ],
)
def test_calls_that_the_documents_do_not_allow_do_not_run(name, arguments, said):
    text, status = call(name, **arguments)
    assert status is CallStatus.EXCEPTION
    assert text.startswith(said)


def test_defaults_may_be_null_where_the_document_says_so():
    (document,) = (tool for tool in tool_docs_of(Assistant) if tool.name == "weather_query")
    assert argument_fault(document, {"city": "北京", "date": None}) is None


class RealClock(Assistant):
    """What the documentation says of a subclass."""

    def _now(self, timezone):
        return datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc)

    def toss(self) -> str:
        """Toss a coin."""
        return "heads"


def test_a_subclass_replaces_a_back_end_and_adds_a_tool():
    mine = RealClock({})
    assert mine.get_current_time() == "2030-01-01 00:00:00"
    assert [tool.name for tool in tool_docs_of(RealClock)][-1] == "toss"


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="distance to UTC"):
        environment(now="2025-01-01T00:00:00")


def test_the_class_keeps_the_promises_of_every_environment():
    subject = contract.Subject(name=NAME, tasks=tasks_of(NAME), long_context=None)
    findings = contract.check(subject)
    broken = [finding for finding in findings if finding.problems]
    # Without state a turn that asks for nothing is the only thing that idling gets right.
    assert not broken, contract.report(subject, findings)
