"""The studies that ship for this client, run by the real program at a small size."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def study(tmp_path, hpo_program):
    """Runs a study with some lines replaced; gives its trials."""

    def run(name, *replacements):
        text = (ROOT / "studies" / f"{name}.yaml").read_text()
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new)
        (tmp_path / "study.yaml").write_text(text)
        shutil.copytree(ROOT / "studies" / "scripts", tmp_path / "scripts", dirs_exist_ok=True)
        shims = tmp_path / "bin"
        shims.mkdir(exist_ok=True)
        # The `python` of the study is the one that runs the test.
        (shims / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (shims / "python").chmod(0o755)
        environment = {**os.environ, "PATH": f"{shims}:{os.environ['PATH']}", "KERAS_BACKEND": "torch"}

        def hpo(*arguments):
            command = [hpo_program, *arguments]
            return subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
            )

        done = hpo("run", "study.yaml", "--no-live")
        logs = "\n".join(path.read_text() for path in tmp_path.glob("runs/*/trials/*/stderr.log"))
        assert done.returncode == 0, done.stderr + logs
        trials = json.loads(hpo("trials", "-f", "json").stdout)
        return trials

    return run


def test_the_pytorch_script_learns_under_hpo(study):
    pytest.importorskip("torch")
    trials = study(
        "torch", ("run_cap: 30", "run_cap: 2\ncpu: {max_parallel: 1}"), ("min_iter: 3, max_iter: 27", "min_iter: 1, max_iter: 27")
    )
    assert len(trials) == 2
    done = [trial for trial in trials if trial["state"] == "completed"]
    assert done and all(trial["steps"] == 27 for trial in done)
    assert max(trial["metrics"]["val_accuracy"] for trial in done) > 0.9
    for trial in trials:
        assert ("momentum" in trial["params"]) == (trial["params"]["optimizer"] == "sgd")


def test_the_pytorch_script_runs_alone():
    pytest.importorskip("torch")
    script = ROOT / "studies" / "scripts" / "torch_digits.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1].removeprefix("[hpo] "))
    assert last["step"] == 27 and last["val_accuracy"] > 0.93


def test_the_keras_script_goes_on_from_its_checkpoint(study, tmp_path):
    pytest.importorskip("keras")
    trials = study(
        "keras",
        ("run_cap: 27", "run_cap: 3\ncpu: {max_parallel: 1}"),
        ("max_iter: 9, eta: 3", "max_iter: 3, eta: 3"),
    )
    assert sorted(trial["steps"] for trial in trials) == [1, 1, 3]
    (promoted,) = [trial for trial in trials if trial["steps"] == 3]
    assert promoted["state"] == "completed" and promoted["attempts"] == 2
    assert set(promoted["metrics"]) >= {"loss", "accuracy", "val_loss"}
    place = next(tmp_path.glob(f"runs/*/trials/{promoted['trial']}"))
    steps = [json.loads(line)["step"] for line in (place / "metrics.jsonl").read_text().splitlines()]
    # No epoch was run twice.
    assert steps == [1, 2, 3]
    assert [path.name for path in (place / "checkpoints").iterdir()] == ["checkpoint-3"]
