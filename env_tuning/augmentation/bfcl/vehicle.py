"""Hints of VehicleControlAPI: doors, brake and engine in their order, limits of what can be set, places by code."""

from __future__ import annotations

from env_tuning.augmentation.generic import documented
from env_tuning.augmentation.rules import ErrorCategory, HintKind, HintRule

RULES = (
    HintRule(
        name="vehicle.stopped",
        tools=("startEngine",),
        pattern=r'"error"',
        when=lambda failure: failure.arguments.get("ignitionMode") == "STOP",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Stopping has worked, even though the answer is an error about starting. Look at the engine's status.",
    ),
    HintRule(
        name="vehicle.doors",
        tools=("startEngine",),
        pattern=r"All doors must be locked",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="The engine starts only with every door locked. Lock the doors that the error names first; the brake is "
        "checked next.",
    ),
    HintRule(
        name="vehicle.brake",
        tools=("startEngine",),
        pattern=r"Brake pedal needs to be pressed",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="The brake pedal has to be down, all the way, before the engine starts. The parking brake is another one.",
    ),
    HintRule(
        name="vehicle.brake_fully",
        tools=("startEngine",),
        pattern=r"press the brake fully",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The brake pedal is only partly down. Press it again, as far as its range allows.",
    ),
    HintRule(
        name="vehicle.no_fuel",
        tools=("startEngine",),
        pattern=r"Fuel tank is empty",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="There is no fuel. Fill some in first.",
    ),
    HintRule(
        name="vehicle.ignition",
        tools=("startEngine",),
        pattern=r"Invalid ignition mode",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text=documented("ignitionMode"),
    ),
    HintRule(
        name="vehicle.tank",
        tools=("fillFuelTank",),
        pattern=r"above the tank capacity",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text="The amount is what is put in on top of what is there, in gallons, and both together must not be more "
        "than the tank holds. Look at the fuel level first and work out the difference.",
    ),
    HintRule(
        name="vehicle.fuel_amount",
        tools=("fillFuelTank",),
        pattern=r"cannot be negative|Min fuel level",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Fuel can only be put in: the amount is in gallons and not below zero.",
    ),
    HintRule(
        name="vehicle.door_name",
        tools=("lockDoors",),
        pattern=r"^Error during execution: '",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text=documented("door", "It is a list; the doors before the wrong one may have moved already."),
    ),
    HintRule(
        name="vehicle.fan",
        tools=("adjustClimateControl",),
        pattern=r"Fan speed must be",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The fan speed is a whole number within the range that the error gives. Leave it out if the user did not "
        "ask for one.",
    ),
    HintRule(
        name="vehicle.weather",
        tools=("get_outside_temperature_from_weather_com",),
        pattern=r'"error": 404',
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="This service does not answer, and calling it again does not help. Another source tells the same: look "
        "for one in your list.",
    ),
    HintRule(
        name="vehicle.headlights",
        tools=("setHeadlights",),
        pattern=r"Invalid headlight mode",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text=documented("mode"),
    ),
    HintRule(
        name="vehicle.status",
        tools=("displayCarStatus",),
        pattern=r"Invalid option",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text=documented("option", "One part of the car per call."),
    ),
    HintRule(
        name="vehicle.parking_brake",
        tools=("activateParkingBrake",),
        pattern=r"Invalid mode",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text=documented("mode"),
    ),
    HintRule(
        name="vehicle.pedal",
        tools=("pressBrakePedal",),
        pattern=r"Pedal position must be",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The position is a share of the whole way: half way down is the middle of the range that the error gives.",
    ),
    HintRule(
        name="vehicle.cruise_engine",
        tools=("setCruiseControl",),
        pattern=r"Start the engine before",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="The engine has to run first, and it has conditions of its own: locked doors and a brake that is fully "
        "pressed.",
    ),
    HintRule(
        name="vehicle.cruise_speed",
        tools=("setCruiseControl",),
        pattern=r"Invalid speed",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The speed has to lie in the range and on the steps that the description gives. If the user's number "
        "does not, say so instead of changing it.",
    ),
    HintRule(
        name="vehicle.cruise_number",
        tools=("setCruiseControl",),
        pattern=r"^Error during execution: (?:could not convert|float\(\) argument)",
        category=ErrorCategory.FORMAT_MISMATCH,
        kind=HintKind.CORRECT_FORMAT,
        text="Speed and distance are plain numbers, without quotes and units.",
    ),
    HintRule(
        name="vehicle.distance",
        tools=("estimate_distance",),
        pattern=r"distance not found",
        category=ErrorCategory.DEPENDENCY_MISSING,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text="Both places are given by their zip codes, as texts, not by their names. `get_zipcode_based_on_city` "
        "tells the code of a city; between some pairs no distance is known.",
        names=("get_zipcode_based_on_city",),
        plain="Both places are given by their zip codes, as texts, not by their names. Look the codes up first with a "
        "tool that tells them; between some pairs no distance is known.",
    ),
    HintRule(
        name="vehicle.mileage",
        tools=("estimate_drive_feasibility_by_mileage",),
        pattern=r"^Error during execution: '<' not supported",
        category=ErrorCategory.DEPENDENCY_MISSING,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text="The distance is a plain number of miles. If it comes from another tool, call that first and wait for its "
        "result; nothing is filled in for a name or a placeholder.",
    ),
    HintRule(
        name="vehicle.destination",
        tools=("set_navigation",),
        pattern=r"^Error during execution: (?:can only concatenate|must be str|.*concatenate)",
        category=ErrorCategory.FORMAT_MISMATCH,
        kind=HintKind.CORRECT_FORMAT,
        text="The destination is one text: street, city and state, separated by commas.",
    ),
    HintRule(
        name="vehicle.conversion",
        tools=("liter_to_gallon", "gallon_to_liter"),
        pattern=r"^Error during execution: .*(?:multiply sequence|unsupported operand)",
        category=ErrorCategory.FORMAT_MISMATCH,
        kind=HintKind.CORRECT_FORMAT,
        text="The amount is a plain number, without quotes and without its unit.",
    ),
    HintRule(
        name="vehicle.zip_code",
        tools=("get_zipcode_based_on_city",),
        pattern=r'^\{"zipcode": "00000"\}$',
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="This code means that the city is unknown. Give its name alone, with capitals and without the state.",
        quiet=True,
    ),
)
