"""The page in a real browser, and plots."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from report_runs import EVIL, counting_task, played, write_counting, write_large, write_stage
from typer.testing import CliRunner

from env_tuning.cli import app
from env_tuning.errors import UserError
from env_tuning.report.curves import curves_of
from env_tuning.report.page import MAX_BYTES, render
from env_tuning.report.plots import write_plots
from env_tuning.report.reading import read_run
from env_tuning.task import Task

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_a_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome installed")


def shown(page: Path, state: str = "") -> str:
    """What a browser makes of the page, as markup; `state` is the address behind #."""
    profile = page.parent / "profile"
    command = [
        BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
        "--virtual-time-budget=20000", "--dump-dom", f"{page.resolve().as_uri()}#{state}",
    ]  # fmt: skip
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=180)
    assert 'data-ready="yes"' in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    # What the script wrote: the embedded data and the script itself are not it.
    return re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_stage(folder / "stage1", "stage1", steps=3)
    write_stage(folder / "stage2", "stage2", steps=2, ended=False, text=EVIL)
    result = CliRunner().invoke(app, ["report", str(folder)])
    assert result.exit_code == 0, result.output
    return folder / "report.html"


def test_the_page_needs_nothing_else_and_holds_no_text_of_a_model(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)\s*=\s*["']""", text)
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}
    assert "data.evil" not in text and "onerror" not in text


@in_a_browser
def test_curves_gates_and_all_trajectories_are_there(page: Path) -> None:
    dom = shown(page)
    assert "44 of 44 trajectories" in dom
    assert {"Reward", "KL", "Stop reasons", "Validation: turns correct, per split"} <= set(
        re.findall(r"<figcaption>(.*?)</figcaption>", dom)
    )
    assert dom.count('class="gate advance"') == dom.count("<figcaption>")
    assert "stage1 step 3: advance, a reason" in dom and "running or stopped" in dom


@in_a_browser
@pytest.mark.parametrize(
    ("state", "count"),
    [
        ("stage=stage2", 18),
        ("phase=validation", 4),
        ("stage=stage1&step=2", 8),
        ("verdict=state", 20),
        ("verdict=all_right&phase=train", 20),
        ("stop=completed&split=multi_turn_base&min=0.5", 24),
        ("max=0.5&task=base_0", 10),
    ],
)
def test_filters_leave_what_they_say(page: Path, state: str, count: int) -> None:
    assert f"{count} of 44 trajectories" in shown(page, state)


@in_a_browser
def test_a_stage_has_its_curves_alone_by_its_own_updates(page: Path) -> None:
    dom = shown(page, "stage=stage2")
    assert "reward, update 2: 1" in dom and "reward, update 5: 1" not in dom
    assert "gate, stage2 step 2: continue" in dom and "gate, stage1" not in dom
    assert "reward, update 5: 1" in shown(page)


@in_a_browser
def test_an_opened_trajectory_shows_what_the_verdict_rests_on(page: Path) -> None:
    dom = shown(page, "open=1")
    for words in (
        "The second request", "wrong: state", "GorillaFileSystem", "the expected text", "List the folder first.",
        "first call of this wrong turn that failed", "30 trained on", "not trained on", "the 4 rollouts of this task",
    ):  # fmt: skip
        assert words in dom
    assert "<pre>You call tools.</pre>" in dom
    assert dom.count('class="call suspect"') == 1


@in_a_browser
def test_a_wrong_turn_shows_expected_against_actual_and_the_call_to_look_at(tmp_path: Path) -> None:
    episode = played(counting_task(), ["add(amount=5)"], ["read()"], ["reset()", "read()"])
    folder = write_counting(tmp_path / "run", episode)
    file = tmp_path / "report.html"
    assert CliRunner().invoke(app, ["report", str(folder), "--output", str(file)]).exit_code == 0
    dom = shown(file, "open=0")
    rows = re.findall(r"<tr><td><code>counter:Counter.value</code></td>(.*?)</tr>", dom)
    assert [re.sub(r"<[^>]*>", " ", row).split() for row in rows] == [
        ["3", "6", "this", "turn"],
        ["0", "6", "turn", "1"],
    ]
    assert dom.count('class="call suspect"') == 1
    assert "first call that changed a wrong class and that the reference does not make in this turn" in dom
    assert dom.count("not made in this turn") == 2 and "All of it was there before this turn" in dom
    assert "Without expected state" not in dom


@in_a_browser
def test_what_could_not_be_replayed_is_said_with_the_reason(page: Path) -> None:
    dom = shown(page, "open=1")
    reason = "the run's data files do not hold its task"
    assert f"Without expected state and the reference's calls: 20 trajectories ({reason})." in dom
    assert f"Expected state and the reference's calls are not shown: {reason}." in dom


