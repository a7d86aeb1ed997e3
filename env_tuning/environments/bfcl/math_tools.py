"""Calculator tools: arithmetic, statistics, unit conversion, and roots and logarithms to a given precision.

At parity with MathAPI of bfcl_eval 2026.3.23, quirks included: `add` joins texts and lists, overflows and
negative powers of zero raise, results of `logarithm` and `square_root` print as mpmath and decimal objects, and a value
converts to its own unit whatever that unit is. Precision is set on contexts of this module's own, never on
mpmath's or on the thread's decimal context.

There is no state. What a few characters of arguments could make expensive is bounded here: the digits of
`logarithm` and `square_root` by a limit (`limits.MATH_DIGITS`), `power` and `round_number` without a change of their
results. All other tools cost what their arguments weigh.
"""

from __future__ import annotations

import decimal
import functools
import math
import threading
from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import mpmath

from env_tuning.environments import limits
from env_tuning.environments.tool_class import ToolClass

if TYPE_CHECKING:
    from env_tuning.environments.bfcl.long_context import LongContext

_METERS = MappingProxyType({"km": 1000, "m": 1, "cm": 0.01, "mm": 0.001, "um": 1e-6, "nm": 1e-9})

_FACTORS = MappingProxyType(
    {
        "cm_to_in": 0.393701,
        "in_to_cm": 2.54,
        "m_to_ft": 3.28084,
        "ft_to_m": 0.3048,
        "m_to_yd": 1.09361,
        "yd_to_m": 0.9144,
        "km_to_miles": 0.621371,
        "miles_to_km": 1.60934,
        "kg_to_lb": 2.20462,
        "lb_to_kg": 0.453592,
        "celsius_to_fahrenheit": 1.8,
        "fahrenheit_to_celsius": 5 / 9,
    }
)

_NEEDS_NUMBER = "Input must be a number"
_NEEDS_NUMBERS = "Both inputs must be numbers"
_NEEDS_NUMBER_LIST = "All elements in the list must be numbers"
_TOO_LARGE = "Conversion resulted in a value too large to represent"

# mpmath keeps constants such as ln 2 for all contexts of the process, value and precision in two steps: a thread that
# reads between them would compute with a wrong constant.
_MPMATH_CONSTANTS = threading.Lock()


class _Contexts(threading.local):
    """One mpmath context per thread, as making one costs 0.4 ms. Every call sets its precision before it uses it."""

    @functools.cached_property
    def mpmath(self) -> mpmath.MPContext:
        return mpmath.MPContext()


_CONTEXTS = _Contexts()


