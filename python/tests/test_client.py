"""The functions for training scripts, without any framework; and whole scripts as processes."""

import ast
import json
import math
import os
import subprocess
import sys
import textwrap
from decimal import Decimal
from pathlib import Path

import pytest

import hpo

SOURCES = Path(hpo.__file__).parent


def run(script, **variables):
    """A script in a process of its own, with these variables and none of hpo's but them."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HPO_")}
    environment.update({name: str(value) for name, value in variables.items()})
    command = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_the_oldest_python_can_read_it():
    for path in SOURCES.glob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


def test_nothing_but_the_standard_library_is_imported():
    done = run("import sys, hpo; print(*{name.partition('.')[0] for name in sys.modules})")
    assert done.returncode == 0, done.stderr
    foreign = set(done.stdout.split()) & {"torch", "numpy", "keras", "lightning", "transformers", "optuna", "scipy"}
    assert not foreign


# Parameters


def test_without_hpo_the_defaults_are_the_parameters():
    params = hpo.params({"batch_size": 32}, lr=1e-3)
    assert params == {"lr": 1e-3, "batch_size": 32}
    assert params.lr == 1e-3 and params["batch_size"] == 32
    assert not hpo.in_study()
    assert (hpo.budget(), hpo.budget(9), hpo.horizon(30), hpo.seed(5)) == (None, 9, 30, 5)
    assert hpo.checkpoint_dir is None and hpo.resume_from() is None


def test_what_hpo_says_goes_before_defaults(trial, tmp_path):
    file = tmp_path / "params.json"
    file.write_text('{"lr": 0.5, "hidden": [64, 32], "norm": null, "limit": "Infinity", "name": "adam"}')
    trial.set("HPO_PARAMS_FILE", str(file))
    params = hpo.params(lr=1e-3, momentum=0.9)
    assert (params.lr, params.momentum, params.hidden, params.norm) == (0.5, 0.9, [64, 32], None)
    assert params.limit == math.inf and params.name == "adam"
    assert hpo.in_study() and hpo.seed() == 12345
    assert hpo.checkpoint_dir == trial.checkpoints
    trial.set("HPO_BUDGET", "3")
    trial.set("HPO_BUDGET_MAX", "27")
    assert (hpo.budget(9), hpo.horizon(9)) == (3, 27)


def test_a_parameter_that_is_not_there_is_named_with_those_that_are(trial):
    with pytest.raises(AttributeError, match="no parameter 'momentum'.*there are: lr.*hpo.params"):
        hpo.params().momentum
    assert not hasattr(hpo.params(), "momentum")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        hpo.nothing


def test_a_broken_configuration_is_told(trial, tmp_path):
    trial.set("HPO_PARAMS", "[1]")
    with pytest.raises(RuntimeError, match="no JSON object"):
        hpo.params()
    trial.set("HPO_PARAMS", "{")
    with pytest.raises(RuntimeError, match="no JSON"):
        hpo.params()
    trial.unset("HPO_PARAMS")
    trial.set("HPO_PARAMS_FILE", str(tmp_path / "nowhere.json"))
    with pytest.raises(RuntimeError, match="cannot be read"):
        hpo.params(lr=1)


def test_params_are_a_dict_and_can_be_copied():
    import copy
    import pickle

    params = hpo.params(lr=1e-3)
    params.extra = 3
    assert {**params} == {"lr": 1e-3, "extra": 3}
    assert copy.deepcopy(params) == pickle.loads(pickle.dumps(params)) == params
    assert "lr" in dir(params)


# Reports


class Scalar:
    """As tensors have it."""

    def __init__(self, value):
        self.value = value

    def item(self):
        return self.value


def test_a_report_is_one_line_in_the_metrics_file(trial, capfd):
    hpo.report(1, loss=0.5, ok=True)
    hpo.report(2, {"val/loss": Scalar(0.25)}, loss=Decimal("0.5"), lr=Scalar(1e-3))
    hpo.report(loss=0.125)
    assert trial.reports() == [
        {"step": 1, "loss": 0.5, "ok": True},
        {"step": 2, "val/loss": 0.25, "loss": 0.5, "lr": 1e-3},
        {"step": 3, "loss": 0.125},
    ]
    assert capfd.readouterr().out == ""


def test_scalars_of_other_libraries_are_numbers(trial):
    numpy = pytest.importorskip("numpy")
    torch = pytest.importorskip("torch")
    hpo.report(numpy.int64(4), a=numpy.float32(0.5), b=torch.tensor(0.25), c=torch.tensor([2]), d=numpy.array(3))
    assert trial.reports() == [{"step": 4, "a": 0.5, "b": 0.25, "c": 2, "d": 3}]


def test_what_is_not_finite_is_reported(trial):
    hpo.report(1, a=math.nan, b=math.inf, c=-math.inf, d=10**400)
    assert trial.metrics.read_text() == '{"step": 1, "a": NaN, "b": Infinity, "c": -Infinity, "d": Infinity}\n'


def test_without_hpo_reports_go_to_the_standard_output(capfd):
    hpo.report(1, loss=0.5)
    assert capfd.readouterr().out == '[hpo] {"step": 1, "loss": 0.5}\n'


def test_what_is_called_step_is_the_step_and_no_metric(trial):
    trial.set("HPO_BUDGET", "7")
    hpo.report(step=6, loss=0.5)
    # Lightning users log their epoch under this name, counted from 0.
    hpo.report(6, {"step": 5.0, "loss": 0.25})
    with pytest.raises(hpo.Stop):
        hpo.report(step=7, loss=0.125)
    assert trial.reports() == [{"step": 6, "loss": 0.5}, {"step": 6, "loss": 0.25}, {"step": 7, "loss": 0.125}]


@pytest.mark.parametrize("value", ["low", None, [1.0, 2.0], b"1", 1j])
def test_what_is_no_number_is_refused(trial, value):
    with pytest.raises(TypeError, match="metric 'loss' must be a number"):
        hpo.report(1, loss=value)
    assert trial.reports() == []


@pytest.mark.parametrize("step", [-1, 1.5, "3", math.nan])
def test_a_step_is_a_whole_number(trial, step):
    with pytest.raises(TypeError, match="step"):
        hpo.report(step, loss=1.0)


def test_only_the_first_of_many_processes_reports(trial):
    trial.set("RANK", "1")
    hpo.report(1, loss=0.5)
    assert hpo.save_checkpoint(1, lambda path: path.write_text("x")) is None
    assert trial.reports() == [] and trial.saved() == []
    trial.set("RANK", "0")
    hpo.report(1, loss=0.5)
    assert len(trial.reports()) == 1


def test_reports_of_many_threads_are_whole_lines(trial):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: hpo.report(i, loss=i / 7), range(200)))
    assert sorted(line["step"] for line in trial.reports()) == list(range(200))


# The end


def test_the_budget_stops_after_the_report_and_its_checkpoint(trial):
    trial.set("HPO_BUDGET", "3")
    saved = []
    for step in (1, 2):
        hpo.report(step, loss=1.0, save=lambda: saved.append(step))
    with pytest.raises(hpo.Stop, match="budget of 3"):
        hpo.report(3, loss=1.0, save=lambda: saved.append(3))
    assert saved == [1, 2, 3] and len(trial.reports()) == 3


def test_a_stop_that_nobody_catches_is_a_good_end():
    script = """
        import hpo
        for step in range(1, 100):
            try:
                hpo.report(step, loss=1 / step)
            except Exception:
                raise AssertionError("no Exception is raised")
    """
    done = run(script, HPO_BUDGET=4)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 4


def test_a_loop_over_steps_ends_by_itself(trial):
    trial.set("HPO_BUDGET", "3")
    trial.set("HPO_BUDGET_MAX", "27")
    behind = []
    for step in hpo.steps(30):
        hpo.report(step, loss=1.0)
        behind.append(step)
    assert behind == [1, 2, 3]
    assert list(hpo.steps(start=3)) == [3] and list(hpo.steps(start=4)) == []
    trial.unset("HPO_BUDGET")
    assert len(list(hpo.steps(30))) == 27
    trial.unset("HPO_BUDGET_MAX")
    assert len(list(hpo.steps(30))) == 30
    with pytest.raises(ValueError, match="how many steps"):
        hpo.steps()
    # Outside of the loop again.
    trial.set("HPO_BUDGET", "3")
    with pytest.raises(hpo.Stop):
        hpo.report(3, loss=1.0)


def test_later_is_an_exit_code():
    done = run("import hpo; hpo.retry_later('the GPU is busy')")
    assert done.returncode == 75 and "the GPU is busy" in done.stderr


# The control file


def test_somebody_stops_the_trial(trial):
    hpo.report(1, loss=1.0)
    trial.say(json.dumps({"stop": False}))
    hpo.report(2, loss=1.0)
    assert not hpo.should_stop()
    trial.say(json.dumps({"stop": True}))
    assert hpo.should_stop()
    with pytest.raises(hpo.Stop, match="stopped"):
        hpo.report(3, loss=1.0)
    assert len(trial.reports()) == 3


def test_a_stop_ends_the_loop_after_the_step(trial):
    done = []
    for step in hpo.steps(30):
        if step == 4:
            trial.say('{"stop": true}')
        hpo.report(step, loss=1.0)
        done.append(step)
    assert done == [1, 2, 3, 4]


def test_changed_parameters_are_told_once(trial):
    heard = []
    hpo.on_change(heard.append)
    assert hpo.report(1, loss=1.0) == {}
    trial.say('{"lr": 0.1}')
    assert hpo.report(2, loss=1.0) == {"lr": 0.1}
    assert hpo.report(3, loss=1.0) == {}
    trial.say('{"lr": 0.1, "momentum": 0.5}')
    assert hpo.report(4, loss=1.0) == {"momentum": 0.5}
    trial.say('{"lr": 0.05, "momentum": 0.5}')
    assert hpo.report(5, loss=1.0) == {"lr": 0.05}
    assert heard == [{"lr": 0.1}, {"momentum": 0.5}, {"lr": 0.05}]


def test_a_control_file_that_cannot_be_read_changes_nothing(trial):
    trial.say('{"lr": 0.1}')
    assert hpo.report(1, loss=1.0) == {"lr": 0.1}
    for text in ["{", "[1]", "\xff", ""]:
        trial.say(text)
        assert hpo.report(2, loss=1.0) == {}
    trial.control.unlink()
    assert hpo.report(3, loss=1.0) == {}
    trial.control.mkdir()
    assert hpo.report(4, loss=1.0) == {}


# Checkpoints


def save(step, text="x", **more):
    return hpo.save_checkpoint(step, lambda path: path.write_text(f"{text}{step}"), **more)


def test_the_last_checkpoint_is_kept_and_found(trial):
    assert hpo.resume_from() is None
    for step in (1, 2, 10):
        saved = save(step, suffix=".pt")
    assert saved == (10, trial.checkpoints / "checkpoint-10.pt")
    assert trial.saved() == ["checkpoint-10.pt"]
    trial.next_attempt()
    found = hpo.resume_from()
    assert found == saved
    with open(found) as file:
        assert file.read() == "x10"


def test_more_are_kept_for_going_back_and_the_later_ones_are_forgotten(trial):
    trial.set("HPO_KEEP_CHECKPOINTS", "3")
    for step in range(1, 6):
        save(step)
    assert trial.saved() == ["checkpoint-3", "checkpoint-4", "checkpoint-5"]
    trial.next_attempt(HPO_RESUME_STEP=4)
    assert hpo.resume_from().step == 4
    assert trial.saved() == ["checkpoint-3", "checkpoint-4"]
    # Begun anew from there: what comes later is found again, as it is not after the step.
    trial.next_attempt(HPO_RESUME_STEP=2)
    assert hpo.resume_from() is None and trial.saved() == []


def test_a_directory_is_a_checkpoint_too(trial):
    def write(path):
        path.mkdir()
        (path / "inner").mkdir()
        (path / "inner" / "weights").write_text("w")

    for step in (1, 2, 2):
        hpo.save_checkpoint(step, write)
    assert trial.saved() == ["checkpoint-2"]
    assert (trial.checkpoints / "checkpoint-2" / "inner" / "weights").read_text() == "w"


def test_what_was_not_finished_is_never_read_and_goes_away(trial):
    save(1)

    def broken(path):
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hpo.save_checkpoint(2, broken)
    trial.next_attempt()
    assert hpo.resume_from().step == 1
    save(3)
    assert trial.saved() == ["checkpoint-3"]
    with pytest.raises(RuntimeError, match="has written nothing"):
        hpo.save_checkpoint(4, lambda path: None)


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    script = """
        import hpo
        step = hpo.resume_from().step if hpo.resume_from() else 0
        if step:
            data = open(hpo.resume_from(), "rb").read()
            assert len(data) == 1 << 20 and set(data) == {step % 256}, step
        print("ready", flush=True)
        while True:
            step += 1
            hpo.save_checkpoint(step, lambda path: path.write_bytes(bytes([step % 256]) * (1 << 20)))
            print(step, flush=True)
    """
    place = tmp_path / "checkpoints"
    place.mkdir()
    environment = {**os.environ, "HPO_CHECKPOINT_DIR": str(place), "HPO_RESUME_FROM": str(place)}
    seen = 0
    for lines in (3, 1, 2, 7, 4, 2):
        command = [sys.executable, "-c", textwrap.dedent(script)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            said = [child.stdout.readline() for _ in range(lines + 1)]
            child.kill()
            assert said[0] == "ready\n", child.stderr.read()
        assert int(said[-1]) >= seen + lines
        seen = int(said[-1])


def test_without_hpo_nothing_is_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert save(1) is None and list(tmp_path.iterdir()) == []


# Memory


def test_without_a_limit_or_a_gpu_memory_is_left_alone(trial, monkeypatch):
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    assert hpo.limit_gpu_memory() is None
    trial.set("HPO_GPU_MEMORY_MIB", "1024")
    trial.set("CUDA_VISIBLE_DEVICES", "")
    assert hpo.limit_gpu_memory() is None
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ


def test_without_torch_the_share_is_taken_of_what_the_driver_says(tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 8192\n")
    tool.chmod(0o755)
    script = """
        import os, hpo
        print(hpo.limit_gpu_memory(), os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"])
    """
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = run(script, HPO_GPU_MEMORY_MIB=2560, PATH=path, CUDA_VISIBLE_DEVICES="GPU-1")
    assert done.stdout == "0.25 0.2500\n", done.stderr


def test_a_gpu_is_shared_by_fraction(trial):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        # Not for want of a package: there is nothing to limit on this machine.
        return
    total = torch.cuda.get_device_properties(0).total_memory / 2**20
    trial.set("HPO_GPU_MEMORY_MIB", str(int(total / 4) + 512))
    assert hpo.limit_gpu_memory() == pytest.approx(0.25, abs=1e-3)
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(int(total * 2**20 / 2), dtype=torch.uint8, device="cuda")
