"""Arithmetic as people and models write it, evaluated over Python's syntax tree.

Owns: the operators, functions and constants that there are, and the bounds on what an expression may cost. Refuses:
names, attributes, subscripts, calls of anything else: they are errors, never looked up.
"""

from __future__ import annotations

import ast
import math
import operator
import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType

MOST_CHARACTERS = 1_000
MOST_BITS = 10_000
"""Of a whole number that is computed, about 3,000 digits."""
_MOST_FACTORIAL = 1_000
_SIGNS = str.maketrans({"×": "*", "÷": "/", "−": "-", "^": "**", "，": ",", "√": " sqrt"})

Number = int | float

_BINARY: Mapping[type[ast.operator], Callable[[Number, Number], Number]] = MappingProxyType(
    {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
        ast.FloorDiv: operator.floordiv,
        ast.Mod: operator.mod,
    }
)
_UNARY: Mapping[type[ast.unaryop], Callable[[Number], Number]] = MappingProxyType(
    {ast.UAdd: operator.pos, ast.USub: operator.neg}
)
_CONSTANTS: Mapping[str, float] = MappingProxyType({"pi": math.pi, "π": math.pi, "e": math.e})


class ArithmeticFault(ValueError):
    """An expression that is none, or that costs too much."""


def evaluate(expression: str) -> Number:
    """The value of an expression.

    Full-width digits and signs, ``×``, ``÷`` and ``^`` (power) are read, too.

    Raises:
        ArithmeticFault: it is no arithmetic, has no value (a division by zero), or is too large.
    """
    if len(expression) > MOST_CHARACTERS:
        raise ArithmeticFault(f"the expression has more than {MOST_CHARACTERS} characters")
    text = unicodedata.normalize("NFKC", expression).translate(_SIGNS).rstrip("=?\t\n ").strip()
    try:
        return _bounded(_value(ast.parse(text, mode="eval").body))
    except SyntaxError:
        raise ArithmeticFault(f"{expression[:80]!r} is no arithmetic expression") from None
    except ZeroDivisionError:
        raise ArithmeticFault("division by zero") from None
    except (RecursionError, MemoryError):
        raise ArithmeticFault("the expression is nested too deeply") from None
    except (ArithmeticError, TypeError) as error:
        raise ArithmeticFault(str(error)) from None


def shown(value: Number) -> str:
    """A value as text: whole if it is, else with up to twelve digits."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value) if isinstance(value, int) else f"{value:.12g}"


def _value(node: ast.expr) -> Number:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return _bounded(node.value)
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _UNARY[type(node.op)](_value(node.operand))
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow):
            return _power(left, right)
        if type(node.op) in _BINARY:
            return _bounded(_BINARY[type(node.op)](left, right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        function = _FUNCTIONS.get(node.func.id)
        if function is None:
            raise ArithmeticFault(f"there is no function {node.func.id}; known: {', '.join(sorted(_FUNCTIONS))}")
        try:
            return _bounded(function(*map(_value, node.args)))
        except ArithmeticFault:
            raise
        except ValueError as error:
            raise ArithmeticFault(f"{node.func.id}: {error}") from None
    raise ArithmeticFault(f"{type(node).__name__} is not allowed in an arithmetic expression")


def _power(base: Number, exponent: Number) -> Number:
    # What a small expression can make enormous is refused before it is computed.
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > MOST_BITS:
        raise ArithmeticFault(f"{base} to the power of {exponent} is too large")
    value = base**exponent
    if isinstance(value, complex):
        raise ArithmeticFault("the result is no real number")
    return _bounded(value)


def _factorial(value: Number) -> int:
    if not isinstance(value, int) or not 0 <= value <= _MOST_FACTORIAL:
        raise ValueError(f"give a whole number from 0 to {_MOST_FACTORIAL}")
    return math.factorial(value)


def _round(value: Number, digits: Number = 0) -> Number:
    return round(value, int(digits)) if digits else round(value)


def _bounded(value: Number) -> Number:
    if isinstance(value, int):
        if value.bit_length() > MOST_BITS:
            raise ArithmeticFault(f"a number of more than {MOST_BITS} bits")
    elif not math.isfinite(value):
        raise ArithmeticFault("the result is not a finite number")
    return value


_FUNCTIONS: Mapping[str, Callable[..., Number]] = MappingProxyType(
    {
        "abs": abs,
        "round": _round,
        "min": min,
        "max": max,
        "sqrt": math.sqrt,
        "exp": math.exp,
        "log": math.log,
        "log2": math.log2,
        "log10": math.log10,
        "sin": math.sin,
        "cos": math.cos,
        "tan": math.tan,
        "floor": math.floor,
        "ceil": math.ceil,
        "factorial": _factorial,
        "gcd": math.gcd,
    }
)
