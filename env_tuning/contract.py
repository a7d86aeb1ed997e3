"""What every tool environment promises, as checks that run: `env-tuning check NAME`.

Owns: the rules and their report. Refuses: repairing anything, and scoring: the judge and the protocol that train a
model are the ones used here. Each rule yields problems, one line with the reason and the fix; no problem means kept.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from env_tuning.calls import ToolCall, parse_call
from env_tuning.data.demonstrations import ImperfectDemonstrationError, Pacing, demonstration
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.environments.environment import CallStatus, Environment, ToolResult
from env_tuning.environments.registry import make_environment, tool_class
from env_tuning.environments.schemas import tool_docs_of
from env_tuning.environments.tool_class import ToolClass
from env_tuning.episode import Episode, Rules
from env_tuning.prepared_task import prepare_task
from env_tuning.protocols import Protocol, ThinkAnswer
from env_tuning.task import Task, ToolDoc

_PROBLEMS_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is checked.

    Attributes:
        name: the tool class, as `registry.tool_class` takes it.
        tasks: tasks that use it; without any, the rules on ground truth have nothing to say.
        long_context: the padding data, if one of the tasks is a long-context one.
    """

    name: str
    tasks: tuple[Task, ...]
    long_context: LongContext | None = None

    @property
    def tool_class(self) -> type[ToolClass]:
        """The class."""
        return tool_class(self.name)

    def documents(self) -> Mapping[str, ToolDoc]:
        """What the model is told of each tool of the class: by the tasks, else by the class itself."""
        docs = self.tasks[0].tools if self.tasks else tool_docs_of(self.tool_class)
        return {doc.name: doc for doc in docs if doc.name in self.tool_class.tools}

    def worlds(self) -> Iterator[tuple[Callable[[], Environment], list[ToolCall]]]:
        """For every task (or for the empty configuration) a maker of fresh environments, and calls to try there."""
        probes = [probe for doc in self.documents().values() for probe in _probes(doc)]
        for task in self.tasks:
            padding = self.long_context if task.long_context else None
            reference = [parse_call(call) for turn in task.ground_truth for call in turn]
            yield _maker(task.tool_classes, task.initial_config, padding), reference + probes
        if not self.tasks:
            yield _maker((self.name,), "{}", None), probes


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What became of one rule.

    Attributes:
        rule: its name.
        promise: what it asks for.
        problems: why it is broken and what to do; empty if it is kept.
    """

    rule: str
    promise: str
    problems: tuple[str, ...]


def check(subject: Subject) -> tuple[Finding, ...]:
    """Every rule's finding, in the order of `RULES`. A rule that raises is broken: the exception is its problem."""
    findings = []
    for rule, (promise, function) in RULES.items():
        problems: list[str] = []
        try:
            problems += function(subject)
        # The class under check is somebody's new code: whatever it raises is what the author has to see.
        except (Exception, SystemExit) as error:
            problems.append(f"{type(error).__name__}: {error}")
        findings.append(Finding(rule=rule, promise=promise, problems=tuple(problems)))
    return tuple(findings)


def report(subject: Subject, findings: Sequence[Finding]) -> str:
    """The findings as text for a terminal."""
    lines = [f"{subject.name} (tools: {len(subject.tool_class.tools)}, tasks: {len(subject.tasks)})"]
    for finding in findings:
        mark = "FAIL" if finding.problems else "ok" if subject.tasks or finding.rule not in _ON_TASKS else "-"
        lines.append(f"  {mark:5}{finding.rule:14}{finding.promise}")
        lines += [f"       - {problem}" for problem in finding.problems[:_PROBLEMS_SHOWN]]
        if (more := len(finding.problems) - _PROBLEMS_SHOWN) > 0:
            lines.append(f"       - and {more} more")
    return "\n".join(lines)


def _schemas(subject: Subject) -> Iterator[str]:
    documents = subject.documents()
    for name, function in subject.tool_class.tools.items():
        if name not in documents:
            yield f"{name}: no document; add it to the task's tools"
            continue
        doc = documents[name]
        json.dumps(doc.as_dict())
        if not doc.description:
            yield f"{name}: no description; begin its docstring with one"
        yield from _schema_problems(name, doc, function)


