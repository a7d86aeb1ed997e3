"""Zip codes and road distances of the vehicle class's world: lookup tables, nothing else.

Figures of bfcl_eval 2026.3.23. Both lookups take whatever a model wrote: a list or a dictionary where a name
belongs is simply not found.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

UNKNOWN_ZIP_CODE = "00000"

ZIP_CODES = MappingProxyType(
    {
        "Rivermist": "83214",
        "Stonebrook": "74532",
        "Maplecrest": "56108",
        "Silverpine": "62947",
        "Shadowridge": "71354",
        "Sunset Valley": "83462",
        "Oakendale": "47329",
        "Willowbend": "52013",
        "Crescent Hollow": "69238",
        "Autumnville": "51479",
        "San Francisco": "94016",
    }
)

# Two codes (94704 and 08540) belong to no city above; the benchmark's tasks name them directly.
DISTANCES_KM = MappingProxyType(
    {
        ("83214", "74532"): 750.0,
        ("56108", "62947"): 320.0,
        ("71354", "83462"): 450.0,
        ("47329", "52013"): 290.0,
        ("69238", "51479"): 630.0,
        ("94016", "83214"): 980.0,
        ("94016", "94704"): 600.0,
        ("94704", "08540"): 2550.0,
        ("94016", "08540"): 1950.0,
        ("62947", "47329"): 1053.0,
        ("94016", "62947"): 780.0,
        ("74532", "94016"): 880.0,
    }
)


def zip_code(city: Any) -> str:
    """The zip code of a city, spelled exactly; `UNKNOWN_ZIP_CODE` for every other value."""
    return ZIP_CODES.get(city, UNKNOWN_ZIP_CODE) if isinstance(city, str) else UNKNOWN_ZIP_CODE


def distance_km(zip_a: Any, zip_b: Any) -> float | None:
    """The distance between two zip codes, in either direction; None when the pair is not in the table."""
    there_and_back = ((zip_a, zip_b), (zip_b, zip_a))
    return next((distance for pair, distance in DISTANCES_KM.items() if pair in there_and_back), None)
