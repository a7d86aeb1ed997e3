"""The car: quirks and error paths, with the texts the benchmark's judge compares."""

import json

import pytest

from env_tuning.calls import parse_call
from env_tuning.environments.bfcl.cities import DISTANCES_KM, ZIP_CODES, distance_km
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.environments.bfcl.vehicle import VehicleControlAPI
from env_tuning.environments.environment import Environment

DOORS = ("driver", "passenger", "rear_left", "rear_right")
NOT_IN_DATABASE = '{"error": "distance not found in database."}'
PADDING = LongContext(
    watch_list_extension=[],
    transaction_history_extension=[],
    ma_5_extension=[],
    ma_20_extension=[],
    technology_extension=[],
    automobile_extension=[],
    order_detail_extension={},
    file_content_extension="",
    populate_file_extension=[],
    car_status_metadata_extension="Model: A6",
    long_weather_extension={"-1_day": {"windSpeed": 15.0}},
    parking_brake_instruction="Pull.",
    intermediary_cities=["Madison", "Bristol"],
    credit_card_extension={},
    booking_record_extension={},
    files_tail_used=[],
)


def ready_to_start(**config):
    return {
        "doorStatus": dict.fromkeys(DOORS, "locked"),
        "brakePedalStatus": "pressed",
        "brakePedalForce": 1000.0,
        **config,
    }


def drive(car, *calls):
    """The text of the last call's result."""
    environment = Environment({"VehicleControlAPI": car})
    return [environment.call(parse_call(call)).text for call in calls][-1]


def test_defaults_are_the_benchmarks():
    assert VehicleControlAPI({}).public_state() == {
        "fuelLevel": 0.0,
        "batteryVoltage": 12.6,
        "engine_state": "stopped",
        "remainingUnlockedDoors": 4,
        "doorStatus": dict.fromkeys(DOORS, "unlocked"),
        "acTemperature": 25.0,
        "fanSpeed": 50,
        "acMode": "auto",
        "humidityLevel": 50.0,
        "headLightStatus": "off",
        "parkingBrakeStatus": "released",
        "brakePedalStatus": "released",
        "distanceToNextVehicle": 50.0,
        "cruiseStatus": "inactive",
        "destination": "None",
        "frontLeftTirePressure": 32.0,
        "frontRightTirePressure": 32.0,
        "rearLeftTirePressure": 30.0,
        "rearRightTirePressure": 30.0,
        "long_context": False,
    }


def test_unlocked_doors_are_counted_from_the_doors_not_read_from_the_configuration():
    doors = {"driver": "locked", "passenger": "unlocked", "rear_left": "ajar", "rear_right": "locked"}
    assert VehicleControlAPI({"doorStatus": doors, "remainingUnlockedDoors": 0}).remainingUnlockedDoors == 2


def test_an_engine_with_unlocked_doors_names_them_and_leaves_out_those_ajar():
    car = VehicleControlAPI({"doorStatus": {"driver": "unlocked", "passenger": "ajar", "rear_left": "unlocked"}})
    assert drive(car, "startEngine('START')") == (
        '{"error": "All doors must be locked before starting the engine. '
        'Here are the unlocked doors: driver, rear_left"}'
    )


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"brakePedalStatus": "released"}, "Brake pedal needs to be pressed when starting the engine."),
        ({"brakePedalForce": 999.0}, "Must press the brake fully before starting the engine."),
        ({"fuelLevel": -0.1}, "Fuel tank is empty."),
    ],
)
def test_an_engine_that_may_not_start_says_why(change, error):
    car = VehicleControlAPI(ready_to_start(**change))
    assert drive(car, "startEngine('START')") == json.dumps({"error": error})
    assert car.engine_state == "stopped"


def test_an_engine_starts_on_an_empty_tank():
    car = VehicleControlAPI(ready_to_start())
    assert drive(car, "startEngine('START')") == '{"engineState": "running", "fuelLevel": 0.0, "batteryVoltage": 12.6}'


