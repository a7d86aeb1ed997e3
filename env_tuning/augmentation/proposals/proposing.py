"""From error sites to entries of a rules file: write, check, judge, and again, at most so often.

Owns: the attempts at one site, many sites at once, and the file that grows with them. Refuses: HTTP
(`env_tuning.endpoint`), words (`prompts.py`), checks (`candidate.py`).
"""

from __future__ import annotations

import asyncio
import enum
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from env_tuning.augmentation.proposals.answers import ask
from env_tuning.augmentation.proposals.candidate import (
    CANDIDATE_SCHEMA,
    VERDICT_SCHEMA,
    Candidate,
    SiteChecks,
    Verdict,
    read_candidate,
    read_verdict,
)
from env_tuning.augmentation.proposals.prompts import judging_messages, writing_messages
from env_tuning.augmentation.proposals.sites import ErrorSite, error_words, short_name
from env_tuning.augmentation.rule_file import Entries, RuleText, read_entries, write_entries
from env_tuning.endpoint.client import Chat, Endpoint, NoReply, UnusableReply
from env_tuning.errors import UserError
from env_tuning.together import together

T = TypeVar("T")
_CHARACTERS = 400
_VERDICT_TRIES = 3
_PROBLEMS_TOLD = 3


class Outcome(enum.Enum):
    """How the attempts at a site ended."""

    ACCEPTED = "accepted"
    """There is a hint to review."""
    NOT_NEEDED = "not_needed"
    """The model finds that the raw error says enough."""
    REJECTED = "rejected"
    """No attempt passed our checks and the judge."""
    FAILED = "failed"
    """There was no usable answer; the next run asks again."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One answer and what became of it.

    Attributes:
        candidate: None if the answer was none.
        verdict: None if the judge was not asked.
        problem: what speaks against it; "" if nothing does.
    """

    candidate: Candidate | None = None
    verdict: Verdict | None = None
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What came out for a site; `attempts` holds at least one."""

    site: ErrorSite
    attempts: tuple[Attempt, ...]
    unanswered: bool = False
    """Whether the endpoint stopped answering."""

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        last = self.attempts[-1]
        if last.candidate and not last.problem:
            return Outcome.ACCEPTED if last.candidate.rule else Outcome.NOT_NEEDED
        objected = any(attempt.candidate for attempt in self.attempts)
        return Outcome.REJECTED if objected and not self.unanswered else Outcome.FAILED

    @property
    def line(self) -> str:
        """The result on one line."""
        number, problem = len(self.attempts), self.attempts[-1].problem
        said = f"{self.outcome.value} after {number} attempt{'s' * (number > 1)}"
        return f"{said}: {problem}" if problem else said


async def propose(chat: Chat, site: ErrorSite, attempts: int) -> Proposal:
    """Ask for a hint until one passes or the attempts are used up; the writer is told what was wrong."""
    checks = SiteChecks(site)
    tried: list[Attempt] = []
    while len(tried) < attempts:
        try:
            tried.append(await _attempt(chat, site, checks, tried))
        except UnusableReply as error:
            tried.append(Attempt(problem=_short(str(error))))
        except NoReply as error:
            # It had tries of its own, with pauses: further attempts would wait through all of them again.
            tried.append(Attempt(problem=_short(str(error))))
            return Proposal(site=site, attempts=tuple(tried), unanswered=True)
        if not tried[-1].problem:
            break
    return Proposal(site=site, attempts=tuple(tried))


async def _attempt(chat: Chat, site: ErrorSite, checks: SiteChecks, earlier: Sequence[Attempt]) -> Attempt:
    answer = await ask(chat, writing_messages(site, [_objection(attempt) for attempt in earlier]), CANDIDATE_SCHEMA)
    candidate = _read(lambda: read_candidate(answer, site))
    if candidate.rule is None:
        return Attempt(candidate=candidate)
    if problems := checks.problems(candidate.rule):
        return Attempt(candidate=candidate, problem=_short("; ".join(problems[:_PROBLEMS_TOLD])))
    verdict = await _verdict(chat, site, candidate.rule)
    return Attempt(candidate=candidate, verdict=verdict, problem="" if verdict.accepts else _short(verdict.problem))


async def _verdict(chat: Chat, site: ErrorSite, rule: RuleText) -> Verdict:
    """The judge's word; it is no fault of the hint if there is none at first."""
    for number in range(_VERDICT_TRIES):
        try:
            answer = await ask(chat, judging_messages(site, rule), VERDICT_SCHEMA)
            return _read(lambda: read_verdict(answer))  # noqa: B023 (called at once)
        except UnusableReply as error:
            if number + 1 == _VERDICT_TRIES:
                raise UnusableReply(f"no verdict of the judge: {error}") from None
    raise AssertionError("the last try returns or raises")


def _read(read: Callable[[], T]) -> T:
    try:
        return read()
    except ValueError as error:
        raise UnusableReply(f"the answer has not the form that was asked for: {error}") from None


def _objection(attempt: Attempt) -> str:
    rule = attempt.candidate.rule if attempt.candidate else None
    return f'"{rule.text}": {attempt.problem}' if rule else attempt.problem


def _short(text: str) -> str:
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= _CHARACTERS else f"{line[:_CHARACTERS]} ..."


# The file.


