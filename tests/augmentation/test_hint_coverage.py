"""Every error that a tool can give is listed, with its rule or the reason why it has none."""

import pytest
from typer.testing import CliRunner

from env_tuning.augmentation.coverage import Coverage, Site, coverage, error_sites, site_list, table
from env_tuning.augmentation.registry import RULE_MODULES
from env_tuning.cli import app
from env_tuning.environments.registry import TOOL_CLASSES
from env_tuning.environments.tool_class import ToolClass

_CLOSED = "The shop is closed."


class Shop(ToolClass):
    """Every way in which an error can be written."""

    def buy(self, item: str, count: int = 1) -> dict:
        """Buy."""
        if count < 0:
            return {"error": f"{item}: less than none"}
        problem = self._problem(item) or ("No money." if count > 9 else None)
        if problem:
            return {"bought": False, "error": problem}
        if count == 7:
            raise ValueError(f"{count} is unlucky")
        return _attempt(lambda: 1 / count, "Not a number.")

    def visit(self) -> dict:
        """Visit."""
        return [_refused("visit")]

    def ask(self) -> dict:
        """Ask."""
        return {"answer": "no error at all"}

    def _problem(self, item):
        return _CLOSED if item == "x" else None


def _refused(what):
    return {"error": f"You cannot {what} today."}


def _attempt(compute, error):
    try:
        return {"result": compute()}
    except TypeError:
        return {"error": error}


def test_the_reader_finds_errors_however_they_are_written():
    found = {(site.tool, site.raised, site.template) for site in error_sites(f"{__name__}:Shop")}
    assert found == {
        ("buy", False, "{item}: less than none"),
        ("buy", False, "The shop is closed."),
        ("buy", False, "No money."),
        ("buy", True, "{count} is unlucky"),
        ("buy", False, "Not a number."),
        ("visit", False, "You cannot visit today."),
    }


@pytest.mark.parametrize("name", TOOL_CLASSES)
def test_every_error_site_has_a_rule_or_a_reason(name):
    assert [row.site for row in coverage(name) if row.is_open] == []


def test_the_sites_are_those_of_all_tools():
    assert tuple(RULE_MODULES) == tuple(TOOL_CLASSES)
    sites = [site for name in TOOL_CLASSES for site in error_sites(name)]
    # The benchmark has about 166 of them; ours has limits of its own.
    assert len(sites) > 166
    assert len({(site.tool_class, site.tool) for site in sites}) > 80


def test_a_site_without_rule_and_reason_is_open():
    assert Coverage(site=Site(tool_class="a", tool="b", raised=False, template="c"), rules=()).is_open


def test_the_command_prints_the_table_and_every_site():
    runner = CliRunner()
    counted = runner.invoke(app, ["hints", "coverage"])
    assert counted.exit_code == 0
    assert counted.output.strip() == table()
    listed = runner.invoke(app, ["hints", "coverage", "--sites", "TicketAPI"])
    assert listed.exit_code == 0
    assert listed.output.strip() == site_list(("TicketAPI",))
    assert (
        "create_ticket returns 'Invalid priority. Priority must be between 1 and 5.' -> ticket.priority"
        in listed.output
    )


def test_the_command_says_by_its_exit_status_that_something_is_open():
    result = CliRunner().invoke(app, ["hints", "coverage", "--sites", f"{__name__}:Shop"])
    assert result.exit_code == 1
    assert result.output.count("OPEN") == 6