def test_stop_stops_the_engine_and_is_called_invalid():
    car = VehicleControlAPI(ready_to_start(engineState="running"))
    assert drive(car, "startEngine(ignitionMode='STOP')") == '{"error": "Invalid ignition mode."}'
    assert car.engine_state == "stopped"


def test_a_full_press_in_whole_numbers_starts_the_engine():
    car = VehicleControlAPI({"doorStatus": dict.fromkeys(DOORS, "locked")})
    assert drive(car, "pressBrakePedal(1)") == '{"brakePedalStatus": "pressed", "brakePedalForce": 1000.0}'
    assert drive(car, "displayCarStatus('brakePedal')") == '{"brakePedalStatus": "pressed", "brakePedalForce": 1000}'
    assert drive(car, "startEngine('START')").startswith('{"engineState": "running"')


def test_a_pedal_at_zero_is_released_and_beyond_the_floor_is_an_error():
    car = VehicleControlAPI(ready_to_start())
    assert drive(car, "pressBrakePedal(1.01)") == '{"error": "Pedal position must be between 0 and 1."}'
    assert car.brakePedalStatus == "pressed"
    assert drive(car, "pressBrakePedal(0)") == '{"brakePedalStatus": "released", "brakePedalForce": 0.0}'
    assert car.brakePedalStatus == "released"


@pytest.mark.parametrize(
    ("level", "amount", "result"),
    [
        (10.0, "5", '{"fuelLevel": 15.0}'),
        (10, "5", '{"fuelLevel": 15}'),
        (0.0, "50", '{"fuelLevel": 50.0}'),
        (0.1, "50", '{"error": "Cannot fill gas above the tank capacity."}'),
        (0.0, "-1", '{"error": "Fuel amount cannot be negative."}'),
        (-5.0, "1", '{"error": "Fuel tank is empty. Min fuel level is 0 gallons."}'),
        (0.0, "'5'", "Error during execution: '<' not supported between instances of 'str' and 'int'"),
    ],
)
def test_filling_the_tank_keeps_within_it(level, amount, result):
    assert drive(VehicleControlAPI({"fuelLevel": level}), f"fillFuelTank({amount})") == result


def test_an_unknown_door_raises_after_the_doors_before_it_were_turned():
    car = VehicleControlAPI({})
    assert drive(car, "lockDoors(unlock=False, door=['driver', 'trunk', 'passenger'])") == (
        "Error during execution: 'trunk'"
    )
    assert car.doorStatus == {**dict.fromkeys(DOORS, "unlocked"), "driver": "locked"}
    assert car.remainingUnlockedDoors == 3


def test_a_door_turned_twice_counts_once():
    car = VehicleControlAPI({})
    assert drive(car, "lockDoors(False, ['driver', 'driver'])") == (
        '{"lockStatus": "locked", "remainingUnlockedDoors": 3}'
    )
    assert drive(car, "lockDoors(True, ['driver', 'passenger'])") == (
        '{"lockStatus": "unlocked", "remainingUnlockedDoors": 4}'
    )


def test_climate_answers_in_the_unit_given_and_stores_celsius():
    car = VehicleControlAPI({})
    assert drive(car, "adjustClimateControl(temperature=72, unit='fahrenheit', fanSpeed=75, mode='cool')") == (
        '{"currentACTemperature": 72, "climateMode": "cool", "humidityLevel": 50.0}'
    )
    assert (car.acTemperature, car.fanSpeed, car.acMode) == ((72 - 32) * 5 / 9, 75, "cool")


def test_a_temperature_that_cannot_be_converted_is_stored_all_the_same():
    car = VehicleControlAPI({})
    assert drive(car, "adjustClimateControl('72', 'fahrenheit', 10)") == (
        "Error during execution: unsupported operand type(s) for -: 'str' and 'int'"
    )
    assert (car.acTemperature, car.fanSpeed) == ("72", 50)


