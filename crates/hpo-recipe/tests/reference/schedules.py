"""Makes schedules.json: learning-rate curves of PyTorch and Keras to hold ours against.

    pip install torch==2.15.0 keras==3.15.1 numpy
    KERAS_BACKEND=torch python schedules.py > schedules.json

A case pairs a configuration of ours, whose lengths are shares of the run, with the library's own
object, whose lengths are steps. Nothing of ours is used here: the pairing is written by hand.
PyTorch has no schedule that waits before a square root or that grows the batch: the first is
written as a lambda, of the second the ratio lr / batch is compared with MultiStepLR.
"""

import json
import math
import os
import sys
import warnings

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import torch
from keras.optimizers import schedules as ks
from torch.optim import lr_scheduler as ts

warnings.filterwarnings("ignore")
LR, MOMENTUM, PER_EPOCH = 0.2, 0.9, 10
cases = []


def run(optimizer, scheduler, steps, read):
    """Reads the optimizer's group before every update."""
    values = []
    for _ in range(steps):
        values.append(read(optimizer.param_groups[0]))
        optimizer.step()
        scheduler.step()
    return values


def record(library, config, steps, lrs, momenta=None, **more):
    cases.append(
        {
            "library": library,
            "config": config,
            "lr": LR,
            "momentum": None if momenta is None else MOMENTUM,
            "total_steps": steps,
            "steps_per_epoch": PER_EPOCH,
            "lrs": lrs,
            "momenta": momenta,
            **more,
        }
    )


def torch_case(steps, config, build, family=None, **more):
    """`family` is the optimizer whose momentum the schedule drives."""
    make = {"adam": torch.optim.AdamW, "sgd": torch.optim.SGD, None: torch.optim.SGD}[family]
    knobs = {} if make is torch.optim.AdamW else {"momentum": MOMENTUM}
    optimizer = make([torch.nn.Parameter(torch.zeros(1))], lr=LR, **knobs)
    momentum = (lambda g: g["betas"][0]) if family == "adam" else (lambda g: g["momentum"])
    pairs = run(optimizer, build(optimizer), steps, lambda g: (g["lr"], momentum(g)))
    lrs, momenta = [p[0] for p in pairs], [p[1] for p in pairs]
    record("torch", config, steps, lrs, momenta if family else None, **more)


def keras_case(steps, config, schedule, beyond=0):
    """`beyond` steps after the horizon are recorded too."""
    record("keras", config, steps, [float(schedule(s)) for s in range(steps + beyond)])


def warmed(build, steps, start_factor):
    """The scheduler behind a linear warm-up."""

    def both(optimizer):
        main = build(optimizer)
        warmup = ts.LinearLR(optimizer, start_factor=start_factor, total_iters=steps)
        return ts.SequentialLR(optimizer, [warmup, main], milestones=[steps])

    return both


def plateau_case(steps, config, losses, **knobs):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler = ts.ReduceLROnPlateau(optimizer, eps=0, **knobs)
    lrs = []
    for loss in losses:
        lrs += [optimizer.param_groups[0]["lr"]] * PER_EPOCH
        scheduler.step(loss)
    record("torch", config, steps, lrs, losses=losses)


# Constant, jumps.
torch_case(30, {}, lambda o: ts.ConstantLR(o, factor=1.0))
torch_case(40, {"warmup_fraction": 0.25}, lambda o: ts.LinearLR(o, total_iters=10))
for share, size, gamma in [(0.25, 15, 0.1), (0.1, 6, 0.5), (0.37, 22, 0.9), (1.0, 60, 0.3)]:
    config = {"schedule": "step", "step_fraction": share, "gamma": gamma}
    torch_case(60, config, lambda o: ts.StepLR(o, step_size=size, gamma=gamma))
for shares, at, gamma in [([0.5, 0.75], [30, 45], 0.1), ([0.1, 0.2, 0.9], [6, 12, 54], 0.4)]:
    config = {"schedule": "multistep", "milestones": shares, "gamma": gamma}
    torch_case(60, config, lambda o: ts.MultiStepLR(o, milestones=at, gamma=gamma))

