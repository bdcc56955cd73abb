"""What `hpo` tells a trial: the variables of docs/protocol.md, read when they are asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, overload


class Params(Dict[str, Any]):
    """A configuration: a dict whose items are attributes too (``params.lr``)."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            there = ", ".join(self) or "none"
            raise AttributeError(
                f"no parameter {name!r} in this trial (there are: {there}); a parameter that is "
                f"active in some trials only needs a default: hpo.params({name}=…)"
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]


def in_study() -> bool:
    """Whether `hpo` has started this process (or one that started it)."""
    return "HPO_TRIAL" in os.environ


def params(defaults: Optional[Mapping[str, Any]] = None, /, **more: Any) -> Params:
    """The configuration to be tried.

    What is given here counts where `hpo` says nothing: for parameters that are not searched or not
    active in this trial, and for all when the script runs without `hpo`.

    Raises:
        RuntimeError: `hpo` has started the script, but its file with the configuration cannot be read.
    """
    text = None
    path = os.environ.get("HPO_PARAMS_FILE")
    if path:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            text = os.environ.get("HPO_PARAMS")
            if text is None:
                raise RuntimeError(f"the configuration of this trial cannot be read: {error}") from error
    else:
        text = os.environ.get("HPO_PARAMS")
    try:
        given = json.loads(text) if text else {}
    except ValueError as error:
        raise RuntimeError(f"the configuration of this trial is no JSON: {error}") from error
    if not isinstance(given, dict):
        raise RuntimeError("the configuration of this trial is no JSON object")
    return Params({**(defaults or {}), **more, **{name: number(value) for name, value in given.items()}})


def number(value: Any) -> Any:
    """JSON has no word for what is not finite; `hpo` writes it as a text."""
    if value in ("NaN", "Infinity", "-Infinity") and isinstance(value, str):
        return float(value.replace("Infinity", "inf"))
    return value


def whole(name: str) -> Optional[int]:
    """A variable that holds a whole number; None where it is absent or holds something else."""
    try:
        return int(os.environ[name])
    except (KeyError, ValueError):
        return None


def directory(name: str) -> Optional[Path]:
    """A variable that holds a path."""
    value = os.environ.get(name)
    return Path(value) if value else None


@overload
def budget() -> Optional[int]: ...
@overload
def budget(default: int) -> int: ...
def budget(default: Optional[int] = None) -> Optional[int]:
    """The step after which to stop this time; ``default`` when `hpo` says none."""
    found = whole("HPO_BUDGET")
    return default if found is None else found


@overload
def horizon() -> Optional[int]: ...
@overload
def horizon(default: int) -> int: ...
def horizon(default: Optional[int] = None) -> Optional[int]:
    """The full length of a trial in steps, for learning-rate schedules; ``default`` when `hpo` says none.

    A trial that is stopped early and continued later has one schedule, laid out over this.
    """
    found = whole("HPO_BUDGET_MAX")
    return default if found is None else found


def seed(default: int = 0) -> int:
    """The trial's seed, 0 to 2³² − 1, the same for all of its processes; ``default`` without `hpo`."""
    found = whole("HPO_SEED")
    return default if found is None else found
