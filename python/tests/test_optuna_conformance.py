"""Optuna's own suite of what it expects of every sampler."""

import pytest

pytest.importorskip("optuna")

from optuna.testing import pytest_samplers as suite  # noqa: E402

from hpo.optuna import HpoSampler  # noqa: E402


@pytest.fixture(params=["bayes", "tpe", "gp", "random", "sobol"])
def sampler(request, monkeypatch, hpo_program):
    monkeypatch.setenv("HPO_BIN", hpo_program)
    return lambda: HpoSampler(request.param, seed=3)


class TestHpoSampler(suite.BasicSamplerTestCase, suite.RelativeSamplerTestCase, suite.SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self, sampler):
        return sampler


@pytest.fixture(params=["bayes", "tpe", "gp", "nsga2", "random", "sobol"])
def several(request, monkeypatch, hpo_program):
    monkeypatch.setenv("HPO_BIN", hpo_program)
    return lambda: HpoSampler(request.param, seed=3)


@pytest.fixture
def single(monkeypatch, hpo_program):
    monkeypatch.setenv("HPO_BIN", hpo_program)
    return lambda: HpoSampler("cmaes", seed=3)


class TestHpoSampler(suite.BasicSamplerTestCase, suite.RelativeSamplerTestCase, suite.MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self, several):
        return several


class TestSingleOnly(suite.SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self, single):
        return single
