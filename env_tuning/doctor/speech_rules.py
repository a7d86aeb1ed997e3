"""Rules on whether prompt, chat template, tokenizer and protocol agree about what a message is.

Owns: trying them on one task. Refuses: judging what a model would write.
"""

from __future__ import annotations

from collections.abc import Iterator

from env_tuning.calls import ToolCall
from env_tuning.doctor.evidence import Evidence
from env_tuning.doctor.finding import Finding
from env_tuning.model.stop_tokens import stop_tokens
from env_tuning.protocols import Action, Answer, Malformed, UseTools

_TEMPLATE = "the model's chat template"
_OPEN, _CLOSE = "<think>", "</think>"
_CALL = ToolCall(
    name="sort", arguments={"file_name": "a  b , c .txt", "count": 2, "names": ["é", "<b>"], "deep": {"x": None}}
)


def speech(evidence: Evidence) -> Iterator[Finding]:
    """A message written in the protocol is still one after template and tokenizer had it, and it ends."""
    task = next((task for file in evidence.files for task in file.tasks), None)
    if task is None:
        return
    opening = evidence.opening(task)
    try:
        prompt = evidence.render(opening, generation_prompt=True)
    except Exception as error:  # a template may raise anything; Jinja's own errors have no common base with others
        yield Finding(
            key=_TEMPLATE,
            problem=f"the chat template refuses a system message ({type(error).__name__}: {error})",
            fix="choose an instruction-tuned model whose template has system messages",
        )
        return
    if opening[0]["content"].strip() not in prompt:
        yield Finding(
            key=_TEMPLATE,
            problem="the chat template leaves the system message out: the model would see neither tools nor protocol",
            fix="choose a model whose template has system messages",
        )
    given = prompt[len(evidence.render(opening, generation_prompt=False)) :]
    yield from _continued(evidence, given)
    yield from _read_back(evidence)
    yield from _ended(evidence)


def _continued(evidence: Evidence, given: str) -> Iterator[Finding]:
    """What the template writes in the model's name, before it writes, is not what the protocol asks it to write."""
    if _OPEN not in given:
        return
    written = evidence.protocol.write_calls([_CALL], "I call a function.")
    rest = written.partition(_CLOSE if _CLOSE in given else _OPEN)[2] or written
    fault = evidence.protocol.parse(rest)
    if isinstance(fault, Malformed):
        yield Finding(
            key="data.apply_chat_template_kwargs",
            problem=f"the chat template begins every message with {given[given.index(_OPEN) :].strip()!r}, so what the "
            f"model writes after it is no {evidence.protocol.name} message ({fault.feedback.splitlines()[0]})",
            fix="turn that off with data.apply_chat_template_kwargs (Qwen3: +data.apply_chat_template_kwargs."
            "enable_thinking=true), or choose another model or protocol",
        )


def _read_back(evidence: Evidence) -> Iterator[Finding]:
    for wrote in (UseTools((_CALL,), "Why  not?"), Answer("Done,  as <you> asked.", "All is done.")):
        text = _write(evidence, wrote)
        ids = evidence.tokenizer(text, add_special_tokens=False)["input_ids"]
        # As the agent loop decodes: special tokens stay.
        decoded = evidence.tokenizer.decode(ids, skip_special_tokens=False)
        if _said(evidence.protocol.parse(decoded)) != _said(evidence.protocol.parse(text)):
            yield Finding(
                key="actor_rollout_ref.model.path",
                problem=f"the tokenizer does not give a {evidence.protocol.name} message back as it was: {text!r} "
                f"became {decoded!r}",
                fix="choose another protocol, or a model whose tokenizer keeps spaces and tags",
            )
            return


def _ended(evidence: Evidence) -> Iterator[Finding]:
    """The template ends the assistant's messages with a token at which generation stops."""
    text = evidence.protocol.write_answer("Done.", "All is done.")
    messages = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": text}]
    rendered = evidence.render(messages, generation_prompt=False)
    after = rendered.rpartition("</answer>" if "</answer>" in text else "Done.")[2]
    ids = set(evidence.tokenizer(after, add_special_tokens=False)["input_ids"])
    stops = stop_tokens(str(evidence.get("actor_rollout_ref.model.path")), evidence.tokenizer.eos_token_id)
    if not ids & stops:
        names = [evidence.tokenizer.decode([token]) for token in sorted(stops)]
        yield Finding(
            key="eos_token_id of the model",
            problem=f"the chat template ends messages with {after.strip()!r}, but generation stops at {names} only: "
            "every message would run into its limit",
            fix="add the token to eos_token_id in the model's generation_config.json",
        )


def _write(evidence: Evidence, action: Action) -> str:
    if isinstance(action, UseTools):
        return evidence.protocol.write_calls(action.calls, action.thought)
    assert isinstance(action, Answer)
    return evidence.protocol.write_answer(action.text, action.thought)


def _said(action: Action) -> object:
    """What a message does, whatever it thought."""
    return action.calls if isinstance(action, UseTools) else action
