"""Hints of MathAPI: numbers as numbers, lists that hold something, units that can be converted."""

from __future__ import annotations

from env_tuning.augmentation.rules import ErrorCategory, HintKind, HintRule

_NUMBERS = (
    "Write plain numbers: no quotes, no units, no currency signs and no separators. A number from an earlier result "
    "has to be copied by its value."
)

RULES = (
    HintRule(
        name="math.logarithm",
        tools=("logarithm",),
        pattern=r'"error"',
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="This needs a positive number, a positive base that is not one, and a whole number of digits as "
        "precision.",
    ),
    HintRule(
        name="math.empty_list",
        tools=("mean", "standard_deviation", "min_value", "max_value", "sum_values"),
        pattern=r"of an empty list",
        category=ErrorCategory.DEPENDENCY_MISSING,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text="The list is empty. Put the numbers themselves into it; if they come from another tool, call that first "
        "and copy them from its result.",
    ),
    HintRule(
        name="math.numbers_in_list",
        tools=("mean", "standard_deviation", "min_value", "max_value", "sum_values"),
        pattern=r"All elements in the list must be numbers",
        category=ErrorCategory.FORMAT_MISMATCH,
        kind=HintKind.CORRECT_FORMAT,
        text="Give one flat list in which every item is a plain number, without quotes, units or lists inside.",
    ),
    HintRule(
        name="math.numbers",
        tools=("add", "subtract", "multiply", "divide", "power", "absolute_value", "percentage"),
        pattern=r"(?:Both inputs|Input) must be (?:a number|numbers)",
        category=ErrorCategory.FORMAT_MISMATCH,
        kind=HintKind.CORRECT_FORMAT,
        text=_NUMBERS,
    ),
    HintRule(
        name="math.value",
        tools=("si_unit_conversion", "imperial_si_conversion"),
        pattern=r"Value must be a number",
        category=ErrorCategory.FORMAT_MISMATCH,
        kind=HintKind.CORRECT_FORMAT,
        text="The value is the plain number alone; its unit goes into the parameter for it.",
    ),
    HintRule(
        name="math.si_units",
        tools=("si_unit_conversion",),
        pattern=r"is not supported",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Only metric lengths are converted here, and both units are written as their usual short symbols in small "
        "letters. For feet, pounds and the like look for another conversion tool.",
    ),
    HintRule(
        name="math.imperial_units",
        tools=("imperial_si_conversion",),
        pattern=r"is not supported",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="One unit has to be imperial and the other its usual metric partner, both as short symbols in small "
        "letters (temperatures and long distances by their full name). Go over a third unit in two calls if need be.",
    ),
    HintRule(
        name="math.too_large",
        tools=("si_unit_conversion", "imperial_si_conversion"),
        pattern=r"too large to represent",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The value is far too large to be converted. Check how many digits it should have.",
    ),
    HintRule(
        name="math.zero",
        tools=("divide", "percentage"),
        pattern=r"Cannot divide by zero|cannot be zero",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Nothing can be divided by zero. Check whether the numbers are swapped, and where the zero comes from.",
    ),
    HintRule(
        name="math.root",
        tools=("square_root",),
        pattern=r"square root of a negative number",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Only numbers from zero up have a root here. Check the sign of what you computed before.",
    ),
    HintRule(
        name="math.root_input",
        tools=("square_root",),
        pattern=r"invalid operation|valid range for prec",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The number must be a plain number, and the precision a whole number of digits, at least one.",
    ),
    HintRule(
        name="math.round",
        tools=("round_number",),
        pattern=r"second input must be an integer",
        category=ErrorCategory.FORMAT_MISMATCH,
        kind=HintKind.CORRECT_FORMAT,
        text="Give the number without quotes, and the decimal places as a whole number or not at all.",
    ),
    HintRule(
        name="math.overflow",
        pattern=r"^Error during execution: (?:Exceeds the limit|\(34|.*(?:too large|too many digits|infinity))",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The result is too large to compute or to write down. Check the sizes of the numbers.",
    ),
    HintRule(
        name="math.zero_power",
        tools=("power",),
        pattern=r"^Error during execution: .*negative power",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Zero has no negative powers. Check the base, and the sign of the exponent.",
    ),
)
