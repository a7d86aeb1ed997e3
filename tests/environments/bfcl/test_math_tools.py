"""MathAPI: exact renderings, error texts, and precision that stays where it was set."""

import decimal

import mpmath
import pytest

from env_tuning.calls import parse_call
from env_tuning.environments.bfcl.math_tools import MathAPI
from env_tuning.environments.environment import Environment


def answer(call: str, tools: MathAPI | None = None) -> str:
    return Environment({"MathAPI": tools or MathAPI({})}).call(parse_call(call)).text


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("logarithm(10, 3, 5)", "{'result': mpf('2.0959053')}"),
        ("logarithm(-1, 10, 3)", "{'result': mpc(real='0.0', imag='1.36426')}"),
        ("logarithm(10, 1, 5)", '{"error": ""}'),
        ("logarithm('abc', 10, 5)", '{"error": "cannot create mpf from \'abc\'"}'),
        ("square_root(2, 10)", "{'result': Decimal('1.414213562')}"),
        ("square_root(2.25, 1)", "{'result': Decimal('2')}"),
        ("square_root(-1, 5)", '{"error": "Cannot calculate square root of a negative number"}'),
        ("square_root(2, 0)", "Error during execution: valid range for prec is [1, MAX_PREC]"),
        (
            "square_root(2, None)",
            '{"error": "Input must be a number or computation resulted in an invalid operation"}',
        ),
    ],
)
def test_precise_results_print_as_objects_of_their_library(call, text):
    assert answer(call) == text


def test_precision_never_leaves_the_call():
    before = (mpmath.mp.dps, decimal.getcontext().prec)
    tools = MathAPI({})
    answer("logarithm(10, 3, 40)", tools)
    answer("square_root(2, 40)", tools)
    assert (mpmath.mp.dps, decimal.getcontext().prec) == before
    assert answer("logarithm(10, 3, 5)", tools) == "{'result': mpf('2.0959053')}"
    assert answer("square_root(2, 5)", tools) == "{'result': Decimal('1.4142')}"


@pytest.mark.parametrize("tool", ["add", "subtract", "divide"])
def test_arithmetic_declines_what_has_no_operator(tool):
    assert answer(f"{tool}('a', 1)") == '{"error": "Both inputs must be numbers"}'


def test_add_joins_what_python_joins_but_multiply_wants_numbers():
    assert answer("add('a', 'b')") == '{"result": "ab"}'
    assert answer("add([1], [2])") == '{"result": [1, 2]}'
    assert answer("multiply('ab', 2)") == '{"error": "Both inputs must be numbers"}'
    assert answer("multiply(True, 2)") == '{"result": 2}'


def test_division_by_zero_is_declined_and_overflow_raises():
    assert answer("divide(1, 0)") == '{"error": "Cannot divide by zero"}'
    assert answer("percentage(1, 0)") == '{"error": "Whole value cannot be zero"}'
    assert answer(f"divide({10**400}, 3)") == "Error during execution: integer division result too large for a float"


def test_power_raises_what_python_raises():
    assert answer("power(2, 10)") == '{"result": 1024}'
    assert answer("power(0, -1)") == "Error during execution: 0.0 cannot be raised to a negative power"
    assert answer("power(10.0, 400)") == "Error during execution: (34, 'Numerical result out of range')"
    assert answer("power(-8, 0.5)") == "{'result': (1.7319121124709868e-16+2.8284271247461903j)}"
    assert answer("power('2', 2)") == '{"error": "Both inputs must be numbers"}'


def test_integers_too_long_to_print_are_an_exception():
    assert answer("power(9, 5000)").startswith("Error during execution: Exceeds the limit (4300 digits)")


def test_rounding_is_to_even_and_keeps_the_type():
    assert answer("round_number(2.5)") == '{"result": 2.0}'
    assert answer("round_number(2.5, None)") == '{"result": 2}'
    assert answer("round_number(1250, -2)") == '{"result": 1200}'
    assert answer("round_number(2.5, 1.5)") == (
        '{"error": "First input must be a number, second input must be an integer"}'
    )


