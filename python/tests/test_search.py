"""hpo.Searcher over the real program."""

import math
import os
import signal
import tempfile
import threading

import pytest

import hpo

SPACE = [
    {"name": "optimizer", "type": "cat", "choices": ["sgd", "adam"]},
    {"name": "lr", "type": "float", "low": 1e-5, "high": 1.0, "log": True},
    {"name": "momentum", "type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": ["sgd"]}},
]


@pytest.fixture(autouse=True)
def program(hpo_program, monkeypatch):
    monkeypatch.setenv("HPO_BIN", hpo_program)


def loss(params):
    return (math.log10(params.lr) + 2) ** 2 + (params.get("momentum", 0.9) - 0.9) ** 2


def best_of(method, trials=40, seed=1):
    with hpo.Searcher(SPACE, method=method, seed=seed) as search:
        values = []
        for number in range(trials):
            trial = search.ask()
            assert trial.trial == number and trial.budget is None
            assert ("momentum" in trial.params) == (trial.params.optimizer == "sgd")
            values.append(loss(trial.params))
            search.tell(trial, values[-1])
        return min(values), values


@pytest.mark.parametrize("method", ["bayes", "tpe", "gp", "sobol", "random"])
def test_a_search_follows_from_its_seed(method):
    first = best_of(method, 12)
    assert first == best_of(method, 12)
    assert first != best_of(method, 12, seed=2)


def test_a_search_that_learns_finds_more_than_one_that_does_not():
    seeds = range(5)
    learned = sum(best_of("bayes", seed=seed)[0] for seed in seeds)
    assert learned < 0.5 * sum(best_of("random", seed=seed)[0] for seed in seeds)


def test_reports_prune_and_failures_and_losses_are_told():
    with hpo.Searcher(SPACE, method="random", early_terminate="median", direction="maximize") as search:
        goes_on = []
        for i in range(8):
            trial = search.ask()
            goes_on.append(search.report(trial, 1, -i))
            search.tell(trial, status="complete" if goes_on[-1] else "pruned")
        assert goes_on[0] and not goes_on[7]
        search.tell(search.ask(), status="failed")
        search.tell(search.ask(), status="lost")
        search.tell(search.ask().trial, math.nan)
        assert search.add({"optimizer": "adam", "lr": 0.1}, 0.5, reports=[(1, 0.7), (2, 0.5)]) == 11
        running = search.add({"optimizer": "adam", "lr": 0.2}, status="running")
        search.tell(running, 0.5)


def test_rungs_give_budgets():
    with hpo.Searcher(SPACE, method="random", early_terminate="sha", max_steps=9, eta=3) as search:
        budgets = []
        for _ in range(13):
            trial = search.ask()
            budgets.append(trial.budget)
            search.tell(trial, loss(trial.params))
        assert sorted(budgets) == [1] * 9 + [3] * 3 + [9]


def test_what_cannot_be_heeded_says_why_and_the_search_goes_on():
    with hpo.Searcher(SPACE) as search:
        for message, reason in [
            (lambda: search.tell(7, 1.0), "there is no trial 7"),
            (lambda: search.add({"lr": 0.1}, 1.0), "`optimizer` is missing"),
            (lambda: search.tell(search.ask(), status="fine"), "not `fine`"),
        ]:
            with pytest.raises(hpo.SearcherError, match=reason):
                message()
        assert search.ask().trial == 1
    with hpo.Searcher([{"name": "a", "type": "cat", "choices": [1]}], method="grid") as search:
        search.tell(search.ask(), 1.0)
        with pytest.raises(hpo.SearcherError, match="every configuration was tried"):
            search.ask()


@pytest.mark.parametrize(
    "space, options, reason",
    [
        ([{"name": "x"}], {}, "missing field `type`"),
        (SPACE, {"method": "magic"}, "cannot be `magic`"),
        (SPACE, {"early_terminate": "asha"}, "needs `max_steps`"),
        (SPACE, {"seed": -1}, "invalid value '-1' for '--seed"),
        ([{"name": "x", "type": "float", "low": 1}], {}, "^parameter `x`: `high` is missing$"),
        ({"params": SPACE, "direction": "up"}, {}, "`minimize` or `maximize`"),
    ],
)
def test_a_wrong_search_says_why_at_once(space, options, reason):
    with pytest.raises(hpo.SearcherError, match=reason):
        hpo.Searcher(space, **options)


