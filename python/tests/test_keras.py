"""The callback for Keras, with the real package."""

import pytest

keras = pytest.importorskip("keras")
numpy = pytest.importorskip("numpy")

import hpo.keras  # noqa: E402

RNG = numpy.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def make(lr=0.01, built=True):
    keras.utils.set_random_seed(3)
    layers = [keras.Input((4,))] if built else []
    model = keras.Sequential([*layers, keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(lr), loss="mse")
    return model


def fit(model, epochs=6, callback=None, **more):
    callback = callback or hpo.keras.HpoCallback()
    options = {"validation_split": 0.25, "shuffle": False, "verbose": 0, **more}
    return model.fit(X, Y, epochs=epochs, batch_size=16, callbacks=[callback, *more.pop("callbacks", [])], **options)


def rate(model):
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def losses(trial):
    return {line["step"]: line["val_loss"] for line in trial.reports()}


def test_every_epoch_is_reported(trial):
    history = fit(make(), 3)
    reports = trial.reports()
    assert [line["step"] for line in reports] == [1, 2, 3]
    assert [line["val_loss"] for line in reports] == history.history["val_loss"]
    assert set(reports[0]) == {"step", "loss", "val_loss"}
    assert trial.saved() == ["checkpoint-3"]


def test_the_budget_ends_it_and_the_next_attempt_goes_on_as_if_nothing_had_happened(trial):
    fit(make(), 6)
    whole = losses(trial)
    trial.metrics.unlink()
    for path in trial.checkpoints.iterdir():
        __import__("shutil").rmtree(path)
    trial.set("HPO_BUDGET", "2")
    fit(make(), 6)
    assert list(losses(trial)) == [1, 2]
    trial.set("HPO_BUDGET", "6")
    trial.next_attempt()
    fit(make(), 6)
    assert list(losses(trial)) == [1, 2, 3, 4, 5, 6]
    assert losses(trial) == pytest.approx(whole, rel=1e-5)


def test_somebody_stops_it_between_epochs(trial):
    class Somebody(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                trial.say('{"stop": true}')

    model = make()
    model.fit(X, Y, epochs=9, verbose=0, callbacks=[hpo.keras.HpoCallback(), Somebody()])
    assert [line["step"] for line in trial.reports()] == [1, 2]
    assert trial.saved() == ["checkpoint-2"]


def test_a_rate_that_somebody_sets_is_obeyed_and_kept(trial):
    trial.say('{"lr": 0.002}')
    model = make(0.01)
    fit(model, 2)
    assert rate(model) == pytest.approx(0.002)
    # hpo set changes the trial's configuration too.
    trial.set("HPO_PARAMS", '{"lr": 0.002}')
    trial.next_attempt()
    again = make(0.002)
    fit(again, 3)
    assert rate(again) == pytest.approx(0.002)


def test_a_rescued_trial_goes_back_with_the_smaller_rate(trial):
    trial.set("HPO_KEEP_CHECKPOINTS", "4")
    fit(make(0.01), 5)
    assert trial.saved() == [f"checkpoint-{epoch}" for epoch in (2, 3, 4, 5)]
    trial.next_attempt(HPO_RESUME_STEP=3)
    model = make(0.005)
    fit(model, 4)
    assert rate(model) == pytest.approx(0.005)
    assert [line["step"] for line in trial.reports()] == [1, 2, 3, 4, 5, 4]
    assert trial.saved() == ["checkpoint-2", "checkpoint-3", "checkpoint-4"]


def test_a_schedule_goes_on_at_its_place(trial):
    def scheduled():
        return make(keras.optimizers.schedules.ExponentialDecay(0.01, 3, 0.5))

    fit(scheduled(), 2)
    trial.next_attempt()
    model = scheduled()
    fit(model, 4)
    assert rate(model) == pytest.approx(0.01 * 0.5 ** (4 * 3 / 3), rel=1e-5)


def test_a_model_that_fit_builds_goes_on_too(trial):
    fit(make(built=False), 1)
    trial.next_attempt()
    fit(make(built=False), 2)
    assert [line["step"] for line in trial.reports()] == [1, 2]


def test_without_hpo_it_trains_as_ever(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    history = fit(make(), 2)
    assert len(history.history["loss"]) == 2 and list(tmp_path.iterdir()) == []
