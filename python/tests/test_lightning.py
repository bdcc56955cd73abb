"""The callback for Lightning, with the real package."""

import logging
import shutil
import warnings

import pytest

torch = pytest.importorskip("torch")
lightning = pytest.importorskip("lightning")

import hpo.lightning  # noqa: E402

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")


class Module(lightning.LightningModule):
    def __init__(self, lr=0.05):
        super().__init__()
        torch.manual_seed(3)
        self.lr, self.rates = lr, []
        self.model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))

    def loss(self, batch):
        return ((self.model(batch) - batch.sum(1, keepdim=True)) ** 2).mean()

    def training_step(self, batch, _):
        self.rates.append(self.optimizers().param_groups[0]["lr"])
        loss = self.loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, _):
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.8**epoch)]


def fit(place, epochs=6, lr=0.05, callbacks=(), callback=None):
    data = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    loader = torch.utils.data.DataLoader(data, batch_size=16)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        callbacks=[callback or hpo.lightning.HpoCallback(), *callbacks],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=place,
    )
    module = Module(lr)
    trainer.fit(module, loader, loader, ckpt_path=hpo.lightning.resume_path())
    return module, trainer


def losses(trial):
    return {line["step"]: line["val_loss"] for line in trial.reports()}


def test_every_epoch_is_reported_after_its_validation(trial, tmp_path):
    _, trainer = fit(tmp_path, 3)
    reports = trial.reports()
    assert [line["step"] for line in reports] == [1, 2, 3]
    assert reports[-1]["val_loss"] == trainer.callback_metrics["val_loss"].item()
    assert set(reports[0]) == {"step", "train_loss", "val_loss"}
    assert trial.saved() == ["checkpoint-3.ckpt"]


def test_the_budget_ends_it_and_the_next_attempt_goes_on_as_if_nothing_had_happened(trial, tmp_path):
    whole, _ = fit(tmp_path)
    expected = losses(trial)
    trial.metrics.unlink()
    shutil.rmtree(trial.checkpoints)
    trial.checkpoints.mkdir()
    trial.set("HPO_BUDGET", "2")
    begun, _ = fit(tmp_path)
    assert list(losses(trial)) == [1, 2] and trial.saved() == ["checkpoint-2.ckpt"]
    trial.set("HPO_BUDGET", "6")
    trial.next_attempt()
    rest, _ = fit(tmp_path)
    assert losses(trial) == pytest.approx(expected, rel=1e-5)
    assert begun.rates + rest.rates == whole.rates


def test_somebody_stops_it_between_epochs(trial, tmp_path):
    class Somebody(lightning.Callback):
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 1:
                trial.say('{"stop": true}')

    fit(tmp_path, 9, callbacks=[Somebody()])
    assert [line["step"] for line in trial.reports()] == [1, 2]
    assert trial.saved() == ["checkpoint-2.ckpt"]


def test_a_rate_that_somebody_sets_is_that_of_the_schedule(trial, tmp_path):
    class Somebody(lightning.Callback):
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 1:
                trial.say('{"lr": 0.01}')

    module, _ = fit(tmp_path, 4, callbacks=[Somebody()])
    by_epoch = module.rates[::4]
    assert by_epoch == pytest.approx([0.05, 0.04, 0.01 * 0.8**2, 0.01 * 0.8**3])
    # hpo set changes the trial's configuration too.
    trial.set("HPO_PARAMS", '{"lr": 0.01}')
    trial.next_attempt()
    module, _ = fit(tmp_path, 5, lr=0.01)
    assert module.rates[::4] == pytest.approx([0.01 * 0.8**4])


def test_a_rescued_trial_goes_back_with_the_smaller_rate(trial, tmp_path):
    trial.set("HPO_KEEP_CHECKPOINTS", "4")
    fit(tmp_path, 5)
    assert trial.saved() == [f"checkpoint-{epoch}.ckpt" for epoch in (2, 3, 4, 5)]
    trial.next_attempt(HPO_RESUME_STEP=3)
    module, _ = fit(tmp_path, 5, lr=0.025)
    assert module.rates[::4] == pytest.approx([0.025 * 0.8**3, 0.025 * 0.8**4])
    assert [line["step"] for line in trial.reports()] == [1, 2, 3, 4, 5, 4, 5]
    assert trial.saved() == [f"checkpoint-{epoch}.ckpt" for epoch in (2, 3, 4, 5)]
    # After a crash: the rate is that of the rescue, and not made smaller once more.
    trial.unset("HPO_RESUME_STEP")
    trial.next_attempt()
    module, _ = fit(tmp_path, 6, lr=0.025)
    assert module.rates[::4] == pytest.approx([0.025 * 0.8**5])


def test_a_checkpoint_from_the_middle_of_the_training_is_whole(trial, tmp_path):
    trial.set("HPO_KEEP_CHECKPOINTS", "9")
    fit(tmp_path)
    whole = losses(trial)
    for step in (1, 2, 3, 4):
        trial.metrics.unlink()
        trial.next_attempt(HPO_RESUME_STEP=step)
        fit(tmp_path)
        assert losses(trial) == pytest.approx({s: x for s, x in whole.items() if s > step}, rel=1e-5)


def test_without_hpo_it_trains_as_ever(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module, _ = fit(tmp_path, 2)
    assert len(module.rates) == 8 and list(tmp_path.iterdir()) == []
