"""Checkpoints that a kill leaves whole: written aside, forced to the disk, renamed into place.

They are named ``checkpoint-<step>`` with any suffix, files or directories, in HPO_CHECKPOINT_DIR.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Union

from hpo._environment import directory, whole
from hpo._report import is_first_process

_NAME = re.compile(r"^checkpoint-(\d+)(\.[A-Za-z0-9_.]+)?$")
#: What is being written or removed. Never read.
_ASIDE = ".aside-"


class Checkpoint(NamedTuple):
    """A saved state. It is a path: ``torch.load(checkpoint)``, ``open(checkpoint, "rb")``."""

    step: int
    path: Path

    def __fspath__(self) -> str:
        return str(self.path)


def keep_checkpoints() -> int:
    """How many of the last checkpoints to keep: 1, unless the study may go back to earlier ones."""
    return max(1, whole("HPO_KEEP_CHECKPOINTS") or 1)


def resume_step() -> Optional[int]:
    """The step to go back to at most, for a trial that was rescued from divergence."""
    return whole("HPO_RESUME_STEP")


def checkpoints(place: Path) -> List[Checkpoint]:
    """Those in a directory, oldest step first."""
    found = []
    try:
        entries = list(place.iterdir())
    except OSError:
        return []
    for path in entries:
        match = _NAME.match(path.name)
        if match:
            found.append(Checkpoint(int(match.group(1)), path))
    return sorted(found)


def resume_from() -> Optional[Checkpoint]:
    """The checkpoint to go on from; None: start afresh.

    In a trial that was rescued from divergence it is the newest one that is not after the step to go
    back to, and the later ones are removed, as docs/protocol.md asks.
    """
    place = directory("HPO_RESUME_FROM")
    if place is None:
        return None
    found = checkpoints(place)
    most = resume_step()
    if most is not None:
        for late in [checkpoint for checkpoint in found if checkpoint.step > most]:
            if is_first_process():
                remove(late.path)
            found.remove(late)
    return found[-1] if found else None


def save_checkpoint(
    step: int, write: Callable[[Path], object], *, suffix: str = ""
) -> Optional[Checkpoint]:
    """Saves a checkpoint so that a kill at any moment leaves the old ones or the new one, never half.

    Args:
        step: The step it is of: report that before you save.
        write: Is given a path and writes a file or a directory there.
        suffix: Of the name, such as ``.pt``.

    Returns:
        Where it is now. None without `hpo`, and in all processes of a distributed training but the
        first: nothing is written then.
    """
    place = directory("HPO_CHECKPOINT_DIR")
    if place is None or not is_first_process():
        return None
    place.mkdir(parents=True, exist_ok=True)
    clean(place)
    aside = place / f"{_ASIDE}{os.getpid()}{suffix}"
    final = place / f"checkpoint-{step}{suffix}"
    write(aside)
    if not aside.exists():
        raise RuntimeError(f"write() has written nothing to the path it was given, {aside}")
    force(aside)
    if final.is_dir():
        remove(final)
    os.replace(aside, final)
    force_entry(place)
    prune(place)
    return Checkpoint(step, final)


def prune(place: Path) -> None:
    """Removes all but the last few."""
    # Of one step there may be several names; steps are what is counted.
    found = checkpoints(place)
    kept = sorted({checkpoint.step for checkpoint in found})[-keep_checkpoints() :]
    for checkpoint in found:
        if checkpoint.step not in kept:
            remove(checkpoint.path)


def clean(place: Path) -> None:
    """Removes what a killed process had not finished."""
    for path in place.glob(f"{_ASIDE}*"):
        remove(path)


def remove(path: Path) -> None:
    """Removes a checkpoint; what is a directory first loses its name, so that no half is ever read."""
    if not path.is_dir() or path.is_symlink():
        try:
            path.unlink()
        except FileNotFoundError:
            pass
        return
    gone = path
    if not path.name.startswith(_ASIDE):
        gone = path.with_name(f"{_ASIDE}{os.getpid()}-{path.name}")
        shutil.rmtree(gone, ignore_errors=True)
        os.replace(path, gone)
    shutil.rmtree(gone, ignore_errors=True)


def force(path: Union[str, Path]) -> None:
    """Forces a file, or all files of a directory, to the disk."""
    path = Path(path)
    if path.is_dir():
        for inner in path.iterdir():
            if not inner.is_symlink():
                force(inner)
        force_entry(path)
        return
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def force_entry(place: Path) -> None:
    """Forces the names in a directory to the disk, where that can be done."""
    try:
        handle = os.open(place, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
