"""What the two models are asked: one writes a hint, the other judges it.

Owns: every word that goes to the endpoint. Refuses: sending it. The writer never sees a reference solution, so that it
has none to give away; the judge sees it, to recognise what gives it away.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from env_tuning.augmentation.proposals.candidate import CANDIDATE_SCHEMA, VERDICT_SCHEMA
from env_tuning.augmentation.proposals.rollouts import FailedCall
from env_tuning.augmentation.proposals.sites import ErrorSite, error_words
from env_tuning.augmentation.rule_file import RuleText
from env_tuning.augmentation.rules import HINT_CHARACTERS
from env_tuning.task import ToolDoc

Message = dict[str, str]

_EXAMPLES = 4
_CHARACTERS = 600

_WRITER = f"""\
Language models are trained in an environment of tools. Many of their calls fail with the same error. You write one
hint for this error. From now on every model reads it directly behind the raw error, in every task in which it occurs.

A good hint
- tells what the error leaves open: which rule of the tool was broken, or what has to be found out or done before;
- gives a direction and leaves the work to the model. It contains no call and no value for an argument: nothing out of
  the examples, which are different tasks, and nothing that a task would ask for;
- names no other tool. It says of which kind the tool is: "a tool that lists the accounts";
- is true wherever this error can occur. You see a few cases of many;
- advises. It does not forbid what may be right elsewhere, and does not lay down an order of steps without need;
- is one or two plain sentences of at most {HINT_CHARACTERS} characters.

If the raw error already says all that is true and useful, set need_augmentation to false.

Fields of your answer:
- reasoning: two sentences on why the calls fail and what the model does not know.
- need_augmentation: whether a hint would help.
- error_category: dependency_missing (a value that another tool gives was not looked up), parameter_constraint (a value
  outside of what is allowed), state_prerequisite (something has to be done to the world before), format_mismatch (a
  name, a type or a way of writing), resource_unavailable (what is asked for does not exist).
- augmentation_type: clarify_constraint, suggest_prerequisite, explain_dependency or correct_format.
- hint: the hint.
- error_contains: texts that all stand in the raw error, letter by letter, whenever the hint applies. Usually the
  suggested ones.
- arguments: conditions on arguments of the failed call, only if the error has several causes and they tell which one it
  is; else []. test is given, missing, contains or lacks; value is the text for the last two, else "".
"""

_JUDGE = """\
You judge a hint. Language models are trained in an environment of tools; behind a certain error they will read this
hint, in every task in which the error occurs. The reference calls of some of these tasks are shown to you alone.

- leaks_solution: true if the hint gives away, or nearly gives away, what a model should work out: a call, the value of
  an argument, or so exact a sequence of steps that nothing is left to find out.
- restricts_exploration: true if it forbids or dictates something that may be wrong in other tasks, or leaves only one
  way where there are others.
- actionable: true if a model that reads it knows what to check, look up or change, beyond what the raw error says, and
  if it fits the error.
- reason: one or two sentences. If you object, say what to change, without naming values of the reference calls.
"""


def writing_messages(site: ErrorSite, objections: Sequence[str]) -> list[Message]:
    """Ask for a hint; `objections` say what was wrong with the earlier ones."""
    parts = [
        _about(site),
        f"Suggested for error_contains: {_json(error_words(site.template))}",
        *(_case(number, failure) for number, failure in enumerate(_shown(site), start=1)),
    ]
    if objections:
        parts.append("Your earlier answers were refused:\n" + "\n".join(f"- {text}" for text in objections))
    parts.append(_form(CANDIDATE_SCHEMA["properties"]))
    return _messages(_WRITER, parts)


def judging_messages(site: ErrorSite, rule: RuleText) -> list[Message]:
    """Ask for a verdict on a hint."""
    cases = [
        f"{_case(number, failure)}\nReference calls: {_cut(_json(failure.task.ground_truth[failure.turn]))}"
        for number, failure in enumerate(_shown(site), start=1)
    ]
    return _messages(_JUDGE, [_about(site), *cases, f"The hint:\n{rule.text}", _form(VERDICT_SCHEMA["properties"])])


def _messages(system: str, parts: Sequence[str]) -> list[Message]:
    return [{"role": "system", "content": system}, {"role": "user", "content": "\n\n".join(parts)}]


def _form(properties: Sequence[str]) -> str:
    # Servers that cannot enforce a schema are asked all the same.
    return f"Answer with one JSON object and nothing else. Its keys: {', '.join(properties)}."


def _about(site: ErrorSite) -> str:
    tools = {tool.name: tool for tool in site.examples[0].task.tools}
    # What a hint may build on is there in all of the tasks.
    common = set(tools).intersection(*({tool.name for tool in failure.task.tools} for failure in site.examples))
    documents = [f"- {name}: {_first_sentence(tools[name])}" for name in tools if name in common - {site.tool}]
    return "\n".join(
        [
            f"The tool that failed: {_cut(tools[site.tool].json, 4 * _CHARACTERS)}",
            "The other tools:",
            *(documents or ["none"]),
            f"The raw error, with what varies in ‹›: {site.template}",
            f"It occurred {site.count} times in {site.tasks} tasks.",
        ]
    )


def _first_sentence(tool: ToolDoc) -> str:
    # The benchmark's descriptions begin with what they say of the whole class.
    return _cut(tool.description.rpartition("Tool description:")[2].strip().partition(". ")[0], 120)


def _shown(site: ErrorSite) -> Sequence[FailedCall]:
    return site.examples[:_EXAMPLES]


def _case(number: int, failure: FailedCall) -> str:
    return "\n".join(
        [
            f"Case {number}",
            f"User: {_cut(failure.request)}",
            f"Call: {_cut(_json({'name': failure.call.name, 'arguments': dict(failure.call.arguments)}))}",
            f"Raw error: {_cut(failure.result)}",
        ]
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _cut(text: str, characters: int = _CHARACTERS) -> str:
    return text if len(text) <= characters else f"{text[:characters]} ..."
