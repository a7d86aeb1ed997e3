"""Nothing that a model writes hangs a worker, fills its memory, is evaluated, or reaches another episode.

The expensive calls run in one process of their own under a limit of memory and CPU time, so that a lost limit fails
one test instead of stopping the machine. No test measures time.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from env_tuning.calls import ToolCall, parse_call
from env_tuning.environments import limits
from env_tuning.environments.bfcl.file_system import GorillaFileSystem
from env_tuning.environments.environment import CallStatus, Environment
from env_tuning.environments.registry import TOOL_CLASSES, make_environment, tool_class
from env_tuning.environments.schemas import tool_docs_of
from env_tuning.environments.tool_class import ToolClass
from env_tuning.interaction.multi_turn import MultiTurnToolInteraction
from env_tuning.protocols import ThinkAnswer, UseTools, protocol
from env_tuning.protocols.base import PromptVersion

TOOLS = (("logarithm", (3, 7)), ("square_root", (2,)))

ATTACKS = [
    "__import__('os').system('touch pwned')",
    "__import__('subprocess').run(['touch', 'pwned'])",
    "importlib.import_module('subprocess').run",
    "'a'+str(__import__('os').system('touch pwned'))",
    "__import__('os').system('touch pwned') or dict",
    "file_name=str(__import__('os').system('touch pwned')) #",
    "setattr(__import__('env_tuning.judge'),'judge_turn',lambda *a: True)",
    "sys._getframe(2).f_locals['multi_turn_ground_truth_list']",
    "inspect.os.getpid",
    "inspect.os.getpid()",
    "importlib.sys.exit",
    "importlib.sys.exit()",
    "exec",
    "eval",
    "exit",
    "os.kill",
    "__class__",
    "__init__",
    "__init_subclass__",
    "tools",
    "snapshot",
    "matches",
    "public_state",
    "describe",
    "_current_dir",
    "please run ls() now",
    "{0.__class__.__mro__}",
    "${jndi:ldap://x}",
    "a\x00b",
    "\ud800",
]


def everything() -> Environment:
    return make_environment(list(TOOL_CLASSES), '{"GorillaFileSystem": {"root": {"ws": {"contents": {}}}}}')


def spoken(name: str, arguments: object) -> str:
    return f"<think>t</think><tool_call>{json.dumps([{'name': name, 'arguments': arguments}])}</tool_call>"


def heard(text: str) -> ToolCall:
    action = ThinkAnswer().parse(text)
    assert isinstance(action, UseTools)
    (call,) = action.calls
    return call


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert list(tmp_path.iterdir()) == [], "an attack ran"


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_as_a_tool_name_is_an_unknown_tool(attack, empty_folder):
    result = everything().call(heard(spoken(attack, {})))
    assert result.text == f"Error during execution: name '{attack.strip()}' is not defined"


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_as_an_argument_name_is_an_unexpected_argument(attack, empty_folder):
    result = everything().call(heard(spoken("cat", {attack: "x"})))
    assert result.status is CallStatus.EXCEPTION
    assert "unexpected keyword argument" in result.text


@pytest.mark.parametrize("name", ["self", "instance", "function", "call"])
def test_an_argument_named_like_a_parameter_of_the_dispatch_is_an_error(name):
    assert everything().call(heard(spoken("ls", {name: 1}))).status is CallStatus.EXCEPTION


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_as_an_argument_reaches_the_tool_as_text(attack, empty_folder):
    result = everything().call(heard(spoken("echo", {"content": attack})))
    assert json.loads(result.text) == {"terminal_output": attack}


COSTLY = [
    "power(9, 30000000)",
    "power(-9, 30000000)",
    "logarithm(3, 7, 1000000)",
    "logarithm('1e" + "9" * 4000 + "', 7, 5)",
    "square_root(2, 3000000)",
    "mean([" + "1, " * 30_000 + "])",
    "add(0x" + "f" * 90_000 + ", 1)",
    "display_log([" + "[" * 60 + "]" * 60 + "])",
]


@pytest.mark.parametrize("text", COSTLY, ids=lambda text: text[:30])
def test_a_costly_call_is_answered_with_an_error(text):
    result = everything().call(parse_call(text))
    assert result.status is CallStatus.EXCEPTION
    assert len(result.text) < 200


def test_rounding_to_a_hundred_million_places_is_the_answer_at_once():
    assert everything().call(parse_call("round_number(5, -100000000)")).text == '{"result": 0}'


@pytest.mark.parametrize(
    "arguments",
    [
        {"content": "x" * 200_000},
        {"x" * 200_000: 1},
        {f"a{number}": 1 for number in range(200_000)},
        {"content": list(range(1_000_000))},
        {"content": dict.fromkeys(map(str, range(1_000_000)))},
        {"content": [["x"] * 100] * 1_000},
        {"content": 1 << 20_000},
        {"content": [10**4000] * 1_000},
    ],
    ids=["text", "name", "names", "list", "object", "shared", "number", "numbers"],
)
def test_large_arguments_are_refused_before_the_tool_runs(arguments):
    result = everything().call(ToolCall(name="echo", arguments=arguments))
    assert result.status is CallStatus.EXCEPTION
    assert result.text.startswith("Error during execution: the arguments contain")


def test_a_long_tool_name_is_not_repeated():
    assert len(everything().call(ToolCall(name="x" * 1_000_000)).text) < 200


def test_a_value_that_holds_itself_is_refused():
    value: list = []
    value.append(value)
    shared: list = [0]
    for _ in range(60):
        shared = [shared, shared]
    for hostile in (value, shared):
        assert everything().call(ToolCall(name="echo", arguments={"content": hostile})).status is CallStatus.EXCEPTION


@pytest.mark.parametrize("depth", [500, 5_000, 500_000])
def test_deep_json_is_a_format_error_or_an_error_of_the_call(depth):
    body = '[{"name": "echo", "arguments": {"content": ' + "[" * depth + "]" * depth + "}}]"
    action = ThinkAnswer().parse(f"<think>t</think><tool_call>{body}</tool_call>")
    if isinstance(action, UseTools):
        assert everything().call(action.calls[0]).status is CallStatus.EXCEPTION


@pytest.mark.parametrize("kind", ["list", "text", "cycle", "number", "unprintable"])
def test_what_a_tool_returns_or_raises_is_bounded(kind):
    class Loud(ToolClass):
        def shout(self) -> object:
            cycle: dict = {}
            cycle["again"] = cycle
            if kind == "unprintable":
                raise ValueError(1 << 100_000)
            return {"list": [0] * 10**6, "text": "x" * 10**6, "cycle": cycle, "number": {"n": 1 << 100_000}}[kind]

    result = Environment({"Loud": Loud({})}).call(ToolCall(name="shout"))
    # A cycle is printed as the benchmark prints it, with dots; the others are refused.
    assert (result.status is CallStatus.OK) == (kind == "cycle")
    assert len(result.text) < 200


def test_running_out_of_stack_or_memory_in_a_tool_is_an_error_text():
    class Deep(ToolClass):
        def descend(self) -> object:
            return self.descend()

        def swallow(self) -> object:
            raise MemoryError

    environment = Environment({"Deep": Deep({})})
    assert "recursion" in environment.call(ToolCall(name="descend")).text
    assert environment.call(ToolCall(name="swallow")).status is CallStatus.EXCEPTION


HOSTILE_TREES = {
    "doubling": ["mkdir('d')"] + [call for n in range(200) for call in (f"cp('d', 'e{n}')", f"mv('e{n}', 'd')")],
    "copies": ["mkdir('d')"] + [call for n in range(2_000) for call in (f"cp('d', 'e{n}')", f"mv('e{n}', 'd')")],
    "cycle": ["mkdir('d')", "cp('d', 'd')", "cp('d', 'd2')", "mv('d2', 'd')", "cp('d', 'd3')"],
    "chain": ["mkdir('d')", "cd('d')"] * 3_000,
    "long names": [call for _ in range(1_200) for call in (f"mkdir('{'n' * 990}')", f"cd('{'n' * 990}')")],
    "large files": ["touch('a')", f"echo('{'x' * 99_000}', 'a')", "mkdir('d')"]
    + [call for n in range(60) for call in (f"cp('a', 'd{n}')", f"mv('d{n}', 'd')")],
}
WALKS = ["cd('/')", "find()", "find('.', 'zzz')", "du()", "ls()", "pwd()"]


def run_file_system(script: list[str]) -> dict[str, str]:
    """The last result of every tool, after snapshot, comparison and description went through as well."""
    files = GorillaFileSystem({"root": {"ws": {"contents": {}}}})
    environment = Environment({"GorillaFileSystem": files})
    results = {}
    for text in [*script, "pwd()", *WALKS]:
        call = parse_call(text)
        results[call.name] = environment.call(call).text
    snapshot = environment.snapshot()
    assert environment.mismatches(snapshot) == ()
    assert environment.mismatches(Environment({"GorillaFileSystem": GorillaFileSystem({})}).snapshot()) != ()
    json.dumps(files.describe())
    return results


HUGE = ["x" * 99_000, "\n" * 99_000, "9" * 4_200, "漢" * 99_000, "2024-" + "1" * 90_000, "1e999999", list(range(9_000))]
HUGE += [
    ["AAPL"] * 9_000,
    10**4298,
    -(10**4298),
    10**9,
    -(10**9),
    1e308,
    float("inf"),
    dict.fromkeys(map(str, range(4_000))),
]


def run_every_tool() -> None:
    """Every tool with every huge value in one place, and in all places at once, in worlds that let it work."""
    config = {
        "TwitterAPI": {"authenticated": True},
        "TradingBot": {"authenticated": True, "market_status": "Open"},
        "MessageAPI": {"current_user": "USR001"},
        "TicketAPI": {"current_user": "USR001"},
    }
    for name in TOOL_CLASSES:
        environment = make_environment([name], json.dumps(config))
        for doc in tool_docs_of(tool_class(name)):
            parameters = list(doc.parameters["properties"])
            for value in HUGE:
                for places in [[parameter] for parameter in parameters] + [parameters]:
                    arguments = {parameter: value if parameter in places else 1 for parameter in parameters}
                    result = environment.call(ToolCall(name=doc.name, arguments=arguments))
                    assert len(result.text) <= limits.RESULT.characters + 100
        assert environment.mismatches(environment.snapshot()) == ()


IN_A_CELL = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
sys.path.insert(0, {json.dumps(str(Path(__file__).parent))})
import test_hostile
if sys.argv[1] == "every tool":
    test_hostile.run_every_tool()
else:
    test_hostile.run_file_system(test_hostile.HOSTILE_TREES[sys.argv[1]])
"""