# Smooth decays.
for left in [0.01, 0.5]:
    config = {"schedule": "exponential", "decay_rate": left}
    torch_case(50, config, lambda o: ts.ExponentialLR(o, gamma=left ** (1 / 50)))
for staircase in [False, True]:
    config = {"decay_rate": 0.6, "decay_steps_fraction": 0.2, "staircase": staircase}
    keras_case(
        50,
        {"schedule": "exponential", **config},
        ks.ExponentialDecay(LR, decay_steps=10, decay_rate=0.6, staircase=staircase),
        beyond=20,
    )
    keras_case(
        50,
        {"schedule": "inverse_time", **config},
        ks.InverseTimeDecay(LR, decay_steps=10, decay_rate=0.6, staircase=staircase),
        beyond=20,
    )
keras_case(
    50, {"schedule": "inverse_time", "decay_rate": 10.0}, ks.InverseTimeDecay(LR, 50, decay_rate=10.0)
)
for power in [1.0, 0.5, 2.0, 3.3]:
    config = {"schedule": "polynomial", "power": power}
    torch_case(50, config, lambda o: ts.PolynomialLR(o, total_iters=50, power=power))
    keras_case(
        50,
        {**config, "end_lr_ratio": 0.05},
        ks.PolynomialDecay(LR, 50, end_learning_rate=0.05 * LR, power=power),
        beyond=20,
    )
for end in [0.0, 0.3]:
    torch_case(
        50,
        {"schedule": "linear", "end_factor": end},
        lambda o: ts.LinearLR(o, start_factor=1.0, end_factor=end, total_iters=50),
    )

# Cosines.
for ratio in [0.0, 0.05]:
    config = {"schedule": "cosine", "eta_min_ratio": ratio}
    torch_case(80, config, lambda o: ts.CosineAnnealingLR(o, T_max=80, eta_min=ratio * LR))
    keras_case(80, config, ks.CosineDecay(LR, 80, alpha=ratio), beyond=30)
    keras_case(
        80,
        {**config, "warmup_fraction": 0.15, "warmup_start_factor": 0.01},
        ks.CosineDecay(0.01 * LR, 68, alpha=ratio, warmup_target=LR, warmup_steps=12),
        beyond=30,
    )
for share, first, mult in [(0.1, 8, 1), (0.1, 8, 2), (1 / 7, 12, 2), (0.05, 4, 3)]:
    config = {"schedule": "warm_restarts", "restart_fraction": share, "t_mult": mult}
    torch_case(
        80,
        {**config, "eta_min_ratio": 0.01},
        lambda o: ts.CosineAnnealingWarmRestarts(o, first, T_mult=mult, eta_min=0.01 * LR),
    )
keras_case(
    70,
    {"schedule": "warm_restarts", "eta_min_ratio": 0.1},
    ks.CosineDecayRestarts(LR, 10, t_mul=2.0, alpha=0.1),
)

# Cycles.
for mode in ["triangular", "triangular2", "exp_range"]:
    for up, up_share, base, family in [(10, 0.5, 0.25, "sgd"), (5, 0.25, 0.1, "adam")]:
        torch_case(
            80,
            {
                "schedule": "cyclic",
                "mode": mode,
                "cycle_fraction": 0.25,
                "up_fraction": up_share,
                "base_lr_ratio": base,
                "amplitude_ratio": 0.2,
            },
            lambda o: ts.CyclicLR(
                o, base * LR, LR, up, 20 - up, mode=mode, gamma=0.2 ** (1 / 80)
            ),
            family,
        )
torch_case(
    80,
    {"schedule": "cyclic", "cycle_momentum": False},
    lambda o: ts.CyclicLR(o, 0.25 * LR, LR, 10, cycle_momentum=False),
)
for three_phase in [False, True]:
    for anneal, start, family in [("cos", 0.3, "sgd"), ("linear", 0.47, "adam")]:
        config = {"three_phase": three_phase, "anneal_strategy": anneal, "pct_start": start}
        torch_case(
            70,
            {"schedule": "one_cycle", **config},
            lambda o: ts.OneCycleLR(o, LR, total_steps=70, **config),
            family,
        )
