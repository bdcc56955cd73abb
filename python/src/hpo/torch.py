"""Checkpoints of PyTorch scripts in two lines::

    first = hpo.torch.restore(model=model, optimizer=optimizer, scheduler=scheduler)
    for epoch in hpo.steps(30, start=first):
        ...
        hpo.report(epoch, val_loss=loss)
        hpo.torch.save(epoch, model=model, optimizer=optimizer, scheduler=scheduler)

Kept are the states of the objects (whatever has ``state_dict`` and ``load_state_dict``) and of the
random generators, so that a resumed training goes on as if nothing had happened.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional

import torch

from hpo import _control
from hpo._checkpoint import Checkpoint, resume_from, save_checkpoint

#: The learning rates that the script had set when it started, by name: of the object and of its groups.
_configured: Dict[str, List[float]] = {}


def save(step: int, **objects: Any) -> Optional[Checkpoint]:
    """Saves the objects' states as the checkpoint of a step. Nothing happens without `hpo`."""
    rates = {name: _configured.get(name) or _rates(object_) for name, object_ in objects.items()}
    state = {
        "step": step,
        "objects": {name: object_.state_dict() for name, object_ in objects.items()},
        "rates": {name: rates_ for name, rates_ in rates.items() if rates_},
        "random": _random_state(),
    }

    def write(path: Path) -> None:
        torch.save(state, path)

    return save_checkpoint(step, write, suffix=".pt")


def restore(*, map_location: Any = None, follow_control: bool = True, **objects: Any) -> int:
    """Brings the objects back to the newest checkpoint, and returns the first step to train now.

    When the script has set another learning rate than the one the checkpoint was begun with (a trial
    that was rescued from divergence), the restored rates and those of schedulers are scaled by the
    ratio: the schedule goes on at the same place of its curve.

    Args:
        map_location: As in ``torch.load``; absent: tensors come back on the CPU, from where
            ``load_state_dict`` moves them.
        follow_control: Sets the optimizers' learning rate when somebody changes ``lr`` or
            ``learning_rate`` of the running trial.
        objects: As in :func:`save`, under the same names.
    """
    for name, object_ in objects.items():
        _configured[name] = _rates(object_)
    if follow_control:
        _follow(objects)
    checkpoint = resume_from()
    if checkpoint is None:
        return 1
    state = torch.load(checkpoint.path, map_location=map_location or "cpu", weights_only=False)
    missing = [name for name in objects if name not in state["objects"]]
    if missing:
        raise KeyError(f"{checkpoint.path} has no {', '.join(missing)}, but {', '.join(state['objects'])}")
    factor = _factor(state["rates"])
    for name, object_ in objects.items():
        object_.load_state_dict(state["objects"][name])
    if factor != 1.0:
        _scale_all(objects.values(), factor)
    _restore_random(state["random"])
    return int(state["step"]) + 1


def set_rate(optimizers: Iterable[Any], schedulers: Iterable[Any], rate: float) -> float:
    """Sets the learning rate, and says by which factor it has changed.

    It is that of the first group; other groups keep their ratio to it, and schedulers go on at the same
    place of their curve over the new rate.
    """
    factor = 1.0
    for optimizer in optimizers:
        before = _rates(optimizer)
        if before and before[0] > 0:
            factor = rate / before[0]
            scale_rates(optimizer, factor)
    _scale_all(schedulers, factor)
    return factor


def _scale_all(objects: Iterable[Any], factor: float) -> None:
    """Scales each once: schedulers that are given beside the one that they belong to (SequentialLR) are scaled with it."""
    objects = list(objects)
    inner = {id(part) for whole in objects for part in getattr(whole, "_schedulers", [])}
    for object_ in objects:
        if id(object_) not in inner:
            scale_rates(object_, factor)


def scale_rates(object_: Any, factor: float) -> None:
    """Scales the learning rates of an optimizer's groups, or those a scheduler counts from."""
    for group in getattr(object_, "param_groups", []):
        for key in ("lr", "initial_lr", "max_lr", "min_lr"):
            if isinstance(group.get(key), (int, float)):
                group[key] *= factor
    for key in ("base_lrs", "_last_lr", "max_lrs"):
        rates = getattr(object_, key, None)
        if isinstance(rates, list):
            setattr(object_, key, [rate * factor for rate in rates])
    # Of several one after the other (SequentialLR) each begins at its own base.
    for inner in getattr(object_, "_schedulers", []):
        scale_rates(inner, factor)


def _rates(object_: Any) -> List[float]:
    groups = getattr(object_, "param_groups", [])
    return [float(group.get("initial_lr", group["lr"])) for group in groups]


def _factor(before: Dict[str, List[float]]) -> float:
    """How much the script's learning rate is now of what it was."""
    for name, rates in before.items():
        now = _configured.get(name)
        if now and rates and rates[0] > 0:
            return now[0] / rates[0]
    return 1.0


def _follow(objects: Dict[str, Any]) -> None:
    optimizers = {name: object_ for name, object_ in objects.items() if hasattr(object_, "param_groups")}
    marks = ("base_lrs", "_schedulers")
    schedulers = [object_ for object_ in objects.values() if any(hasattr(object_, mark) for mark in marks)]

    def changed(new: Dict[str, Any]) -> None:
        rate = _control.new_rate(new)
        if rate is None:
            return
        factor = set_rate(optimizers.values(), schedulers, rate)
        for name in optimizers:
            # The next process is configured with it.
            _configured[name] = [before * factor for before in _configured.get(name, [])]

    if optimizers:
        _control.on_change(changed)


def _random_state() -> Dict[str, Any]:
    state: Dict[str, Any] = {"python": random.getstate(), "torch": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    numpy = _numpy()
    if numpy is not None:
        state["numpy"] = numpy.random.get_state()
    return state


def _restore_random(state: Dict[str, Any]) -> None:
    random.setstate(state["python"])
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    numpy = _numpy()
    if "numpy" in state and numpy is not None:
        numpy.random.set_state(state["numpy"])


def _numpy() -> Any:
    return sys.modules.get("numpy")