def test_absolute_value_declines_text():
    assert answer("absolute_value(-3)") == '{"result": 3}'
    assert answer("absolute_value('3')") == '{"error": "Input must be a number"}'


@pytest.mark.parametrize(
    ("tool", "what"),
    [
        ("mean", "calculate mean"),
        ("standard_deviation", "calculate standard deviation"),
        ("min_value", "find minimum"),
        ("max_value", "find maximum"),
        ("sum_values", "calculate sum"),
    ],
)
def test_lists_must_hold_numbers_and_not_be_empty(tool, what):
    assert answer(f"{tool}([])") == answer(f"{tool}(0)") == f'{{"error": "Cannot {what} of an empty list"}}'
    assert answer(f"{tool}([1, 'a'])") == '{"error": "All elements in the list must be numbers"}'
    assert answer(f"{tool}(5)") == '{"error": "All elements in the list must be numbers"}'


def test_statistics_of_a_list():
    assert answer("mean([1, 2])") == '{"result": 1.5}'
    assert answer("standard_deviation([1, 3])") == '{"result": 1.0}'
    assert answer("min_value('ba')") == '{"result": "a"}'
    assert answer("sum_values([1, 2.5])") == '{"result": 3.5}'


def test_si_conversion_multiplies_by_the_inverse():
    assert answer("si_unit_conversion(5, 'km', 'um')") == '{"result": 5000000000.0}'
    assert answer("si_unit_conversion(3, 'm', 'nm')") == '{"result": 2999999999.9999995}'
    assert answer("si_unit_conversion(1, 'kg', 'm')") == (
        "{\"error\": \"Conversion from 'kg' to 'm' is not supported\"}"
    )
    assert answer("si_unit_conversion('1', 'km', 'm')") == '{"error": "Value must be a number"}'
    assert answer(f"si_unit_conversion({10**400}, 'cm', 'm')") == (
        '{"error": "Conversion resulted in a value too large to represent"}'
    )


def test_imperial_conversion_knows_temperature_and_any_unit_to_itself():
    assert answer("imperial_si_conversion(100, 'celsius', 'fahrenheit')") == '{"result": 212.0}'
    assert answer("imperial_si_conversion(212, 'fahrenheit', 'celsius')") == '{"result": 100.0}'
    assert answer("imperial_si_conversion(10, 'km', 'miles')") == '{"result": 6.21371}'
    assert answer("imperial_si_conversion(7, 'bananas', 'bananas')") == '{"result": 7}'
    assert answer("imperial_si_conversion(7, 'cm', 'ft')") == (
        "{\"error\": \"Conversion from 'cm' to 'ft' is not supported\"}"
    )


def test_wrong_arguments_name_the_class_and_the_tool():
    assert answer("add(1)") == ("Error during execution: MathAPI.add() missing 1 required positional argument: 'b'")


def test_two_instances_never_share_state():
    first, second = MathAPI({"anything": 1}), MathAPI({})
    alone = answer("logarithm(10, 3, 5)", first)
    answer("logarithm(10, 3, 40)", first)
    # A precision that is refused is no precision, and leaves none of its own behind.
    answer("logarithm(10, 3, 'many')", second)
    answer("logarithm(10, 3, 10000)", second)
    assert answer("logarithm(10, 3, 5)", second) == alone
    assert first.public_state() == second.public_state() == {}


def test_a_long_text_that_is_no_number_is_declined_in_the_words_of_the_benchmark():
    declined = '{"error": "cannot create mpf from \'frontLeftTirePressure\'"}'
    assert answer("logarithm(value='frontLeftTirePressure', base=10, precision=5)") == declined
    assert answer("logarithm(10, '1e99999999999999', 5)") == (
        "Error during execution: a number written as text is too long"
    )
