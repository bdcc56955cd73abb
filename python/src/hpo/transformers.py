"""A callback for the Hugging Face Trainer::

    arguments = TrainingArguments(output_dir=hpo.transformers.output_dir("out"), eval_strategy="epoch", …)
    trainer = Trainer(model, arguments, …, callbacks=[hpo.transformers.HpoCallback()])
    trainer.train(resume_from_checkpoint=hpo.transformers.resume_path())

Reports every evaluation, ends the training when `hpo` wants it, and saves and resumes checkpoints.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

from transformers import TrainerCallback

from hpo import _control
from hpo._checkpoint import force, keep_checkpoints, remove, resume_step
from hpo._environment import directory, in_study
from hpo._report import Stop, is_scalar, report
from hpo.torch import scale_rates, set_rate

__all__ = ["HpoCallback", "output_dir", "resume_path"]

_NAME = re.compile(r"^checkpoint-(\d+)$")
#: Written into a checkpoint when all else of it is on the disk: without it, it is half.
_FACTS = "hpo.json"


class _Saved(NamedTuple):
    step: int
    path: Path
    rates: List[float]


def output_dir(without: str) -> str:
    """Where the Trainer shall keep checkpoints: the trial's directory for them, or this without `hpo`."""
    return str(directory("HPO_CHECKPOINT_DIR") or without)


def resume_path() -> Optional[str]:
    """The checkpoint to go on from, for ``trainer.train(resume_from_checkpoint=…)``; None: start afresh.

    One that was only half written when the process was killed is passed over.
    """
    place = directory("HPO_RESUME_FROM")
    found = _saved(place) if place else []
    most = resume_step()
    if most is not None:
        for late in [saved for saved in found if saved.step > most]:
            remove(late.path)
            found.remove(late)
    return str(found[-1].path) if found else None


class HpoCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Connects ``Trainer.train`` with `hpo`.

    Reported is every evaluation (``eval_loss``, …) with the last training ``loss`` and ``learning_rate``
    that were logged. Needs ``eval_strategy``.

    Args:
        unit: What a step of the study is: ``epoch`` (finished epochs; for evaluations at the end of
            each) or ``step`` (optimizer updates). Absent: as ``eval_strategy`` says.
        checkpoint: Saves a checkpoint of the Trainer's own kind after each evaluation, for
            :func:`resume_path`. Nothing is saved without `hpo`.
        follow_control: Sets the learning rate when somebody changes ``lr`` or ``learning_rate`` of
            the running trial.
    """

    def __init__(
        self, *, unit: Optional[str] = None, checkpoint: bool = True, follow_control: bool = True
    ) -> None:
        if unit not in (None, "epoch", "step"):
            raise ValueError(f"unit is 'epoch' or 'step', not {unit!r}")
        self.unit = unit
        self.checkpoint = checkpoint
        self.follow_control = follow_control
        self._logged: Dict[str, Any] = {}
        self._optimizer: Any = None
        self._scheduler: Any = None
        self._begun: List[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._optimizer, self._scheduler = more.get("optimizer"), more.get("lr_scheduler")
        self._begun = [float(args.learning_rate)]
        if self.follow_control:
            _control.on_change(self._changed)
        if state.global_step and in_study():
            self._scale(args, state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        for name in ("loss", "learning_rate", "grad_norm"):
            if is_scalar((logs or {}).get(name)):
                self._logged[name] = logs[name]

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if _control.should_stop():
            control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **more: Any) -> None:
        if self._optimizer is None:
            return  # trainer.evaluate() by itself
        values = {name: value for name, value in (metrics or {}).items() if is_scalar(value)}
        values.pop("epoch", None)
        try:
            report(self._step(args, state), {**self._logged, **values})
        except Stop:
            control.should_training_stop = True
        if self.checkpoint and in_study():
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        place = directory("HPO_CHECKPOINT_DIR")
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if place is None or not state.is_world_process_zero or not path.is_dir():
            return
        force(path)
        facts = {"step": self._step(args, state), "rates": self._begun}
        (path / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
        force(path)
        for old in _saved(Path(args.output_dir))[: -keep_checkpoints()]:
            remove(old.path)

    def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        _control.forget(self._changed)
        self._optimizer = None

    def _step(self, args: Any, state: Any) -> int:
        strategy = getattr(args.eval_strategy, "value", args.eval_strategy)
        unit = self.unit or ("epoch" if strategy == "epoch" else "step")
        return round(state.epoch or 0) if unit == "epoch" else int(state.global_step)

    def _scale(self, args: Any, global_step: int) -> None:
        """After going on with another rate than the checkpoint was begun with: the same place of the curve."""
        path = Path(args.output_dir) / f"checkpoint-{global_step}"
        before = next((saved.rates for saved in _saved(path.parent) if saved.path == path), [])
        if before and before[0] > 0 and before[0] != self._begun[0]:
            factor = self._begun[0] / before[0]
            scale_rates(self._optimizer, factor)
            scale_rates(self._scheduler, factor)

    def _changed(self, new: Dict[str, Any]) -> None:
        rate = _control.new_rate(new)
        if rate is not None and self._optimizer is not None:
            # The next process is configured with it.
            self._begun = [rate]
            set_rate([self._optimizer], [self._scheduler], rate)


def _saved(place: Path) -> List[_Saved]:
    """The whole checkpoints in a directory, oldest first."""
    found = []
    for path in place.iterdir() if place.is_dir() else ():
        if not _NAME.match(path.name):
            continue
        try:
            facts = json.loads((path / _FACTS).read_text(encoding="utf-8"))
            found.append(_Saved(int(facts["step"]), path, list(facts["rates"])))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(found)
