"""Which scenarios of the benchmark belong to which split.

Owns: the scenario numbers of the paper's splits and the choice of the 75 warm-up scenarios. Refuses: reading data.

The benchmark has 200 scenarios, each told in four categories. The splits go by scenario number, the same in
every category, so no scenario is trained on in one telling and tested in another.
"""

from __future__ import annotations

import enum

SCENARIOS = range(200)

TRAIN: tuple[int, ...] = (
    *(0, 2, 3, 5, 10, 12, 13, 14, 15, 16, 18, 19, 27, 30, 32, 33, 36, 37, 38, 42, 43, 44, 45, 46, 47),
    *(51, 52, 54, 60, 61, 63, 64, 65, 66, 69, 72, 73, 76, 78, 79, 80, 83, 84, 85, 95),
    *(100, 101, 102, 103, 104, 105, 106, 109, 110, 111, 112, 113, 115, 118, 121, 122, 123, 125, 126, 128),
    *(130, 133, 135, 136, 140, 142, 144, 145, 146, 148),
    *(153, 155, 156, 158, 159, 160, 161, 162, 165, 167, 170, 171, 172, 175, 176, 177, 179, 184, 186, 187),
    *(192, 193, 194, 195, 196),
)

VALIDATION: tuple[int, ...] = (
    *(4, 9, 21, 29, 34, 48, 77, 81, 82, 98, 99, 120, 124),
    *(127, 131, 132, 134, 138, 149, 164, 169, 174, 178, 183, 198),
)

TEST: tuple[int, ...] = tuple(sorted(set(SCENARIOS) - set(TRAIN) - set(VALIDATION)))

# The authors never released this list of 75. The scenarios are sorted by domain (files, vehicles, trading, travel),
# so the first 75 would hold no travel task at all; leaving out every fourth keeps the mixture of the 100.
TRAIN_FORMAT: tuple[int, ...] = tuple(number for place, number in enumerate(TRAIN) if place % 4 != 3)


class Category(enum.Enum):
    """The four tellings of a scenario, in the order of our files."""

    BASE = "multi_turn_base"
    """Everything needed is said and available."""
    MISS_FUNC = "multi_turn_miss_func"
    """A tool is held back and released one turn later."""
    MISS_PARAM = "multi_turn_miss_param"
    """A value is missing from a request and given one turn later."""
    LONG_CONTEXT = "multi_turn_long_context"
    """The base telling in a world padded with a lot of irrelevant data."""

    def task_id(self, scenario: int) -> str:
        """The benchmark's id of a scenario in this category."""
        return f"{self.value}_{scenario}"
