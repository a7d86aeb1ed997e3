"""A car: engine, doors, climate, lights, brakes, cruise control, tyres, and a little route planning.

At parity with VehicleControlAPI of bfcl_eval 2026.3.23. Quirks kept on purpose: ``startEngine('STOP')`` stops the
engine and then, at best, reports an invalid mode; an empty tank starts; `lockDoors` raises at an unknown door
after it turned the ones before it; `adjustClimateControl` answers with the temperature as given, not in
Celsius; `setCruiseControl` keeps the distance of a rejected speed; releasing the parking brake leaves the slope
at 10 degrees; tools that reject a value by raising may have stored it already. The current speed and the outside
temperature are drawn from one seeded generator per instance. Camel case is the benchmark's.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from env_tuning.environments.bfcl.cities import distance_km, zip_code
from env_tuning.environments.tool_class import ToolClass

if TYPE_CHECKING:
    from env_tuning.environments.bfcl.long_context import LongContext

_SEED = 141053
_DOORS = ("driver", "passenger", "rear_left", "rear_right")
# Whether a figure is an int or a float shows in error texts; these are typed as in the benchmark.
_TANK_GALLONS = 50
_EMPTY_GALLONS = 0.0
_MILES_PER_GALLON = 20.0
_FULL_BRAKE_NEWTONS = 1000
_TIRE_SHOP = "456 Oakwood Avenue, Rivermist, 83214"


class VehicleControlAPI(ToolClass):
    """One car and what its driver can set, ask and look up."""

    def __init__(self, config: dict[str, Any], long_context: LongContext | None = None) -> None:
        """Load the car; every setting is optional, and the count of unlocked doors follows from the doors."""
        get = config.get
        self.fuelLevel: float = get("fuelLevel", 0.0)
        self.batteryVoltage: float = get("batteryVoltage", 12.6)
        self.engine_state: str = get("engineState", "stopped")
        self.doorStatus: dict[str, str] = (
            config["doorStatus"] if "doorStatus" in config else dict.fromkeys(_DOORS, "unlocked")
        )
        self.remainingUnlockedDoors: int = len(_DOORS) - list(self.doorStatus.values()).count("locked")
        self.acTemperature: float = get("acTemperature", 25.0)
        self.fanSpeed: int = get("fanSpeed", 50)
        self.acMode: str = get("acMode", "auto")
        self.humidityLevel: float = get("humidityLevel", 50.0)
        self.headLightStatus: str = get("headLightStatus", "off")
        self.parkingBrakeStatus: str = get("parkingBrakeStatus", "released")
        self.brakePedalStatus: str = get("brakePedalStatus", "released")
        self.distanceToNextVehicle: float = get("distanceToNextVehicle", 50.0)
        self.cruiseStatus: str = get("cruiseStatus", "inactive")
        self.destination: str = get("destination", "None")
        self.frontLeftTirePressure: float = get("frontLeftTirePressure", 32.0)
        self.frontRightTirePressure: float = get("frontRightTirePressure", 32.0)
        self.rearLeftTirePressure: float = get("rearLeftTirePressure", 30.0)
        self.rearRightTirePressure: float = get("rearRightTirePressure", 30.0)
        self.long_context = long_context is not None

        self._parkingBrakeForce: float = get("parkingBrakeForce", 0.0)
        self._slopeAngle: float = get("slopeAngle", 0.0)
        self._brakePedalForce: float = get("brakePedalForce", 0.0)
        self._padding = long_context
        self._seed: int = get("random_seed", _SEED)
        self._generator: random.Random | None = None

    def startEngine(self, ignitionMode: str) -> dict[str, Any]:
        """Start the engine with mode START: all doors locked, brake fully pressed."""
        if ignitionMode == "STOP":
            self.engine_state = "stopped"
        if self.remainingUnlockedDoors > 0:
            unlocked = ", ".join([door for door, status in self.doorStatus.items() if status == "unlocked"])
            return {
                "error": f"All doors must be locked before starting the engine. Here are the unlocked doors: {unlocked}"
            }
        if self.brakePedalStatus != "pressed":
            return {"error": "Brake pedal needs to be pressed when starting the engine."}
        if self._brakePedalForce != _FULL_BRAKE_NEWTONS:
            return {"error": "Must press the brake fully before starting the engine."}
        if self.fuelLevel < _EMPTY_GALLONS:
            return {"error": "Fuel tank is empty."}
        if ignitionMode != "START":
            return {"error": "Invalid ignition mode."}
        self.engine_state = "running"
        return {
            "engineState": self.engine_state,
            "fuelLevel": self.fuelLevel,
            "batteryVoltage": self.batteryVoltage,
        }

    def fillFuelTank(self, fuelAmount: float) -> dict[str, Any]:
        """Add gallons to a tank that holds 50."""
        if fuelAmount < 0:
            return {"error": "Fuel amount cannot be negative."}
        level = self.fuelLevel + fuelAmount
        if level > _TANK_GALLONS:
            return {"error": "Cannot fill gas above the tank capacity."}
        if level < _EMPTY_GALLONS:
            return {"error": "Fuel tank is empty. Min fuel level is 0 gallons."}
        self.fuelLevel = level
        return {"fuelLevel": level}

    def lockDoors(self, unlock: bool, door: list[str]) -> dict[str, Any]:
        """Lock the named doors, or unlock them."""
        target, change = ("unlocked", 1) if unlock else ("locked", -1)
        for name in door:
            if self.doorStatus[name] != target:
                self.doorStatus[name] = target
                self.remainingUnlockedDoors += change
        return {"lockStatus": target, "remainingUnlockedDoors": self.remainingUnlockedDoors}

    def adjustClimateControl(
        self, temperature: float, unit: str = "celsius", fanSpeed: int = 50, mode: str = "auto"
    ) -> dict[str, Any]:
        """Set temperature (celsius or fahrenheit), fan speed (0 to 100) and mode."""
        if not (0 <= fanSpeed <= 100):
            return {"error": "Fan speed must be between 0 and 100."}
        # Stored before the conversion, which raises for what is no number.
        self.acTemperature = temperature
        if unit == "fahrenheit":
            self.acTemperature = (temperature - 32) * 5 / 9
        self.fanSpeed = fanSpeed
        self.acMode = mode
        return {"currentACTemperature": temperature, "climateMode": mode, "humidityLevel": self.humidityLevel}

    def get_outside_temperature_from_google(self) -> dict[str, Any]:
        """Tell the temperature outside, a new draw each time."""
        temperature = {"outsideTemperature": self._uniform(-10.0, 40.0)}
        return {**self._padding.long_weather_extension, **temperature} if self._padding else temperature

    def get_outside_temperature_from_weather_com(self) -> dict[str, Any]:
        """Fail: this service is always down."""
        return {"error": 404}

    def setHeadlights(self, mode: str) -> dict[str, Any]:
        """Set the headlights to on, off or auto; auto is off."""
        if mode not in ("on", "off", "auto"):
            return {"error": "Invalid headlight mode."}
        self.headLightStatus = "on" if mode == "on" else "off"
        return {"headlightStatus": self.headLightStatus}

    def displayCarStatus(self, option: str) -> dict[str, Any]:
        """Show one part of the car: fuel, battery, doors, climate, headlights, parkingBrake, brakePedal, engine."""
        status = self._status_of(option)
        return {"metadata": self._padding.car_status_metadata_extension, **status} if self._padding else status

    def activateParkingBrake(self, mode: str) -> dict[str, Any]:
        """Engage or release the parking brake."""
        if mode not in ("engage", "release"):
            return {"error": "Invalid mode"}
        self.parkingBrakeStatus, self._parkingBrakeForce = ("engaged", 500.0) if mode == "engage" else ("released", 0.0)
        self._slopeAngle = 10.0
        brake = {
            "parkingBrakeStatus": self.parkingBrakeStatus,
            "_parkingBrakeForce": self._parkingBrakeForce,
            "_slopeAngle": self._slopeAngle,
        }
        return {"parkingBrakeInstruction": self._padding.parking_brake_instruction, **brake} if self._padding else brake

    def pressBrakePedal(self, pedalPosition: float) -> dict[str, Any]:
        """Press the brake pedal, from 0 (released) to 1 (down), and hold it."""
        if not (0 <= pedalPosition <= 1):
            return {"error": "Pedal position must be between 0 and 1."}
        if pedalPosition == 0:
            return self.releaseBrakePedal()
        force = pedalPosition * _FULL_BRAKE_NEWTONS
        self.brakePedalStatus = "pressed"
        self._brakePedalForce = force
        return {"brakePedalStatus": "pressed", "brakePedalForce": float(force)}

    def releaseBrakePedal(self) -> dict[str, Any]:
        """Let go of the brake pedal."""
        self.brakePedalStatus = "released"
        self._brakePedalForce = 0.0
        return {"brakePedalStatus": "released", "brakePedalForce": 0.0}

    def setCruiseControl(self, speed: float, activate: bool, distanceToNextVehicle: float) -> dict[str, Any]:
        """Switch cruise control on or off; a speed to hold is 0 to 120 in steps of 5."""
        # In this order: when both are no numbers, the distance is the one complained about.
        distance = float(distanceToNextVehicle)
        speed = float(speed)
        if self.engine_state == "stopped":
            return {"error": "Start the engine before activating the cruise control."}
        self.distanceToNextVehicle = distance
        if activate and (speed < 0 or speed > 120 or speed % 5 != 0):
            return {"error": "Invalid speed"}
        self.cruiseStatus = "active" if activate else "inactive"
        return {"cruiseStatus": self.cruiseStatus, "currentSpeed": speed, "distanceToNextVehicle": distance}

    def get_current_speed(self) -> dict[str, Any]:
        """Tell the current speed, a new draw each time."""
        return {"currentSpeed": self._uniform(0.0, 120.0)}

    def display_log(self, messages: list[str]) -> dict[str, Any]:
        """Show the given messages."""
        return {"log": messages}

    def estimate_drive_feasibility_by_mileage(self, distance: float) -> dict[str, Any]:
        """Tell whether the fuel lasts for a distance in miles."""
        # "not shorter", rather than "long enough": the two differ for NaN and in the text of a TypeError.
        return {"canDrive": not self.fuelLevel * _MILES_PER_GALLON < distance}

    def liter_to_gallon(self, liter: float) -> dict[str, Any]:
        """Convert litres to gallons."""
        return {"gallon": liter * 0.264172}

    def gallon_to_liter(self, gallon: float) -> dict[str, Any]:
        """Convert gallons to litres."""
        return {"liter": gallon * 3.78541}

    def estimate_distance(self, cityA: str, cityB: str) -> dict[str, Any]:
        """Tell the distance between two zip codes."""
        distance = distance_km(cityA, cityB)
        answer: dict[str, Any] = (
            {"error": "distance not found in database."} if distance is None else {"distance": distance}
        )
        return {**answer, "intermediaryCities": self._padding.intermediary_cities} if self._padding else answer

    def get_zipcode_based_on_city(self, city: str) -> dict[str, Any]:
        """Tell a city's zip code; 00000 for a city not on the map."""
        return {"zipcode": zip_code(city)}

    def set_navigation(self, destination: str) -> dict[str, Any]:
        """Navigate to a place, written as street, city, state."""
        self.destination = destination
        # Concatenated, so that a destination that is no text raises, after it was stored.
        return {"status": "Navigating to " + destination}

    def check_tire_pressure(self) -> dict[str, Any]:
        """Show the four tyres' pressures; 30 to 35 on average is healthy."""
        pressures = {
            "frontLeftTirePressure": self.frontLeftTirePressure,
            "frontRightTirePressure": self.frontRightTirePressure,
            "rearLeftTirePressure": self.rearLeftTirePressure,
            "rearRightTirePressure": self.rearRightTirePressure,
        }
        # Added left to right, not with sum(): its rounding depends on the Python version.
        front = self.frontLeftTirePressure + self.frontRightTirePressure
        average = (front + self.rearLeftTirePressure + self.rearRightTirePressure) / 4
        return {
            **pressures,
            "healthy_tire_pressure": 30 <= average <= 35,
            "car_info": self._padding.car_status_metadata_extension if self._padding else {},
        }

    def find_nearest_tire_shop(self) -> dict[str, Any]:
        """Tell where the nearest tyre shop is."""
        return {"shopLocation": _TIRE_SHOP}

    def _status_of(self, option: str) -> dict[str, Any]:
        match option:
            case "fuel":
                return {"fuelLevel": self.fuelLevel}
            case "battery":
                return {"batteryVoltage": self.batteryVoltage}
            case "doors":
                return {"doorStatus": self.doorStatus}
            case "climate":
                return {
                    "currentACTemperature": self.acTemperature,
                    "fanSpeed": self.fanSpeed,
                    "climateMode": self.acMode,
                    "humidityLevel": self.humidityLevel,
                }
            case "headlights":
                return {"headlightStatus": self.headLightStatus}
            case "parkingBrake":
                return {
                    "parkingBrakeStatus": self.parkingBrakeStatus,
                    "parkingBrakeForce": self._parkingBrakeForce,
                    "slopeAngle": self._slopeAngle,
                }
            case "brakePedal":
                return {"brakePedalStatus": self.brakePedalStatus, "brakePedalForce": self._brakePedalForce}
            case "engine":
                return {"engineState": self.engine_state}
            case _:
                return {"error": "Invalid option"}

    def _uniform(self, low: float, high: float) -> float:
        # Seeding costs more than loading the rest of the car, and most episodes never draw.
        if self._generator is None:
            self._generator = random.Random(self._seed)
        return self._generator.uniform(low, high)