def test_a_fan_speed_out_of_range_changes_nothing():
    car = VehicleControlAPI({})
    assert drive(car, "adjustClimateControl(20, fanSpeed=101)") == '{"error": "Fan speed must be between 0 and 100."}'
    assert car.acTemperature == 25.0


def test_cruise_control_keeps_the_distance_of_a_rejected_speed():
    car = VehicleControlAPI({"engineState": "running"})
    assert drive(car, "setCruiseControl(speed=62, activate=True, distanceToNextVehicle=100)") == (
        '{"error": "Invalid speed"}'
    )
    assert (car.distanceToNextVehicle, car.cruiseStatus) == (100.0, "inactive")


def test_cruise_control_casts_to_float_before_it_looks_at_the_engine():
    car = VehicleControlAPI({})
    assert drive(car, "setCruiseControl('fast', True, 'far')") == (
        "Error during execution: could not convert string to float: 'far'"
    )
    assert drive(car, "setCruiseControl(65, True, 100)") == (
        '{"error": "Start the engine before activating the cruise control."}'
    )
    car.engine_state = "running"
    assert drive(car, "setCruiseControl('65', True, 100)") == (
        '{"cruiseStatus": "active", "currentSpeed": 65.0, "distanceToNextVehicle": 100.0}'
    )
    assert drive(car, "setCruiseControl(7, False, 1)") == (
        '{"cruiseStatus": "inactive", "currentSpeed": 7.0, "distanceToNextVehicle": 1.0}'
    )


def test_the_parking_brake_leaves_the_slope_at_ten_degrees():
    car = VehicleControlAPI({})
    assert drive(car, "activateParkingBrake('release')") == (
        '{"parkingBrakeStatus": "released", "_parkingBrakeForce": 0.0, "_slopeAngle": 10.0}'
    )
    drive(car, "activateParkingBrake('engage')")
    assert drive(car, "displayCarStatus('parkingBrake')") == (
        '{"parkingBrakeStatus": "engaged", "parkingBrakeForce": 500.0, "slopeAngle": 10.0}'
    )
    assert drive(car, "activateParkingBrake('off')") == '{"error": "Invalid mode"}'


def test_automatic_headlights_are_off():
    car = VehicleControlAPI({"headLightStatus": "on"})
    assert drive(car, "setHeadlights('auto')") == '{"headlightStatus": "off"}'
    assert drive(car, "setHeadlights(['on'])") == '{"error": "Invalid headlight mode."}'


def test_draws_come_from_one_seeded_generator_in_call_order():
    first = VehicleControlAPI({})
    speed, outside = drive(first, "get_current_speed()"), drive(first, "get_outside_temperature_from_google()")
    assert speed == '{"currentSpeed": 111.92365689097284}'
    assert outside == '{"outsideTemperature": 31.29968928699752}'
    assert drive(VehicleControlAPI({"random_seed": 1}), "get_current_speed()") != speed


def test_the_other_weather_service_is_always_down():
    assert drive(VehicleControlAPI({}), "get_outside_temperature_from_weather_com()") == '{"error": 404}'


def test_the_tables_hold_the_benchmarks_figures():
    assert (len(ZIP_CODES), len(DISTANCES_KM), sum(DISTANCES_KM.values())) == (11, 12, 11233.0)
    assert distance_km("08540", "94704") == 2550.0
    assert ZIP_CODES["Sunset Valley"] == "83462"


@pytest.mark.parametrize("pair", DISTANCES_KM)
def test_distances_hold_in_both_directions(pair):
    assert distance_km(*pair) == distance_km(*reversed(pair)) == DISTANCES_KM[pair]


@pytest.mark.parametrize("city", ZIP_CODES)
def test_every_city_has_its_zip_code(city):
    assert drive(VehicleControlAPI({}), f"get_zipcode_based_on_city({city!r})") == f'{{"zipcode": "{ZIP_CODES[city]}"}}'


