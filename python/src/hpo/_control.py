"""The control file: what somebody wants of a trial that runs. A JSON object, replaced in one piece:
``{"stop": true}``, or new values of parameters, ``{"lr": 1e-4}``."""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Dict, List, Optional, Tuple

from hpo._environment import params

#: Called with the parameters that have changed, by name.
OnChange = Callable[[Dict[str, Any]], None]

#: What is no parameter in the file: to end, at a place that suits.
STOP = "stop"

_callbacks: List[OnChange] = []


class ControlFile:
    """Reads the file again only when it is another one: a look costs one call of stat."""

    def __init__(self, path: Optional[str]) -> None:
        self.path = path
        self._seen: Optional[Tuple[int, int, int]] = None
        self._content: Dict[str, Any] = {}
        # A later process of the trial has what was set before in its configuration.
        self._told: Dict[str, Any] = _configuration()

    def read(self) -> Dict[str, Any]:
        """What it says now; the same as before when it is not there or cannot be read."""
        if not self.path:
            return self._content
        try:
            facts = os.stat(self.path)
            mark = (facts.st_mtime_ns, facts.st_ino, facts.st_size)
            if mark != self._seen:
                with open(self.path, encoding="utf-8") as file:
                    content = json.load(file)
                self._seen = mark
                if isinstance(content, dict):
                    self._content = content
        except (OSError, ValueError):
            pass
        return self._content

    def wants_end(self) -> bool:
        """Whether the trial shall end."""
        return self.read().get(STOP) is True

    def changes(self) -> Dict[str, Any]:
        """The parameters whose values differ from those told before."""
        content = self.read()
        new = {
            name: value
            for name, value in content.items()
            if name != STOP and (name not in self._told or self._told[name] != value)
        }
        self._told.update(new)
        return new


def _configuration() -> Dict[str, Any]:
    try:
        return dict(params())
    except RuntimeError:
        return {}


def new_rate(changed: Dict[str, Any]) -> Optional[float]:
    """The learning rate among changed parameters, if it is there: ``lr`` or ``learning_rate``."""
    rate = changed.get("lr", changed.get("learning_rate"))
    if isinstance(rate, (int, float)) and not isinstance(rate, bool) and rate > 0:
        return float(rate)
    return None


_file: Optional[ControlFile] = None


def control_file() -> ControlFile:
    """The file of this trial."""
    global _file
    path = os.environ.get("HPO_CONTROL_FILE")
    if _file is None or _file.path != path:
        _file = ControlFile(path)
    return _file


def on_change(callback: OnChange) -> OnChange:
    """Have a function called when somebody sets parameters of this trial while it runs.

    It is called from :func:`hpo.report`, with a dict of the parameters that have changed. Also a
    decorator. A script that changes its optimizer's learning rate this way::

        @hpo.on_change
        def changed(params):
            for group in optimizer.param_groups:
                group["lr"] = params.get("lr", group["lr"])
    """
    if callback not in _callbacks:
        _callbacks.append(callback)
    return callback


def forget(callback: OnChange) -> None:
    """Call it no more."""
    if callback in _callbacks:
        _callbacks.remove(callback)


def poll() -> Dict[str, Any]:
    """Tells the callbacks of parameters that have changed, and returns those."""
    new = control_file().changes()
    if new:
        for callback in list(_callbacks):
            callback(dict(new))
    return new


def should_stop() -> bool:
    """Whether somebody wants this trial to end now. Cheap; for use between reports."""
    return control_file().wants_end()
