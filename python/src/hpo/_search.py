"""The searchers of `hpo` for Python: ask and tell, over `hpo stdio` as a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
from types import TracebackType
from typing import IO, Any, Dict, Iterable, Mapping, NamedTuple, Optional, Sequence, Tuple, Type, Union

from hpo._environment import Params, number
from hpo._report import scalar

#: A space file's content, or its list of parameters (docs/stdio.md).
Space = Union[Mapping[str, Any], Sequence[Mapping[str, Any]]]
#: What a trial reached, in one objective or in each.
Value = Union[float, Sequence[float]]


class SearcherError(RuntimeError):
    """The program cannot be started, has ended, or could not heed a message: its words say why."""


class Suggestion(NamedTuple):
    """A trial to be run."""

    trial: int
    params: Params
    #: With ``asha-promotion``, ``sha`` and ``hyperband``: train up to this step, then tell.
    budget: Optional[int] = None


def find_program() -> str:
    """Where `hpo` is: HPO_BIN, or on the PATH.

    Raises:
        SearcherError: it is nowhere.
    """
    said = os.environ.get("HPO_BIN")
    found = shutil.which(said or "hpo")
    if found is None:
        where = f"HPO_BIN says {said}, which is no program" if said else "it is not on the PATH"
        raise SearcherError(
            f"the program hpo is missing: {where}. Install it (cargo install --path crates/hpo), or say "
            "where it is in the environment variable HPO_BIN"
        )
    return found


class Searcher:
    """A search that is asked for configurations and told what came of them.

    ::

        with hpo.Searcher([{"name": "lr", "type": "float", "low": 1e-5, "high": 1, "log": True}], seed=1) as search:
            for _ in range(50):
                trial = search.ask()
                search.tell(trial, train(**trial.params))

    Args:
        space: The parameters, as in the space file of docs/stdio.md; or that file's whole content.
        method: As `method` in a study file: ``bayes``, ``gp``, ``tpe``, ``cmaes``, ``nsga2``, ``sobol``, ``random``, ``grid``,
            ``bohb`` or ``dehb``.
        seed: Of everything random: the same seed and answers give the same trials.
        direction: ``minimize`` or ``maximize``; absent: as the space says, else ``minimize``.
        directions: Of several objectives, one of the two words for each. Trials are then told with a list of values,
            and there are no reports.
        early_terminate: ``none``, ``auto``, ``median``, ``percentile``, ``patient``, ``wilcoxon``, ``asha``,
            ``asha-promotion``, ``sha`` or ``hyperband``.
        max_steps: Full length of a trial in steps; needed by the last four of these.
        eta: One trial in this many goes on.

    It can be used by several threads. It is closed by :meth:`close`, by ``with``, and with the process.

    Raises:
        SearcherError: the program is missing, or something in the space is wrong: it says what.
    """

    def __init__(
        self,
        space: Space,
        *,
        method: str = "bayes",
        seed: int = 0,
        direction: Optional[str] = None,
        directions: Optional[Sequence[str]] = None,
        early_terminate: str = "none",
        max_steps: Optional[int] = None,
        eta: Optional[int] = None,
    ) -> None:
        content: Dict[str, Any] = dict(space) if isinstance(space, Mapping) else {"params": list(space)}
        several = None if directions is None else list(directions)
        settings = {"direction": direction, "directions": several, "max_steps": max_steps, "eta": eta}
        content.update({key: value for key, value in settings.items() if value is not None})
        #: Under which name values are told.
        self._values = "values" if content.get("directions") is not None else "value"
        self._lock = threading.Lock()
        #: Its process is of this one: a fork of it would mix up the answers.
        self._owner = os.getpid()
        program, text = find_program(), _written(content)
        self._words: IO[bytes] = tempfile.TemporaryFile()
        self._space = ""
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8", delete=False) as file:
            file.write(text)
            self._space = file.name
        command = [program, "stdio", f"--space={file.name}", f"--seed={seed}"]
        command += [f"--method={method}", f"--early-terminate={early_terminate}"]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words, encoding="utf-8"
            )
        except OSError as error:
            os.unlink(file.name)
            raise SearcherError(f"{command[0]} cannot be started: {error}") from error
        try:
            # An empty message is answered once the space has been read.
            self._exchange("")
        except SearcherError:
            self.close()
            raise
        finally:
            os.unlink(file.name)

    def ask(self) -> Suggestion:
        """The next trial. Those that run already count.

        Raises:
            SearcherError: nothing can be proposed, such as when a grid is done.
        """
        answer = self._say({"op": "ask"})
        params = Params({name: number(value) for name, value in answer["params"].items()})
        return Suggestion(answer["trial"], params, answer.get("budget"))

    def report(self, trial: Union[Suggestion, int], step: int, value: float) -> bool:
        """Tells a trial's value at a step. Says whether to go on; False: tell it as ``pruned``."""
        message = {"op": "report", "trial": _number(trial), "step": step, "value": value}
        return bool(self._say(message)["decision"] == "continue")

    def tell(
        self, trial: Union[Suggestion, int], value: Optional[Value] = None, status: str = "complete"
    ) -> None:
        """Tells what came of a trial.

        Args:
            trial: As asked for, or its number.
            value: What it reached; the last report if absent. With several objectives a list.
            status: ``complete``; ``pruned``: stopped early; ``failed``: cannot be trained, worse than all
                others; ``lost``: nobody knows, forget it.
        """
        self._say({"op": "tell", "trial": _number(trial), self._values: value, "status": status})

    def add(
        self,
        params: Mapping[str, Any],
        value: Optional[Value] = None,
        status: str = "complete",
        reports: Iterable[Tuple[int, float]] = (),
    ) -> int:
        """Takes in a trial that was not asked for, and returns its number.

        Args:
            params: The parameters that are active, and no others.
            value: What it reached; the last of the reports if absent. With several objectives a list.
            status: ``complete``, ``pruned``, ``failed``, or ``running``: tell it later.
            reports: Its curve: pairs of step and value, with rising steps.
        """
        message: Dict[str, Any] = {"op": "add", "params": dict(params), "status": status, self._values: value}
        curve = [[step, reported] for step, reported in reports]
        if curve:
            message["reports"] = curve
        return int(self._say(message)["trial"])

    def is_running(self) -> bool:
        """Whether the search can be asked: it was not closed, and its process has not been killed."""
        return self._owner == os.getpid() and self._process.poll() is None

    def close(self) -> None:
        """Ends the search. Once is enough; again does nothing."""
        process = self._process
        if self._owner != os.getpid():
            return
        for pipe in (process.stdin, process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                pass
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._words.close()

    def __enter__(self) -> Searcher:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_process") and not self._words.closed:
            self.close()

    def _say(self, message: Mapping[str, Any]) -> Dict[str, Any]:
        answer = self._exchange(_written(message))
        if "error" in answer:
            raise SearcherError(str(answer["error"]))
        return answer

    def _exchange(self, line: str) -> Dict[str, Any]:
        process = self._process
        if self._owner != os.getpid():
            raise SearcherError("this search belongs to the process that forked this one: make another one here")
        with self._lock:
            try:
                if process.stdin is None or process.stdout is None:
                    raise BrokenPipeError
                process.stdin.write(line + "\n")
                process.stdin.flush()
                text = process.stdout.readline()
            except (OSError, ValueError):
                text = ""
            except BaseException:
                # Interrupted in the middle: the answer would be taken for that of the next question.
                process.kill()
                raise
            if not text:
                raise SearcherError(self._last_words())
        answer: Dict[str, Any] = json.loads(text)
        return answer

    def _last_words(self) -> str:
        try:
            code: Optional[int] = self._process.wait(5)
        except subprocess.TimeoutExpired:
            code = None
        said = ""
        if not self._words.closed:
            self._words.seek(0)
            said = self._words.read().decode(errors="replace").strip()
        # The reason, without the hints for those who type commands.
        reason = said.partition("\n\n")[0].partition("\nhint: ")[0]
        reason = reason.removeprefix("error: ").replace(f"{self._space}: ", "")
        return reason or f"the search has ended (exit code {code})"


def _number(trial: Union[Suggestion, int]) -> int:
    return trial.trial if isinstance(trial, Suggestion) else trial


def _written(message: Mapping[str, Any]) -> str:
    """As JSON, with numbers of any library."""
    try:
        return json.dumps(message, default=lambda value: scalar("value", value))
    except (TypeError, ValueError) as error:
        raise SearcherError(f"this cannot be told to the search: {error}") from error