@pytest.mark.parametrize("argument", ["'rivermist'", "''", "['Rivermist']", "None", "{}"])
def test_a_city_not_on_the_map_has_zip_code_zero(argument):
    assert drive(VehicleControlAPI({}), f"get_zipcode_based_on_city({argument})") == '{"zipcode": "00000"}'
    assert drive(VehicleControlAPI({}), f"estimate_distance({argument}, '83214')") == NOT_IN_DATABASE


def test_a_destination_that_is_no_text_raises_after_it_was_stored():
    car = VehicleControlAPI({})
    assert drive(car, "set_navigation(5)") == ('Error during execution: can only concatenate str (not "int") to str')
    assert car.destination == 5


def test_feasibility_counts_twenty_miles_a_gallon():
    car = VehicleControlAPI({"fuelLevel": 5})
    assert drive(car, "estimate_drive_feasibility_by_mileage(100)") == '{"canDrive": true}'
    assert drive(car, "estimate_drive_feasibility_by_mileage(100.1)") == '{"canDrive": false}'
    assert drive(car, "estimate_drive_feasibility_by_mileage('100')") == (
        "Error during execution: '<' not supported between instances of 'float' and 'str'"
    )


def test_tyres_are_healthy_on_average():
    car = VehicleControlAPI({"frontLeftTirePressure": 22.0, "frontRightTirePressure": 38.0})
    assert drive(car, "check_tire_pressure()") == (
        '{"frontLeftTirePressure": 22.0, "frontRightTirePressure": 38.0, "rearLeftTirePressure": 30.0, '
        '"rearRightTirePressure": 30.0, "healthy_tire_pressure": true, "car_info": {}}'
    )


def test_an_unknown_option_is_an_error_of_its_own():
    assert drive(VehicleControlAPI({}), "displayCarStatus('wheels')") == '{"error": "Invalid option"}'
    assert drive(VehicleControlAPI({}), "displayCarStatus([])") == '{"error": "Invalid option"}'


def test_argument_errors_carry_the_benchmarks_names():
    assert drive(VehicleControlAPI({}), "startEngine()") == (
        "Error during execution: VehicleControlAPI.startEngine() missing 1 required positional argument: 'ignitionMode'"
    )


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ("displayCarStatus('fuel')", '{"metadata": "Model: A6", "fuelLevel": 0.0}'),
        ("displayCarStatus('x')", '{"metadata": "Model: A6", "error": "Invalid option"}'),
        (
            "activateParkingBrake('engage')",
            '{"parkingBrakeInstruction": "Pull.", "parkingBrakeStatus": "engaged", '
            '"_parkingBrakeForce": 500.0, "_slopeAngle": 10.0}',
        ),
        ("estimate_distance('1', '2')", NOT_IN_DATABASE[:-1] + ', "intermediaryCities": ["Madison", "Bristol"]}'),
        (
            "estimate_distance('74532', '83214')",
            '{"distance": 750.0, "intermediaryCities": ["Madison", "Bristol"]}',
        ),
        (
            "get_outside_temperature_from_google()",
            '{"-1_day": {"windSpeed": 15.0}, "outsideTemperature": 36.63485703790535}',
        ),
    ],
)
def test_long_context_pads_results(call, result):
    car = VehicleControlAPI({}, PADDING)
    assert car.long_context is True
    assert drive(car, call) == result


def test_long_context_gives_the_car_info_as_text():
    assert json.loads(drive(VehicleControlAPI({}, PADDING), "check_tire_pressure()"))["car_info"] == "Model: A6"


def test_two_cars_share_no_state_and_leave_the_padding_alone():
    first, second = VehicleControlAPI({}, PADDING), VehicleControlAPI({}, PADDING)
    untouched = second.snapshot()
    drive(first, "lockDoors(False, ['driver'])", "set_navigation('a')", "get_outside_temperature_from_google()")
    assert second.matches(untouched)
    assert not first.matches(untouched)
    assert PADDING.long_weather_extension == {"-1_day": {"windSpeed": 15.0}}
    assert drive(first, "get_current_speed()") != drive(second, "get_current_speed()")
