"""The callback for the Hugging Face Trainer, with the real package and a tiny model made here."""

import os
import shutil

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import hpo.transformers  # noqa: E402

transformers.logging.set_verbosity_error()


class Data(torch.utils.data.Dataset):
    def __init__(self, count):
        self.tokens = torch.randint(0, 20, (count, 8), generator=torch.Generator().manual_seed(1))

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, i):
        return {"input_ids": self.tokens[i], "labels": self.tokens[i]}


class Rates(transformers.TrainerCallback):
    def __init__(self, then=None):
        self.rates, self.then = [], then

    def on_step_begin(self, args, state, control, **more):
        self.rates.append(more["optimizer"].param_groups[0]["lr"])
        if self.then:
            self.then(state)


def fit(place, epochs=4, lr=1e-2, then=None, callback=None, **more):
    torch.manual_seed(3)
    config = transformers.GPT2Config(
        vocab_size=20, n_positions=8, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2LMHeadModel(config)
    settings = {"eval_strategy": "epoch", "save_strategy": "no", "logging_strategy": "epoch", **more}
    arguments = transformers.TrainingArguments(
        output_dir=hpo.transformers.output_dir(str(place / "out")),
        num_train_epochs=epochs,
        learning_rate=lr,
        per_device_train_batch_size=8,
        report_to=[],
        disable_tqdm=True,
        seed=3,
        use_cpu=True,
        **settings,
    )
    rates = Rates(then)
    callbacks = [callback or hpo.transformers.HpoCallback(), rates]
    trainer = transformers.Trainer(
        model, arguments, train_dataset=Data(32), eval_dataset=Data(16), callbacks=callbacks
    )
    trainer.train(resume_from_checkpoint=hpo.transformers.resume_path())
    return rates.rates


def losses(trial):
    return {line["step"]: line["eval_loss"] for line in trial.reports()}


def test_every_evaluation_is_reported(trial, tmp_path):
    fit(tmp_path, 3)
    reports = trial.reports()
    assert [line["step"] for line in reports] == [1, 2, 3]
    assert {"eval_loss", "loss", "learning_rate"} <= set(reports[-1]) and "epoch" not in reports[-1]
    assert reports[-1]["eval_loss"] < reports[0]["eval_loss"]
    assert trial.saved() == ["checkpoint-12"]


def test_steps_may_be_updates(trial, tmp_path):
    fit(tmp_path, 2, eval_strategy="steps", eval_steps=3)
    assert [line["step"] for line in trial.reports()] == [3, 6, 8]
    with pytest.raises(ValueError, match="'epoch' or 'step'"):
        hpo.transformers.HpoCallback(unit="batch")


def test_the_budget_ends_it_and_the_next_attempt_goes_on_as_if_nothing_had_happened(trial, tmp_path):
    whole = fit(tmp_path)
    expected = losses(trial)
    trial.metrics.unlink()
    shutil.rmtree(trial.checkpoints)
    trial.checkpoints.mkdir()
    trial.set("HPO_BUDGET", "2")
    begun = fit(tmp_path)
    assert list(losses(trial)) == [1, 2] and trial.saved() == ["checkpoint-8"]
    trial.set("HPO_BUDGET", "4")
    trial.next_attempt()
    rest = fit(tmp_path)
    assert losses(trial) == pytest.approx(expected, rel=1e-4)
    assert begun + rest == pytest.approx(whole)


def test_somebody_stops_it_between_evaluations(trial, tmp_path):
    def then(state):
        if state.global_step == 5:
            trial.say('{"stop": true}')

    rates = fit(tmp_path, 9, then=then)
    assert 6 <= len(rates) <= 8
    assert trial.reports()[-1]["step"] in (1, 2)


def test_a_rate_that_somebody_sets_is_that_of_the_schedule(trial, tmp_path):
    def then(state):
        if state.global_step == 5:
            trial.say('{"learning_rate": 0.001}')

    trial.set("HPO_KEEP_CHECKPOINTS", "3")
    whole = fit(tmp_path)
    shutil.rmtree(trial.checkpoints)
    trial.checkpoints.mkdir()
    rates = fit(tmp_path, then=then)
    assert rates[:8] == whole[:8]
    # Changed at the report of the second epoch, after 8 updates; the first of the next may still be old.
    assert rates[9:] == pytest.approx([rate / 10 for rate in whole[9:]])
    # hpo set changes the trial's configuration too.
    trial.set("HPO_PARAMS", '{"learning_rate": 0.001}')
    trial.set("HPO_KEEP_CHECKPOINTS", "1")
    trial.next_attempt(HPO_RESUME_STEP=3)
    assert fit(tmp_path, lr=1e-3) == pytest.approx([rate / 10 for rate in whole[12:]])


def test_a_rescued_trial_goes_back_with_the_smaller_rate(trial, tmp_path):
    trial.set("HPO_KEEP_CHECKPOINTS", "3")
    whole = fit(tmp_path)
    assert trial.saved() == ["checkpoint-12", "checkpoint-16", "checkpoint-8"]
    trial.next_attempt(HPO_RESUME_STEP=3)
    rates = fit(tmp_path, lr=5e-3)
    assert rates == pytest.approx([rate / 2 for rate in whole[12:]])
    assert trial.saved() == ["checkpoint-12", "checkpoint-16", "checkpoint-8"]
    assert [line["step"] for line in trial.reports()] == [1, 2, 3, 4, 4]


def test_a_checkpoint_that_was_not_finished_is_passed_over(trial, tmp_path):
    fit(tmp_path, 2)
    half = trial.checkpoints / "checkpoint-12"
    shutil.copytree(trial.checkpoints / "checkpoint-8", half)
    (half / "hpo.json").unlink()
    trial.next_attempt()
    assert hpo.transformers.resume_path() == str(trial.checkpoints / "checkpoint-8")


def test_without_hpo_it_trains_as_ever(tmp_path):
    assert len(fit(tmp_path, 2)) == 8
    assert not list((tmp_path / "out").glob("checkpoint-*"))
