"""The Python side of `hpo`: for training scripts that it starts, and its searchers for other programs.

A training script needs two of these::

    params = hpo.params(lr=1e-3)            # what hpo wants tried; these values when run alone
    hpo.report(epoch, val_loss=loss)        # once per epoch

Everything works without `hpo` too, so the same script runs alone. Pure standard library; the modules
``hpo.torch``, ``hpo.keras``, ``hpo.lightning``, ``hpo.transformers`` and ``hpo.optuna`` import what
they are named after, and nothing imports them for you.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from hpo._checkpoint import Checkpoint, keep_checkpoints, resume_from, resume_step, save_checkpoint
from hpo._control import on_change, should_stop
from hpo._environment import Params, budget, directory, horizon, in_study, params, seed
from hpo._memory import limit_gpu_memory
from hpo._report import Stop, report, retry_later, steps
from hpo._search import Searcher, SearcherError, Suggestion

if TYPE_CHECKING:
    from pathlib import Path

    #: Where this trial keeps checkpoints, the same for all of its processes; None without hpo.
    checkpoint_dir: Optional[Path]

__version__ = "0.1.0"

__all__ = [
    "Checkpoint",
    "Params",
    "Searcher",
    "SearcherError",
    "Stop",
    "Suggestion",
    "budget",
    "checkpoint_dir",
    "horizon",
    "in_study",
    "keep_checkpoints",
    "limit_gpu_memory",
    "on_change",
    "params",
    "report",
    "resume_from",
    "resume_step",
    "retry_later",
    "save_checkpoint",
    "seed",
    "should_stop",
    "steps",
]


def __getattr__(name: str) -> object:
    if name == "checkpoint_dir":
        return directory("HPO_CHECKPOINT_DIR")
    raise AttributeError(f"module 'hpo' has no attribute {name!r}")
