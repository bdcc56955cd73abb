"""Checkpoints of PyTorch scripts, with the real package."""

import pytest

torch = pytest.importorskip("torch")

import hpo  # noqa: E402
import hpo.torch  # noqa: E402


def make(lr=0.1):
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler}


def train(parts, first, last):
    losses = []
    for step in range(first, last + 1):
        x = torch.randn(16, 4)
        loss = ((parts["model"](x) - x.sum(1, keepdim=True)) ** 2).mean()
        parts["optimizer"].zero_grad()
        loss.backward()
        parts["optimizer"].step()
        parts["scheduler"].step()
        losses.append(loss.item())
        hpo.report(step, loss=loss)
        hpo.torch.save(step, **parts)
    return losses


def test_a_resumed_training_goes_on_as_if_nothing_had_happened(trial):
    parts = make()
    assert hpo.torch.restore(**parts) == 1
    whole = train(parts, 1, 8)
    for path in trial.checkpoints.iterdir():
        path.unlink()
    parts = make()
    assert hpo.torch.restore(**parts) == 1
    begun = train(parts, 1, 5)
    trial.next_attempt()
    parts = make()
    first = hpo.torch.restore(**parts)
    assert first == 6
    assert begun + train(parts, first, 8) == whole


def test_another_rate_than_before_scales_the_schedule(trial):
    trial.set("HPO_KEEP_CHECKPOINTS", "5")
    parts = make(0.1)
    hpo.torch.restore(**parts)
    train(parts, 1, 5)
    rate = parts["optimizer"].param_groups[0]["lr"]
    trial.next_attempt(HPO_RESUME_STEP=5)
    parts = make(0.05)
    assert hpo.torch.restore(**parts) == 6
    assert parts["optimizer"].param_groups[0]["lr"] == pytest.approx(rate / 2)
    train(parts, 6, 6)
    fresh = make(0.05)
    train(fresh, 1, 6)
    assert parts["scheduler"].get_last_lr() == pytest.approx(fresh["scheduler"].get_last_lr())
    # And once more, after a crash: not scaled twice.
    again = make(0.05)
    assert hpo.torch.restore(**again) == 6
    assert again["optimizer"].param_groups[0]["lr"] == pytest.approx(rate / 2)


@pytest.mark.parametrize(
    "schedule",
    [
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=10),
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=10),
        lambda o: torch.optim.lr_scheduler.StepLR(o, step_size=2),
        lambda o: torch.optim.lr_scheduler.SequentialLR(
            o,
            [torch.optim.lr_scheduler.LinearLR(o, 0.1, total_iters=5), torch.optim.lr_scheduler.CosineAnnealingLR(o, 9)],
            milestones=[5],
        ),
    ],
)
def test_a_rate_set_by_somebody_is_that_of_the_schedule(trial, schedule):
    def rates(lr, change=None):
        model = torch.nn.Linear(1, 1)
        groups = [{"params": [model.weight]}, {"params": [model.bias], "lr": lr}]
        optimizer = torch.optim.SGD(groups, lr=lr)
        scheduler = schedule(optimizer)
        # Some name those inside a SequentialLR, too.
        inner = {f"inner{i}": part for i, part in enumerate(getattr(scheduler, "_schedulers", []))}
        hpo.torch.restore(optimizer=optimizer, scheduler=scheduler, **inner)
        seen = []
        for step in range(1, 9):
            optimizer.step()
            scheduler.step()
            if step == 4 and change:
                trial.say('{"lr": %s}' % change)
            hpo.report(step, loss=1.0)
            seen.append([group["lr"] for group in optimizer.param_groups])
        return seen

    whole = rates(0.1)
    base = 0.1 / 25 if isinstance(schedule(torch.optim.SGD([torch.zeros(1)])), torch.optim.lr_scheduler.OneCycleLR) else 0.1
    changed = rates(0.1, change=base / 4)
    assert changed[:3] == whole[:3]
    for now, before in zip(changed[3:], whole[3:]):
        assert now == pytest.approx([rate / 4 for rate in before], rel=1e-6)


def test_a_rate_that_was_set_is_kept_by_the_next_attempt(trial):
    parts = make(0.1)
    hpo.torch.restore(**parts)
    train(parts, 1, 2)
    trial.say('{"lr": 0.05}')
    train(parts, 3, 4)
    rate = parts["optimizer"].param_groups[0]["lr"]
    # hpo set changes the trial's configuration too.
    trial.set("HPO_PARAMS", '{"lr": 0.05}')
    trial.next_attempt()
    hpo.torch._configured.clear()
    parts = make(hpo.params().lr)
    assert hpo.torch.restore(**parts) == 5
    assert parts["optimizer"].param_groups[0]["lr"] == pytest.approx(rate)
    assert hpo.report(4, loss=1.0) == {}
    fresh = make(0.05)
    for _ in range(4):
        fresh["scheduler"].step()
    assert rate == pytest.approx(fresh["scheduler"].get_last_lr()[0])


def test_states_that_are_not_there_are_named(trial):
    parts = make()
    train(parts, 1, 1)
    trial.next_attempt()
    with pytest.raises(KeyError, match="has no other, but model, optimizer, scheduler"):
        hpo.torch.restore(other=parts["model"])


def test_without_hpo_nothing_is_saved_and_training_starts_afresh(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts = make()
    assert hpo.torch.restore(**parts) == 1
    assert hpo.torch.save(1, **parts) is None
    assert list(tmp_path.iterdir()) == []
