"""A callback for Lightning::

    trainer = lightning.Trainer(max_epochs=30, callbacks=[hpo.lightning.HpoCallback()])
    trainer.fit(model, data, ckpt_path=hpo.lightning.resume_path())

Reports what the module logs, ends the training when `hpo` wants it, and saves and resumes checkpoints.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

try:
    from lightning.pytorch.callbacks import Callback
except ImportError:
    from pytorch_lightning.callbacks import Callback

from hpo import _control
from hpo._checkpoint import Checkpoint, checkpoints, force, prune, resume_from
from hpo._environment import directory, in_study
from hpo._report import Stop, is_scalar, report
from hpo.torch import scale_rates, set_rate

__all__ = ["HpoCallback", "resume_path"]


def resume_path() -> Optional[str]:
    """The checkpoint to go on from, for ``trainer.fit(…, ckpt_path=…)``; None: start afresh."""
    checkpoint = resume_from()
    return str(checkpoint.path) if checkpoint else None


class HpoCallback(Callback):
    """Connects ``Trainer.fit`` with `hpo`.

    Step n is the end of epoch n, counted from 1. Reported is what the module has logged by then
    (``self.log("val_loss", …)``), after the validation of the epoch.

    Args:
        checkpoint: Saves a checkpoint of Lightning's own kind after each epoch, for
            :func:`resume_path`. Nothing is saved without `hpo`.
        every: Saves after every so many epochs, and always at the last.
        follow_control: Sets the optimizers' learning rate when somebody changes ``lr`` or
            ``learning_rate`` of the running trial.
    """

    def __init__(self, *, checkpoint: bool = True, every: int = 1, follow_control: bool = True) -> None:
        super().__init__()
        self.checkpoint = checkpoint
        self.every = max(1, every)
        self.follow_control = follow_control
        self._trainer: Any = None
        self._configured: List[float] = []
        self._before: List[float] = []

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self._trainer = trainer
        # The optimizers are new here: the restored ones come after this.
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self._configured = [float(group.get("initial_lr", group["lr"])) for group in groups]

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if self.follow_control:
            _control.on_change(self._changed)
        if self._before and self._configured and self._before[0] > 0:
            factor = self._configured[0] / self._before[0]
            if factor != 1.0:
                # Another rate than the checkpoint was begun with: the schedule goes on at its place.
                for optimizer in trainer.optimizers:
                    scale_rates(optimizer, factor)
                for config in trainer.lr_scheduler_configs:
                    scale_rates(config.scheduler, factor)

    def on_train_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
        if _agreed(trainer, _control.should_stop()):
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        step = trainer.current_epoch + 1
        metrics = {name: value for name, value in trainer.callback_metrics.items() if is_scalar(value)}
        stop = False
        try:
            report(step, metrics)
        except Stop:
            stop = True
        if _agreed(trainer, stop):
            trainer.should_stop = True

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        # Schedulers have made their step for the epoch before only now. What is saved shall say that the
        # epoch is over and no other begun, as at the end of the training.
        epoch = trainer.current_epoch
        if epoch % self.every == 0:
            progress = trainer.fit_loop.epoch_progress
            for count in (progress.current, progress.total):
                count.ready -= 1
            self._save(trainer, epoch)
            for count in (progress.current, progress.total):
                count.ready += 1

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._save(trainer, trainer.current_epoch)
        _control.forget(self._changed)

    def state_dict(self) -> Dict[str, Any]:
        return {"rates": self._configured}

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        self._before = list(state_dict.get("rates", []))

    def _save(self, trainer: Any, epoch: int) -> None:
        """Saves the checkpoint of so many finished epochs. All processes take part, as Lightning wants."""
        place = directory("HPO_CHECKPOINT_DIR")
        if place is None or not in_study() or not self.checkpoint or epoch < 1:
            return
        final = place / f"checkpoint-{epoch}.ckpt"
        if Checkpoint(epoch, final) in checkpoints(place):
            return
        aside = place / f".aside-lightning-{epoch}"
        trainer.save_checkpoint(str(aside))
        if trainer.is_global_zero:
            force(aside)
            aside.replace(final)
            force(place)
            prune(place)

    def _changed(self, new: Dict[str, Any]) -> None:
        rate = _control.new_rate(new)
        if rate is not None:
            schedulers = [config.scheduler for config in self._trainer.lr_scheduler_configs]
            factor = set_rate(self._trainer.optimizers, schedulers, rate)
            # The next process is configured with it.
            self._configured = [before * factor for before in self._configured]


def _agreed(trainer: Any, stop: bool) -> bool:
    """Whether any process wants to stop: they must do so together."""
    if trainer.world_size == 1:
        return stop
    return bool(trainer.strategy.reduce_boolean_decision(stop, all=False))