def _schema_problems(name: str, doc: ToolDoc, function: Callable[..., Any]) -> Iterator[str]:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    properties = doc.parameters.get("properties", {})
    if set(properties) != {parameter.name for parameter in parameters}:
        yield f"{name}: documents {sorted(properties)}, takes {[parameter.name for parameter in parameters]}"
    required = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    if sorted(doc.parameters.get("required", ())) != sorted(required):
        yield f"{name}: required are {required}, its document says {doc.parameters.get('required')}"
    for parameter, schema in properties.items():
        if not schema.get("description"):
            yield f"{name}: nothing is said about {parameter}; add '{parameter}: ...' under Args: in its docstring"
        if problem := _schema_problem(schema):
            yield f"{name}, {parameter}: {problem}"


_TYPES = frozenset({"string", "integer", "number", "boolean", "null", "array", "object"})
# The benchmark's documents have names of their own.
_BENCHMARK_TYPES = frozenset({"dict", "float", "tuple", "any"})


def _schema_problem(schema: Any) -> str | None:
    """Why a value is no schema that this project writes or the benchmark has, or None if it is one."""
    if not isinstance(schema, Mapping):
        return f"{schema!r} is no schema; schemas are objects"
    kind = schema.get("type")
    if kind is not None and kind not in _TYPES | _BENCHMARK_TYPES:
        return f"unknown type {kind!r}; known: {', '.join(sorted(_TYPES))}"
    if "enum" in schema and not schema["enum"]:
        return "an empty enum allows nothing"
    below = [*schema.get("anyOf", ()), *schema.get("prefixItems", ()), *schema.get("properties", {}).values()]
    below += [schema[key] for key in ("items", "additionalProperties") if key in schema]
    return next((problem for part in below if (problem := _schema_problem(part))), None)


def _determinism(subject: Subject) -> Iterator[str]:
    for make, calls in subject.worlds():
        first, second = make(), make()
        for call, ours, theirs in zip(calls, _results(first, calls), _results(second, calls), strict=True):
            if ours != theirs:
                yield (
                    f"{_short(call)} gave {_short(ours)} and in a second run {_short(theirs)}; "
                    "seed every random generator in __init__ and read no clock"
                )
                break
        if different := first.mismatches(second.snapshot()):
            yield f"the same calls led to different states of {', '.join(different)}; see the results"


def _isolation(subject: Subject) -> Iterator[str]:
    for make, calls in subject.worlds():
        used, waiting = make(), make()
        before = waiting.snapshot()
        _results(used, calls)
        if different := waiting.mismatches(before):
            yield (
                f"calls to one instance of {', '.join(different)} changed another; "
                "make lists and dictionaries in __init__, not on the class or the module"
            )
        elif different := make().mismatches(before):
            yield (
                f"calls to one instance of {', '.join(different)} changed what the next one starts with; "
                "copy what comes from the class, the module or a default argument"
            )


def _snapshots(subject: Subject) -> Iterator[str]:
    for make, calls in subject.worlds():
        environment = make()
        start = environment.snapshot()
        _results(environment, calls)
        if different := make().mismatches(start):
            yield f"a snapshot of {', '.join(different)} changed with later calls; snapshot() must copy deeply"
        if different := environment.mismatches(environment.snapshot()):
            yield f"{', '.join(different)} does not match its own snapshot; give the objects in its state an __eq__"
        for name, instance in environment.tool_classes.items():
            try:
                json.dumps(instance.describe())
            except (TypeError, ValueError) as error:
                yield f"describe() of {name} is no JSON-like data ({error}); override it"


def _errors(subject: Subject) -> Iterator[str]:
    make, _ = next(subject.worlds())
    for name, doc in subject.documents().items():
        environment = make()
        for call in _probes(doc):
            try:
                (result,) = _call(environment, [call])
            except (Exception, SystemExit) as error:
                yield f"{_short(call)} ended the episode with {type(error).__name__}; return or raise an error"
                continue
            if _UNKNOWN in call.arguments and result.status is not CallStatus.EXCEPTION:
                yield f"{name} accepts arguments it does not have; take no **arguments"
        environment.snapshot()


