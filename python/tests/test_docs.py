"""The examples of docs/python.md: all can be read, and those that need nothing of yours run."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hpo

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
EXAMPLES = [part.split("```")[0] for part in PAGE.split("```python\n")[1:]]


def test_every_example_can_be_read():
    assert len(EXAMPLES) >= 8
    for example in EXAMPLES:
        ast.parse(example)


@pytest.mark.parametrize("what, needs", [("hpo.Searcher(", "json"), ("HpoSampler(", "optuna")])
def test_the_examples_of_the_searchers_run(what, needs, hpo_program):
    pytest.importorskip(needs)
    (example,) = [example for example in EXAMPLES if what in example]
    environment = {**os.environ, "HPO_BIN": hpo_program}
    done = subprocess.run([sys.executable, "-c", example], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_page_has_every_public_name():
    for name in hpo.__all__:
        if name not in ("Params", "Checkpoint", "Suggestion", "resume_step"):
            assert f"hpo.{name}" in PAGE or f"`{name}" in PAGE, name
