"""What all tests share: the real program, and the environment of a trial."""

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _nothing_may_be_skipped(report):
    """HPO_TEST_REQUIRE_ALL=1: what is skipped because something is not there is an error."""
    if report.skipped and os.environ.get("HPO_TEST_REQUIRE_ALL") == "1":
        report.outcome = "failed"
        report.longrepr = f"SKIPPED, but HPO_TEST_REQUIRE_ALL=1: {report.longrepr}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    outcome = yield
    _nothing_may_be_skipped(outcome.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report():
    outcome = yield
    _nothing_may_be_skipped(outcome.get_result())


@pytest.fixture(scope="session")
def hpo_program():
    """The real program: HPO_BIN, what cargo built last, or the PATH."""
    built = [ROOT / "target" / kind / "hpo" for kind in ("debug", "release")]
    built = sorted((path for path in built if path.is_file()), key=lambda path: -path.stat().st_mtime)
    found = os.environ.get("HPO_BIN") or (str(built[0]) if built else shutil.which("hpo"))
    if not found:
        pytest.skip("the program hpo is not built: cargo build -p hpo")
    return found


@pytest.fixture(autouse=True)
def outside(monkeypatch):
    """No test sees the variables of a trial, unless it sets them; and no test leaves something behind."""
    for name in list(os.environ):
        if name.startswith("HPO_") and not name.startswith(("HPO_TEST_", "HPO_BIN")):
            monkeypatch.delenv(name)
    import hpo._control
    import hpo._report

    hpo._control._callbacks.clear()
    hpo._control._file = None
    hpo._report._State.last_step = None
    torch = sys.modules.get("hpo.torch")
    if torch is not None:
        torch._configured.clear()


@pytest.fixture
def trial(tmp_path, monkeypatch):
    """The environment that hpo gives a trial, in a directory of its own."""
    return Trial(tmp_path, monkeypatch)


class Trial:
    def __init__(self, place, monkeypatch):
        self.place, self.set = place, monkeypatch.setenv
        self.unset = lambda name: monkeypatch.delenv(name, raising=False)
        self.metrics = place / "metrics.jsonl"
        self.control = place / "control.json"
        self.checkpoints = place / "checkpoints"
        self.checkpoints.mkdir()
        self.set("HPO_TRIAL", "7")
        self.set("HPO_ATTEMPT", "1")
        self.set("HPO_SEED", "12345")
        self.set("HPO_PARAMS", '{"lr": 0.25}')
        self.set("HPO_METRICS_FILE", str(self.metrics))
        self.set("HPO_CHECKPOINT_DIR", str(self.checkpoints))
        self.set("HPO_CONTROL_FILE", str(self.control))

    def reports(self):
        import json

        lines = self.metrics.read_text().splitlines() if self.metrics.exists() else []
        return [json.loads(line) for line in lines]

    def say(self, text):
        """Replaces the control file in one piece, as hpo does."""
        aside = self.place / "control.new"
        aside.write_text(text)
        os.replace(aside, self.control)

    def next_attempt(self, **variables):
        import hpo._control

        # Another process: what it was told is in its configuration.
        hpo._control._callbacks.clear()
        hpo._control._file = None
        self.set("HPO_RESUME_FROM", str(self.checkpoints))
        for name, value in variables.items():
            self.set(name, str(value))

    def saved(self):
        return sorted(path.name for path in self.checkpoints.iterdir())
