"""A callback for Keras 3 (any backend)::

    model.fit(x, y, validation_data=(xv, yv), epochs=30, callbacks=[hpo.keras.HpoCallback()])

Reports every epoch's logs, ends the training when `hpo` wants it, and saves and resumes checkpoints.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Optional

import keras

from hpo import _control
from hpo._checkpoint import resume_from, save_checkpoint
from hpo._environment import in_study
from hpo._report import Stop, is_scalar, report

_WEIGHTS = "model.weights.h5"
_FACTS = "training.json"

__all__ = ["HpoCallback"]


class HpoCallback(keras.callbacks.Callback):
    """Connects ``fit`` with `hpo`.

    Step n is the end of epoch n, counted from 1. Reported are the epoch's logs (``loss``, ``val_loss``,
    ``accuracy``, …); name the study's metric as Keras names it.

    Args:
        checkpoint: Saves weights, the optimizer's state and the epoch after each epoch, and goes on from
            there when `hpo` continues the trial. Nothing is saved without `hpo`.
        every: Saves after every so many epochs, and always at the last.
        follow_control: Sets the learning rate when somebody changes ``lr`` or ``learning_rate`` of the
            running trial.
    """

    def __init__(self, *, checkpoint: bool = True, every: int = 1, follow_control: bool = True) -> None:
        super().__init__()
        self.checkpoint = checkpoint
        self.every = max(1, every)
        self.follow_control = follow_control
        self._configured: Optional[float] = None

    def on_train_begin(self, logs: Any = None) -> None:
        self._configured = self._rate()
        if self.follow_control:
            _control.on_change(self._changed)
        if self.checkpoint and in_study():
            self._resume()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        step = epoch + 1
        metrics = {name: value for name, value in (logs or {}).items() if is_scalar(value)}
        try:
            report(step, metrics)
        except Stop:
            self.model.stop_training = True
        if self.checkpoint and in_study():
            last = self.model.stop_training or step >= (self.params or {}).get("epochs", step)
            if last or step % self.every == 0:
                self._save(step)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        # Between epochs only a wish to end is heeded at once: metrics come with the epoch.
        if _control.should_stop():
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        _control.forget(self._changed)

    def _save(self, step: int) -> None:
        facts = {"epoch": step, "learning_rate": self._configured}

        def save(path: Path) -> None:
            path.mkdir()
            self.model.save_weights(str(path / _WEIGHTS))
            (path / _FACTS).write_text(json.dumps(facts), encoding="utf-8")

        save_checkpoint(step, save)

    def _resume(self) -> None:
        checkpoint = resume_from()
        if checkpoint is None:
            return
        if not self.model.built:
            raise ValueError(
                "the model must be built before fit() to go on from a checkpoint: begin it with keras.Input(…), "
                "or HpoCallback(checkpoint=False)"
            )
        facts = json.loads((checkpoint.path / _FACTS).read_text(encoding="utf-8"))
        optimizer = self.model.optimizer
        if optimizer is not None and not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        self.model.load_weights(str(checkpoint.path / _WEIGHTS))
        before, now = facts.get("learning_rate"), self._configured
        if before and now is not None and now != before:
            # Another rate than the checkpoint was begun with: what callbacks had made of it is kept.
            restored = self._rate()
            if restored is not None:
                self._set_rate(restored * now / before)
        self.model._initial_epoch = facts["epoch"]

    def _changed(self, new: Dict[str, Any]) -> None:
        rate = _control.new_rate(new)
        if rate is not None and self._rate() is not None:
            # The next process is configured with it.
            self._configured = rate
            self._set_rate(rate)

    def _rate(self) -> Optional[float]:
        """The optimizer's learning rate; None when a schedule makes it."""
        optimizer = self.model.optimizer
        inner = getattr(optimizer, "_learning_rate", None)
        if optimizer is None or isinstance(inner, keras.optimizers.schedules.LearningRateSchedule):
            return None
        return float(keras.ops.convert_to_numpy(optimizer.learning_rate))

    def _set_rate(self, rate: float) -> None:
        if self._rate() is not None:
            self.model.optimizer.learning_rate = rate