def _ground_truth(subject: Subject) -> Iterator[str]:
    rules = Rules(steps_per_turn=20, calls_per_step=1_000)
    for task in subject.tasks:
        environment = _maker(task.tool_classes, task.initial_config, _padding(subject, task))()
        for call in (call for turn in task.ground_truth for call in turn):
            result = environment.call(parse_call(call))
            # A tool that declines is a fair part of a scenario, a call that cannot run is a mistake in it.
            if result.status is CallStatus.EXCEPTION:
                yield f"{task.id}: the reference call {_short(call)} is answered {_short(result.text)}; correct it"
        try:
            demonstration(task, pacing=Pacing.TOGETHER, rules=rules, long_context=_padding(subject, task))
        except ImperfectDemonstrationError as error:
            yield str(error)


def _idle_policies(subject: Subject) -> Iterator[str]:
    for policy, speak in _IDLE.items():
        for task in subject.tasks:
            turns = _credited(subject, task, speak)
            if turns:
                yield (
                    f"{task.id}: {policy} is judged right in turns {turns}; a turn with reference calls must leave a "
                    "state or a result that doing nothing does not"
                )


def _credited(subject: Subject, task: Task, speak: Callable[[Protocol, str], str]) -> list[int]:
    """The turns with reference calls in which a policy that does nothing was judged right."""
    protocol = ThinkAnswer()
    prepared = prepare_task(task, protocol=protocol, long_context=_padding(subject, task))
    episode = Episode(prepared, Rules(steps_per_turn=2))
    heard = episode.opening()[-1]["content"]
    while not episode.over:
        heard = episode.step(speak(protocol, heard)).content
    return [verdict.turn for verdict in episode.trajectory().verdicts if verdict.correct and verdict.expects_calls]


_IDLE: Mapping[str, Callable[[Protocol, str], str]] = MappingProxyType(
    {
        "saying nothing": lambda protocol, heard: protocol.write_answer(""),
        "repeating the user": lambda protocol, heard: heard,
        "calling a tool that is none": lambda protocol, heard: protocol.write_calls([ToolCall(name=_UNKNOWN)]),
    }
)

Rule = tuple[str, Callable[[Subject], Iterable[str]]]

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "schemas": ("every tool and parameter is documented, with a valid schema", _schemas),
        "determinism": ("the same calls give the same results and states", _determinism),
        "isolation": ("instances share no state", _isolation),
        "snapshots": ("snapshots are independent copies that match", _snapshots),
        "errors": ("wrong calls are answered with text", _errors),
        "ground truth": ("the reference calls run and score full marks", _ground_truth),
        "idle policies": ("doing nothing scores no turn that needs calls", _idle_policies),
    }
)
"""Name of the rule to what it promises and the function that yields its problems."""

_ON_TASKS = frozenset({"ground truth", "idle policies"})


_UNKNOWN = "no_such_name"
_WRONG_VALUES: tuple[Any, ...] = (None, "", "no such thing", -1, 0, 10**400, 1e308, True, [], {}, [[None]], {"a": {}})
_PLAUSIBLE: Mapping[str, Any] = MappingProxyType(
    {"integer": 1, "number": 1.5, "float": 1.5, "boolean": True, "array": ["a"], "object": {}, "dict": {}}
)


def _probes(doc: ToolDoc) -> list[ToolCall]:
    """Calls of a tool with plausible, missing, unknown and wrong arguments."""
    properties = doc.parameters.get("properties", {})
    plausible = {name: _plausible(schema) for name, schema in properties.items()}
    arguments = [plausible, {}, {**plausible, _UNKNOWN: 1}]
    arguments += [{**plausible, name: value} for name in properties for value in _WRONG_VALUES]
    return [ToolCall(name=doc.name, arguments=values) for values in arguments]


def _plausible(schema: Mapping[str, Any]) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    return _PLAUSIBLE.get(schema.get("type", "string"), "a")


def _maker(names: Sequence[str], config: str, padding: LongContext | None) -> Callable[[], Environment]:
    return lambda: make_environment(names, config, padding)


def _padding(subject: Subject, task: Task) -> LongContext | None:
    return subject.long_context if task.long_context else None


def _call(environment: Environment, calls: Iterable[ToolCall]) -> list[ToolResult]:
    # Tools may keep and change what they are given, and the same calls are made many times.
    return [environment.call(copy.deepcopy(call)) for call in calls]


def _results(environment: Environment, calls: Iterable[ToolCall]) -> list[str]:
    return [result.text for result in _call(environment, calls)]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
