"""Reports, and when to stop."""

from __future__ import annotations

import json
import math
import numbers
import os
import sys
import threading
from typing import Any, Callable, Dict, Iterator, Mapping, NoReturn, Optional

from hpo import _control
from hpo._environment import budget, horizon

#: The exit code that says "not now": the trial is started again later.
RETRY_LATER = 75


class Stop(SystemExit):
    """This trial shall end now: its budget is used up, or somebody stopped it.

    Nobody has to catch it: it ends the process with exit code 0. ``except Exception`` lets it through.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(0)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class _State:
    """Loops of :func:`steps` that are running, and the last step reported."""

    loops = 0
    last_step: Optional[int] = None
    lock = threading.Lock()


def report(
    step: Optional[int] = None,
    metrics: Optional[Mapping[str, Any]] = None,
    /,
    *,
    save: Optional[Callable[[], object]] = None,
    **more: Any,
) -> Dict[str, Any]:
    """Reports metrics at a step, and says what has changed.

    Args:
        step: How far the training is: epochs, or whatever the study counts in; rising. One more than
            the last if absent.
        metrics: Numbers by name, where keywords do not do (``{"val/loss": 0.3}``). What is called ``step`` there is no
            metric: it is the step, where that is absent.
        save: Called after the report and before Stop is raised: saves the checkpoint of this step.
        more: Numbers by name. Scalars of torch, numpy, JAX and TensorFlow are numbers. NaN and
            infinities are welcome: they end a diverged trial.

    Returns:
        The parameters that somebody has set since the last report (``hpo set``); mostly empty.

    Raises:
        Stop: the budget is used up, or somebody stopped the trial. Not within a loop over
            :func:`hpo.steps`, which ends instead.
        TypeError: a metric is no number.
    """
    values = {name: scalar(name, value) for name, value in {**(metrics or {}), **more}.items()}
    # The line has one `step`: a metric of that name would take the place of the step itself.
    named: Any = values.pop("step", None)
    if step is None:
        step = named
    if step is None:
        step = 1 if _State.last_step is None else _State.last_step + 1
    step = whole_step(step)
    _State.last_step = step
    if is_first_process():
        write({"step": step, **values})
    changed = _control.poll()
    if save is not None:
        save()
    reason = why_stop(step)
    if reason and not _State.loops:
        raise Stop(reason)
    return changed


def steps(last: Optional[int] = None, *, start: int = 1) -> Iterator[int]:
    """The steps to train: ``start``, …, up to the budget, the full length, or ``last`` without `hpo`.

    Inside the loop nothing raises Stop: it ends after the step in which the trial was stopped, so that
    code behind the report (saving a checkpoint) still runs.

    Raises:
        ValueError: neither `hpo` nor ``last`` says how many steps there are.
    """
    full = horizon() if last is None else horizon(last)
    most = budget() if full is None else budget(full)
    if most is None:
        raise ValueError("how many steps? hpo.steps(30): neither HPO_BUDGET nor HPO_BUDGET_MAX is set")
    return _steps(start, most)


def _steps(start: int, most: int) -> Iterator[int]:
    _State.loops += 1
    try:
        for step in range(start, most + 1):
            if step > start and _control.should_stop():
                return
            yield step
    finally:
        _State.loops -= 1


def why_stop(step: int) -> Optional[str]:
    """Why to stop after this step; None: go on."""
    most = budget()
    if most is not None and step >= most:
        return f"the budget of {most} steps is used up"
    if _control.should_stop():
        return "somebody stopped the trial"
    return None


def retry_later(reason: str) -> NoReturn:
    """Ends the process, to be started again later: a busy GPU, a lost mount.

    `hpo` waits 1 s, then 2 s, 4 s, … up to 5 min, and gives up after 20 times.
    """
    print(f"hpo: try again later: {reason}", file=sys.stderr, flush=True)
    raise SystemExit(RETRY_LATER)


def is_first_process() -> bool:
    """Whether this is the one process of a distributed training that reports (rank 0)."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) in ("0", "")


def whole_step(step: Any) -> int:
    """The step as a whole number from 0."""
    number = scalar("step", step)
    if not float(number).is_integer() or number < 0:
        raise TypeError(f"step must be a whole number from 0, not {step!r}")
    return int(number)


def scalar(name: str, value: Any) -> float:
    """A metric as a plain number, whichever library it is from."""
    if isinstance(value, (bool, int, float)):
        return value
    for method in ("item", "numpy", "__float__"):
        if isinstance(value, (str, bytes)) or not hasattr(value, method):
            continue
        try:
            inner = getattr(value, method)()
            return inner if isinstance(inner, (bool, int, float)) else float(inner)
        except (TypeError, ValueError, RuntimeError):
            continue
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(f"metric {name!r} must be a number, not {value!r} ({type(value).__name__})")


def is_scalar(value: Any) -> bool:
    """Whether it can be a metric."""
    try:
        scalar("", value)
    except TypeError:
        return False
    return True


def write(line: Dict[str, Any]) -> None:
    """Writes a report in one piece: to the metrics file, or without one to standard output."""
    path = os.environ.get("HPO_METRICS_FILE")
    text = json.dumps({name: widen(value) for name, value in line.items()}, ensure_ascii=False)
    with _State.lock:
        if path:
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
            try:
                data = (text + "\n").encode()
                while data:
                    data = data[os.write(file, data) :]
            finally:
                os.close(file)
        else:
            print("[hpo] " + text, flush=True)


def widen(value: float) -> float:
    """Whole numbers that are too long for other readers as floats."""
    if isinstance(value, int) and abs(value) >= 1 << 63:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return value