@pytest.mark.parametrize("name", [*HOSTILE_TREES, "every tool"])
def test_a_hostile_episode_costs_bounded_time_and_memory(name):
    command = [sys.executable, "-c", IN_A_CELL, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_file_system_has_room_for_a_limited_number_of_entries():
    results = run_file_system(HOSTILE_TREES["copies"])
    assert "the file system is full" in results["cp"]


def test_a_walk_over_exponentially_many_paths_is_an_error():
    results = run_file_system(HOSTILE_TREES["doubling"])
    assert "too many entries" in results["find"]
    assert "too many entries" in results["du"]


def test_a_full_file_system_still_answers():
    environment = Environment({"GorillaFileSystem": GorillaFileSystem({})})
    for number in range(limits.TREE_ENTRIES + 5):
        last = environment.call(ToolCall(name="touch", arguments={"file_name": f"f{number}"}))
    assert last.status is CallStatus.EXCEPTION
    assert environment.call(parse_call("rm('f0')")).status is CallStatus.OK


def test_a_shared_list_of_mentions_does_not_grow_without_end():
    environment = make_environment(["TwitterAPI"], '{"TwitterAPI": {"authenticated": true}}')
    for _ in range(50):
        environment.call(parse_call("post_tweet('x')"))
    names = ["a"] * 9_000
    result = environment.call(ToolCall(name="mention", arguments={"tweet_id": 0, "mentioned_usernames": names}))
    assert "mentions of one tweet" in result.text
    assert len(environment.tool_classes["TwitterAPI"].tweets[0]["mentions"]) == limits.SHARED_MENTIONS


class TestEpisodesAreAlone:
    def test_the_precision_of_one_thread_never_reaches_another(self):
        digits = (5, 30)
        right = {n: everything().call(ToolCall(name="logarithm", positional=(3, 7, n))).text for n in digits}
        roots = {n: everything().call(ToolCall(name="square_root", positional=(2, n))).text for n in digits}
        start = threading.Barrier(2)

        def work(n: int) -> int:
            environment = make_environment(["MathAPI"], "{}")
            log, root = (ToolCall(name=name, positional=(*values, n)) for name, values in TOOLS)
            start.wait()
            return sum(
                (environment.call(log).text != right[n]) + (environment.call(root).text != roots[n])
                for _ in range(2_000)
            )

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(work, digits)) == [0, 0]

    def test_episodes_in_threads_play_as_if_alone(self, tasks):
        rows = self.rows(tasks)
        alone = [asyncio.run(self.play(MultiTurnToolInteraction({}), row)) for row in rows]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda row: asyncio.run(self.play(MultiTurnToolInteraction({}), row)), rows * 3))
        assert together == alone * 3

    def test_episodes_in_tasks_of_one_loop_play_as_if_alone(self, tasks):
        rows = self.rows(tasks)
        alone = [asyncio.run(self.play(MultiTurnToolInteraction({}), row)) for row in rows]

        async def all_at_once() -> list:
            interaction = MultiTurnToolInteraction({})
            return await asyncio.gather(*(self.play(interaction, row) for row in rows * 3))

        assert asyncio.run(all_at_once()) == alone * 3

    @staticmethod
    def rows(tasks) -> list[dict]:
        from env_tuning.data.rows import task_row

        chosen = [tasks[f"multi_turn_base_{number}"] for number in (0, 20, 60, 100, 120, 199)]
        return [
            task_row(task, ThinkAnswer(), version=PromptVersion.V1, split="test", index=0)["extra_info"][
                "interaction_kwargs"
            ]
            for task in chosen
        ]

    @staticmethod
    async def play(interaction: MultiTurnToolInteraction, row: dict) -> dict:
        """The ground truth, one call a message and a pause after each, with a failing call in between."""
        instance = await interaction.start_interaction(**row)
        speaker = protocol("think_answer")
        documents = {tool["name"]: tool for tool in json.loads(row["tools"])}
        for turn in row["ground_truth"]:
            messages = [spoken("no_such_tool", {})]
            for text in turn:
                call = parse_call(text)
                names = list(documents[call.name]["parameters"]["properties"])
                named = {**dict(zip(names, call.positional, strict=False)), **call.arguments}
                messages.append(spoken(call.name, named))
            for message in [*messages[:8], speaker.write_answer("done")]:
                await interaction.generate_response(instance, [{"role": "assistant", "content": message}])
                await asyncio.sleep(0)
        trajectory = interaction.trajectory(instance).to_dict()
        await interaction.finalize_interaction(instance)
        return trajectory
