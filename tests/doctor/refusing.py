"""Findings as the launcher takes them."""

from __future__ import annotations

from collections.abc import Iterable

from env_tuning.doctor.finding import Finding, Severity
from env_tuning.errors import UserError


def refuse(findings: Iterable[Finding]) -> None:
    """Raise the first error, in its own line."""
    for finding in findings:
        if finding.severity is Severity.ERROR:
            raise UserError(finding.line)