config = {"div_factor": 10.0, "final_div_factor": 100.0, "base_momentum": 0.7, "max_momentum": 0.99}
torch_case(
    53, {"schedule": "one_cycle", **config}, lambda o: ts.OneCycleLR(o, LR, total_steps=53, **config), "sgd"
)

# Warm-up, stable, decay; batch growth.
torch_case(
    60,
    {"schedule": "wsd", "decay_fraction": 0.25, "decay_shape": "linear", "end_lr_ratio": 0.1},
    lambda o: ts.SequentialLR(
        o,
        [ts.ConstantLR(o, factor=1.0), ts.LinearLR(o, 1.0, end_factor=0.1, total_iters=15)],
        milestones=[45],
    ),
)
torch_case(
    60,
    {"schedule": "wsd", "warmup_fraction": 0.1, "decay_fraction": 0.5},
    warmed(
        lambda o: ts.LambdaLR(o, lambda s: 1 - math.sqrt(max(0, s - 27) / 27)), 6, 1 / 3
    ),
)
torch_case(
    60,
    {"schedule": "batch_growth", "milestones": [0.3, 0.6, 0.8], "gamma": 0.2, "max_batch_multiplier": 10},
    lambda o: ts.MultiStepLR(o, milestones=[18, 36, 48], gamma=0.2),
    per_batch=True,
)

# A linear warm-up before any of them.
WARM = {"warmup_fraction": 0.2, "warmup_start_factor": 0.1}
for config, build, family in [
    ({"schedule": "step", "step_fraction": 0.25}, lambda o: ts.StepLR(o, 12), None),
    ({"schedule": "multistep"}, lambda o: ts.MultiStepLR(o, [24, 36]), None),
    ({"schedule": "exponential"}, lambda o: ts.ExponentialLR(o, 0.01 ** (1 / 48)), None),
    ({"schedule": "polynomial", "power": 2}, lambda o: ts.PolynomialLR(o, 48, power=2), None),
    ({"schedule": "linear"}, lambda o: ts.LinearLR(o, 1.0, 0.0, total_iters=48), None),
    ({"schedule": "cosine"}, lambda o: ts.CosineAnnealingLR(o, 48), None),
    (
        {"schedule": "warm_restarts", "restart_fraction": 0.25},
        lambda o: ts.CosineAnnealingWarmRestarts(o, 12, T_mult=2),
        None,
    ),
    ({"schedule": "cyclic"}, lambda o: ts.CyclicLR(o, 0.25 * LR, LR, 6), "sgd"),
    ({"schedule": "one_cycle"}, lambda o: ts.OneCycleLR(o, LR, total_steps=48), "adam"),
]:
    torch_case(60, {**config, **WARM}, warmed(build, 12, 0.1), family)

# Plateaus: losses that fall, stall, are no number, get better by too little, rise.
LOSSES = [1.0, 0.8, 0.8, 0.79999, 0.81, 0.5, math.nan, 0.6, 0.6, 0.6, 0.45, 0.46, 0.44, 0.44, 0.44]
LOSSES += [0.44, 0.439, 0.4, 0.4, 0.4]
for knobs, shares in [
    ({"factor": 0.1, "patience": 2}, {"factor": 0.1, "patience_fraction": 0.1}),
    (
        {"factor": 0.5, "patience": 1, "cooldown": 2, "min_lr": 0.03, "threshold": 0.05},
        {
            "factor": 0.5,
            "patience_fraction": 0.05,
            "cooldown_fraction": 0.1,
            "min_lr_ratio": 0.15,
            "threshold": 0.05,
        },
    ),
    ({"factor": 0.7, "patience": 0}, {"factor": 0.7, "patience_fraction": 0.0}),
]:
    plateau_case(200, {"schedule": "reduce_on_plateau", **shares}, LOSSES, **knobs)
for case in cases:
    if "losses" in case:
        case["losses"] = [None if math.isnan(x) else x for x in case["losses"]]

print('{"torch": "%s", "keras": "%s", "cases": [' % (torch.__version__.split("+")[0], keras.__version__))
print(",\n".join(json.dumps(case, separators=(",", ":")) for case in cases))
print("]}")
print(f"{len(cases)} cases", file=sys.stderr)