def _key(entry: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    evidence = entry.get("evidence")
    return (
        entry.get("tool_class"),
        entry.get("tool"),
        evidence.get("error") if isinstance(evidence, Mapping) else None,
    )


def open_sites(sites: Sequence[ErrorSite], entries: Entries) -> tuple[ErrorSite, ...]:
    """The sites that a file has no answer for."""
    failed = Outcome.FAILED.value
    done = {_key(entry) for kind in entries.values() for entry in kind if entry.get("outcome") != failed}
    return tuple(site for site in sites if site.key not in done)


def with_proposal(entries: Entries, proposal: Proposal) -> Entries:
    """The entries with one more, in the place of a failed one; what a person may have changed stays as it is."""
    key = proposal.site.key
    if not open_sites([proposal.site], entries):
        return entries
    kept = {name: [entry for entry in kind if _key(entry) != key] for name, kind in entries.items()}
    if proposal.outcome is Outcome.ACCEPTED:
        taken = {entry.get("name") for entry in kept["hints"]}
        kept["hints"].append(_hint_entry(proposal, _rule_name(proposal.site, taken)))
    else:
        kept["no_hint"].append(_no_hint_entry(proposal))
    return kept


def _rule_name(site: ErrorSite, taken: set[Any]) -> str:
    """``garage.leave.no_such_car``, with a number behind it if another error has this name."""
    words = re.findall(r"[a-z0-9]+", " ".join(error_words(site.template)).lower())
    name = f"{short_name(site.tool_class).lower()}.{site.tool}.{'_'.join(words[:5]) or 'error'}"
    return next(
        found
        for number in range(1, len(taken) + 2)
        if (found := name if number == 1 else f"{name}_{number}") not in taken
    )


def _hint_entry(proposal: Proposal, name: str) -> dict[str, Any]:
    last = proposal.attempts[-1]
    assert last.candidate and last.candidate.rule and last.verdict, "an accepted hint has all of these"
    return {
        "name": name,
        "reviewed": False,
        "tool_class": proposal.site.tool_class,
        **last.candidate.rule.as_dict(),
        "evidence": _evidence(proposal.site),
        "reasoning": _short(last.candidate.reasoning),
        "judge": _short(last.verdict.reason),
        "attempts": len(proposal.attempts),
        "refused": _refused(proposal),
    }


def _no_hint_entry(proposal: Proposal) -> dict[str, Any]:
    site, last = proposal.site, proposal.attempts[-1]
    return {
        "tool_class": site.tool_class,
        "tool": site.tool,
        "outcome": proposal.outcome.value,
        "evidence": _evidence(site),
        "reasoning": _short(last.candidate.reasoning) if last.candidate else "",
        "attempts": len(proposal.attempts),
        "refused": _refused(proposal),
    }


def _evidence(site: ErrorSite) -> dict[str, Any]:
    example = site.examples[0]
    return {
        "error": site.template,
        "count": site.count,
        "tasks": site.tasks,
        "example": {
            "task": example.task.id,
            "turn": example.turn,
            "call": _short(str(example.call)),
            "result": _short(example.result),
        },
    }


def _refused(proposal: Proposal) -> list[dict[str, str]]:
    """The attempts that came to nothing; of an answer that was no proposal only what was wrong with it."""
    return [
        {
            **({"hint": attempt.candidate.rule.text} if attempt.candidate and attempt.candidate.rule else {}),
            "problem": attempt.problem,
        }
        for attempt in proposal.attempts
        if attempt.problem
    ]


# Many sites.


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What a run did: sites by outcome, sites that were done before, and the endpoint's counts."""

    outcomes: Counter[Outcome]
    done_before: int
    counts: Counter[str]

    @property
    def summary(self) -> str:
        """Everything on one line."""
        by_outcome = [f"{self.outcomes[outcome]} {outcome.value}" for outcome in Outcome]
        asked = f"{self.counts['requests']} answers, {self.counts['retries']} retries"
        tokens = f"{self.counts['prompt_tokens']} prompt tokens, {self.counts['completion_tokens']} completion tokens"
        return f"{', '.join(by_outcome)}, {self.done_before} done before; {asked}, {tokens}"


async def propose_all(
    endpoint: Endpoint,
    sites: Sequence[ErrorSite],
    file: Path,
    *,
    concurrency: int,
    attempts: int,
    report: Callable[[str], None],
) -> Ledger:
    """Ask about every site that the file has no answer for, and write each answer into it at once.

    Raises:
        UserError: the file cannot be used, or the endpoint answers nobody.
        ValueError: the file is no file of hints.
    """
    if not file.parent.is_dir():
        raise UserError(f"{file.parent} is no folder; make it first, or choose another --file")
    asked = open_sites(sites, _entries(file))
    outcomes: Counter[Outcome] = Counter()
    gate = asyncio.Semaphore(concurrency)

    async def ask_about(site: ErrorSite) -> None:
        async with gate:
            proposal = await propose(chat, site, attempts)
        # Read again: somebody may be reviewing it meanwhile.
        write_entries(file, with_proposal(_entries(file), proposal))
        outcomes[proposal.outcome] += 1
        report(f"[{outcomes.total()}/{len(asked)}] {site.line} ({site.count}x): {proposal.line}")

    if asked:
        async with Chat(endpoint) as chat:
            await together([ask_about(site) for site in asked])
        return Ledger(outcomes=outcomes, done_before=len(sites) - len(asked), counts=chat.counts)
    return Ledger(outcomes=outcomes, done_before=len(sites), counts=Counter())


def _entries(file: Path) -> Entries:
    return read_entries(file) if file.exists() else {"hints": [], "no_hint": []}