def test_a_missing_program_is_told_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("HPO_BIN", str(tmp_path / "nowhere"))
    with pytest.raises(hpo.SearcherError, match="HPO_BIN says .*nowhere, which is no program.*cargo install"):
        hpo.Searcher(SPACE)
    monkeypatch.delenv("HPO_BIN")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(hpo.SearcherError, match="not on the PATH"):
        hpo.Searcher(SPACE)


def test_a_program_that_is_killed_is_told(monkeypatch):
    search = hpo.Searcher(SPACE)
    search._process.kill()
    search._process.wait()
    with pytest.raises(hpo.SearcherError, match="has ended"):
        search.ask()
    search.close()
    search.close()
    with pytest.raises(hpo.SearcherError):
        search.ask()


def test_a_fork_is_refused_instead_of_mixing_up_answers():
    import multiprocessing

    def child(queue):
        try:
            queue.put(search.ask())
        except hpo.SearcherError as error:
            queue.put(str(error))
        search.close()

    with hpo.Searcher(SPACE) as search:
        fork = multiprocessing.get_context("fork")
        queue = fork.Queue()
        process = fork.Process(target=child, args=(queue,))
        process.start()
        assert "belongs to the process that forked" in queue.get(timeout=60)
        process.join()
        assert search.ask().trial == 0


def test_threads_may_share_a_search():
    with hpo.Searcher(SPACE, method="random") as search:
        seen = []

        def work():
            for _ in range(20):
                trial = search.ask()
                search.tell(trial, loss(trial.params))
                seen.append(trial.trial)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(seen) == list(range(80))


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    search = hpo.Searcher(SPACE)
    pid = search._process.pid
    search.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_several_objectives_are_told_as_lists():
    with hpo.Searcher(SPACE, method="nsga2", seed=1, directions=["minimize", "maximize"]) as search:
        search.tell(search.ask(), [1.0, 2.0])
        search.tell(search.ask(), status="failed")
        assert search.add({"optimizer": "adam", "lr": 0.1}, [0.5, float("nan")]) == 2
        with pytest.raises(hpo.SearcherError, match="2 objectives"):
            search.tell(search.ask(), [1.0])
        with pytest.raises(hpo.SearcherError, match="no reports"):
            search.report(3, 1, 0.5)


def test_values_of_other_libraries_are_told():
    numpy = pytest.importorskip("numpy")
    with hpo.Searcher(SPACE, method="random") as search:
        search.tell(search.ask(), numpy.float32(0.5))
        search.report(search.ask(), numpy.int64(1), numpy.array(0.25))
        search.add({"optimizer": "adam", "lr": numpy.float32(0.5)}, numpy.int64(3))
        with pytest.raises(hpo.SearcherError, match="cannot be told"):
            search.tell(1, {1, 2})


def test_an_interrupted_question_ends_the_search_and_mixes_up_no_answers():
    class Interrupted(BaseException):
        pass

    def interrupt(*_):
        raise Interrupted

    with hpo.Searcher(SPACE, method="random") as search:
        trial = search.ask()
        before = signal.signal(signal.SIGALRM, interrupt)
        os.kill(search._process.pid, signal.SIGSTOP)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(Interrupted):
                search.ask()
        finally:
            signal.signal(signal.SIGALRM, before)
            os.kill(search._process.pid, signal.SIGCONT)
        with pytest.raises(hpo.SearcherError, match="has ended"):
            search.report(trial, 1, 0.5)


def test_a_search_that_cannot_begin_leaves_no_file_behind(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(hpo.SearcherError, match="cannot be told"):
        hpo.Searcher([{"name": "x", "type": "cat", "choices": [{1, 2}]}])
    monkeypatch.setenv("HPO_BIN", "/nowhere/hpo")
    with pytest.raises(hpo.SearcherError, match="no program"):
        hpo.Searcher(SPACE)
    assert list(tmp_path.iterdir()) == []