@in_a_browser
def test_a_group_stands_side_by_side(page: Path) -> None:
    dom = shown(page, "group=1")
    assert [f"base_1 #{member}" for member in range(4)] == re.findall(r"<h3>(.*?)</h3>", dom)
    assert "Rewards 1, 0, 1, 0." in dom


HAND = """<script>
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
(async () => {
  while (!document.body.dataset.ready) await wait(20);
  const stage = document.querySelector("[name=stage]");
  stage.value = "stage1";
  stage.dispatchEvent(new Event("change"));
  await wait(300);
  document.querySelectorAll("#list .row")[5].click();
  await wait(300);
  document.querySelector("#episode > button").click();
  await wait(300);
  document.body.dataset.heads = document.querySelectorAll("#episode h3").length;
})();
</script></body>"""
"""Chooses a stage, opens its sixth trajectory and asks for the group, as a hand would."""


@in_a_browser
def test_choosing_opening_and_grouping_work_by_hand(page: Path) -> None:
    touched = page.with_name("touched.html")
    touched.write_text(page.read_text(encoding="utf-8").replace("</body>", HAND), encoding="utf-8")
    dom = shown(touched)
    assert 'data-heads="4"' in dom and "26 of 44 trajectories" in dom
    assert "base_0 #1" in re.findall(r"<h3>(.*?)</h3>", dom)


@in_a_browser
def test_what_a_model_wrote_is_text(page: Path) -> None:
    dom = shown(page, "stage=stage2&open=27")
    assert "The first request &lt;script&gt;" in re.sub(r"\s+", " ", dom) or "The first request &lt;script&gt;" in dom
    assert "data-evil" not in dom


def test_a_page_that_would_be_too_large_names_the_way_out(tmp_path: Path) -> None:
    stages = read_run(write_stage(tmp_path, "stage1", steps=2))
    with pytest.raises(UserError, match=r"--every \d+"):
        render(stages, title="t", limit=1000)


@in_a_browser
def test_what_was_left_out_stands_on_the_page(tmp_path: Path) -> None:
    folder = write_stage(tmp_path / "run", "stage1", steps=4)
    file = tmp_path / "report.html"
    assert CliRunner().invoke(app, ["report", str(folder), "--every", "2", "--output", str(file)]).exit_code == 0
    assert "Left out: 16 episodes between the steps of --every 2." in shown(file)


@pytest.mark.slow
@in_a_browser
def test_the_screenshots_of_the_documentation_are_taken_with_one_command(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed (extra report)")
    bad = played(counting_task(), ["add(amount=5)"], ["read()"], ["reset()", "read()"])
    good = played(counting_task(), ["add(amount=2)"], ["reset()", "read()"], ["read()"])
    run, images = write_counting(tmp_path / "run", good, bad), tmp_path / "images"
    script = Path(__file__).parents[2] / "bench" / "report_screens.py"
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script), str(run), "--output", str(images)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "open=1" in done.stdout and "group=0" in done.stdout
    sizes = {file.name: image.open(file).size for file in images.iterdir()}
    assert sizes == {
        "report_curves.png": (1400, 988), "report_trajectory.png": (1400, 1500), "report_group.png": (2000, 1200)
    }  # fmt: skip


@pytest.mark.parametrize("form", ["png", "svg"])
def test_plots_are_one_file_per_panel(tmp_path: Path, form: str) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra report)")
    curves = curves_of(read_run(write_stage(tmp_path / "run", "stage1", steps=3)))
    files = write_plots(curves, tmp_path / "plots", form)
    assert len(files) == len(curves.panels) and tmp_path / "plots" / f"gradient_norm.{form}" in files
    start = {"png": b"\x89PNG", "svg": b"<?xml"}[form]
    assert all(file.read_bytes().startswith(start) for file in files)


@pytest.mark.slow
@in_a_browser
def test_ten_thousand_trajectories_stay_usable(tmp_path: Path, tasks: Mapping[str, Task], processed_data: Path) -> None:
    padding = processed_data / "bfcl_v3" / "long_context.json"
    write_large(tmp_path / "run", list(tasks.values()), padding, steps=40, rows=256)
    file = tmp_path / "report.html"
    assert CliRunner().invoke(app, ["report", str(tmp_path / "run"), "--output", str(file)]).exit_code == 0
    assert file.stat().st_size < MAX_BYTES
    dom = shown(file, "step=40&open=10239")
    assert "256 of 10240 trajectories" in dom and "#7</h3>" in dom
    assert "Without expected state" not in dom