class MathAPI(ToolClass):
    """A calculator without memory."""

    def __init__(self, config: dict[str, Any], long_context: LongContext | None = None) -> None:
        """Take nothing from the config: the benchmark has some for this class and ignores them."""

    def logarithm(self, value: float, base: float, precision: int) -> dict[str, Any]:
        """Take the logarithm to a base, to a number of decimal digits."""
        context = _CONTEXTS.mpmath
        try:
            context.dps = precision
            _check_digits(context.dps)
            _check_text(value)
            _check_text(base)
            with _MPMATH_CONSTANTS:
                return {"result": context.log(value) / context.log(base)}
        except limits.CostError:
            raise
        # Whatever mpmath raises on model input is the answer, as in the benchmark.
        except Exception as error:
            return {"error": str(error)}

    def mean(self, numbers: list[float]) -> dict[str, Any]:
        """Average a list of numbers."""
        if not numbers:
            return {"error": "Cannot calculate mean of an empty list"}
        return _attempt(lambda: _mean(numbers), _NEEDS_NUMBER_LIST)

    def standard_deviation(self, numbers: list[float]) -> dict[str, Any]:
        """Take the population standard deviation of a list of numbers."""
        if not numbers:
            return {"error": "Cannot calculate standard deviation of an empty list"}
        return _attempt(lambda: _standard_deviation(numbers), _NEEDS_NUMBER_LIST)

    def si_unit_conversion(self, value: float, unit_in: str, unit_out: str) -> dict[str, Any]:
        """Convert a length between km, m, cm, mm, um and nm."""
        if not isinstance(value, (int, float)):
            return {"error": "Value must be a number"}
        if unit_in not in _METERS or unit_out not in _METERS:
            return {"error": f"Conversion from '{unit_in}' to '{unit_out}' is not supported"}
        # Multiplied by the inverse rather than divided: the last digit of some results depends on it.
        inverse = 1 / _METERS[unit_out]
        return _attempt(lambda: value * _METERS[unit_in] * inverse, _TOO_LARGE, OverflowError)

    def imperial_si_conversion(self, value: float, unit_in: str, unit_out: str) -> dict[str, Any]:
        """Convert a length, weight or temperature between imperial and SI units."""
        if not isinstance(value, (int, float)):
            return {"error": "Value must be a number"}
        if unit_in == unit_out:
            return {"result": value}
        conversion = f"{unit_in}_to_{unit_out}"
        if conversion not in _FACTORS:
            return {"error": f"Conversion from '{unit_in}' to '{unit_out}' is not supported"}
        return _attempt(lambda: _convert(value, conversion), _TOO_LARGE, OverflowError)

    def add(self, a: float, b: float) -> dict[str, Any]:
        """Add two numbers."""
        return _attempt(lambda: a + b, _NEEDS_NUMBERS)

    def subtract(self, a: float, b: float) -> dict[str, Any]:
        """Subtract the second number from the first."""
        return _attempt(lambda: a - b, _NEEDS_NUMBERS)

    def multiply(self, a: float, b: float) -> dict[str, Any]:
        """Multiply two numbers."""
        if not isinstance(a, (int, float)) or not isinstance(b, (int, float)):
            return {"error": _NEEDS_NUMBERS}
        return {"result": a * b}

    def divide(self, a: float, b: float) -> dict[str, Any]:
        """Divide the first number by the second."""
        if b == 0:
            return {"error": "Cannot divide by zero"}
        return _attempt(lambda: a / b, _NEEDS_NUMBERS)

    def power(self, base: float, exponent: float) -> dict[str, Any]:
        """Raise a number to a power."""
        return _attempt(lambda: _power(base, exponent), _NEEDS_NUMBERS)

    def square_root(self, number: float, precision: int) -> dict[str, Any]:
        """Take the square root of a number, to a number of significant digits."""
        try:
            if number < 0:
                return {"error": "Cannot calculate square root of a negative number"}
            context = decimal.DefaultContext.copy()
            context.prec = precision
            _check_digits(context.prec)
            return {"result": decimal.Decimal(number, context).sqrt(context)}
        except (TypeError, decimal.InvalidOperation):
            return {"error": "Input must be a number or computation resulted in an invalid operation"}

    def absolute_value(self, number: float) -> dict[str, Any]:
        """Take a number without its sign."""
        return _attempt(lambda: abs(number), _NEEDS_NUMBER)

    def round_number(self, number: float, decimal_places: int = 0) -> dict[str, Any]:
        """Round a number to decimal places, halves to even."""
        error = "First input must be a number, second input must be an integer"
        return _attempt(lambda: _round(number, decimal_places), error)

    def percentage(self, part: float, whole: float) -> dict[str, Any]:
        """Express a part as a percentage of the whole."""
        if whole == 0:
            return {"error": "Whole value cannot be zero"}
        return _attempt(lambda: (part / whole) * 100, _NEEDS_NUMBERS)

    def min_value(self, numbers: list[float]) -> dict[str, Any]:
        """Take the smallest number of a list."""
        if not numbers:
            return {"error": "Cannot find minimum of an empty list"}
        return _attempt(lambda: min(numbers), _NEEDS_NUMBER_LIST)

    def max_value(self, numbers: list[float]) -> dict[str, Any]:
        """Take the largest number of a list."""
        if not numbers:
            return {"error": "Cannot find maximum of an empty list"}
        return _attempt(lambda: max(numbers), _NEEDS_NUMBER_LIST)

    def sum_values(self, numbers: list[float]) -> dict[str, Any]:
        """Add up a list of numbers."""
        if not numbers:
            return {"error": "Cannot calculate sum of an empty list"}
        return _attempt(lambda: sum(numbers), _NEEDS_NUMBER_LIST)


def _attempt(compute: Callable[[], Any], error: str, declined: type[Exception] = TypeError) -> dict[str, Any]:
    """The result of a computation, or the error text if it raises what the tool declines; the rest propagates."""
    try:
        return {"result": compute()}
    except declined:
        return {"error": error}


def _check_digits(digits: int) -> None:
    if digits > limits.MATH_DIGITS:
        raise limits.CostError(f"precision is {digits} digits; the most is {limits.MATH_DIGITS}")


def _check_text(number: Any) -> None:
    """Refuse a number in text that mpmath reads slowly: a long one, or one whose exponent is a long number itself."""
    if not isinstance(number, str):
        return
    exponent = number.lower().partition("e")[2]
    if len(number) > limits.MATH_DIGITS or (len(exponent) > limits.EXPONENT_CHARACTERS and _is_number(number)):
        raise limits.CostError("a number written as text is too long")


def _is_number(text: str) -> bool:
    """What mpmath asks Python before it reads a text; if not, it declines in words that the benchmark shows."""
    try:
        float(text.lower().rstrip("l"))
    except ValueError:
        return False
    return True


def _power(base: float, exponent: float) -> float:
    # |base| >= 2 ** (bits - 1), so this is a lower bound of the size of the result.
    if (
        isinstance(base, int)
        and isinstance(exponent, int)
        and (base.bit_length() - 1) * exponent >= limits.PRINTABLE_BITS
    ):
        # The benchmark computes the number and fails to print it. Any number too large to print fails alike.
        str(1 << limits.PRINTABLE_BITS)
        raise limits.CostError("the result has too many digits")
    return base**exponent  # type: ignore[no-any-return]


def _round(number: float, decimal_places: int) -> float:
    # Python computes 10 ** -decimal_places for whole numbers, though everything beyond their length rounds to 0.
    if isinstance(number, int) and isinstance(decimal_places, int):
        decimal_places = max(decimal_places, -limits.ARGUMENTS.bits)
    return round(number, decimal_places)


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def _standard_deviation(numbers: list[float]) -> float:
    mean = _mean(numbers)
    return math.sqrt(sum((number - mean) ** 2 for number in numbers) / len(numbers))


def _convert(value: float, conversion: str) -> float:
    factor = _FACTORS[conversion]
    if conversion == "celsius_to_fahrenheit":
        return (value * factor) + 32
    if conversion == "fahrenheit_to_celsius":
        return (value - 32) * factor
    return value * factor
