#!/usr/bin/env python3
"""Makes the tables of learning curves that searchers are measured on (benches/search/tables/*.json.gz).

    cargo build -p hpo
    python3 benches/search/make_tables.py target/debug/hpo [--only digits_gelu] [--out benches/search/tables]

Each table is a whole grid of optimizer x learning rate x momentum or betas x schedule x batch size, every
configuration trained for 27 epochs by hpo's own trainer, with nothing stopped early. About five minutes of one core a table.
How they are read: benches/search/problems.py and curves.py. Only the Python standard library is needed.
"""
import argparse
import gzip
import json
import math
import random
import sqlite3
import statistics
import subprocess
import tempfile
from pathlib import Path

EPOCHS = 27
RATES = [float(f"{10 ** (k / 2):.4g}") for k in range(-7, 2)]  # half decades from 3e-4 to 3
GRID = {
    "optimizer": ["momentum", "nesterov", "adam"],
    "lr": RATES,
    "schedule": ["constant", "cosine", "step", "one_cycle"],
    "batch_size": [32, 128],
    "momentum": [0.5, 0.9, 0.97],
    "beta1": [0.8, 0.9, 0.95],
    "beta2": [0.95, 0.999],
}
WHEN = {
    "momentum": ["momentum", "nesterov"],
    "beta1": ["adam"],
    "beta2": ["adam"],
}


def waves(path: Path) -> None:
    """A smooth function of six columns, three of which matter together, and two columns of nothing."""
    rng = random.Random(20)
    with path.open("w") as file:
        file.write(",".join(f"x{i}" for i in range(8)) + ",y\n")
        for _ in range(900):
            x = [rng.uniform(-1, 1) for _ in range(8)]
            y = math.sin(3 * x[0] * x[1]) + x[2] * abs(x[3]) + 2 * math.exp(-4 * (x[4] - x[5]) ** 2) + rng.gauss(0, 0.1)
            file.write(",".join(f"{v:.5f}" for v in [*x, y]) + "\n")


TRAINERS = {
    "digits_gelu": {"model": "mlp", "hidden": [48, 24], "activation": "gelu", "dataset": "digits", "validation": 0.4},
    "waves_tanh": {"model": "mlp", "hidden": [32, 16], "activation": "tanh", "validation": 0.3,
                   "dataset": {"csv": "waves.csv", "target": "y", "task": "regression"}},
}


def study(trainer: dict) -> str:
    """The study file (JSON is YAML): the whole grid, every trial to its end."""
    parameters = {
        name: {"values": values} | ({"when": {"optimizer": WHEN[name]}} if name in WHEN else {})
        for name, values in GRID.items()
    }
    return json.dumps({
        "name": "table",
        "trainer": trainer | {"epochs": EPOCHS},
        "metric": {"name": "val_loss", "goal": "minimize"},
        "method": "grid",
        "seed": 1,
        "parameters": parameters,
        "divergence": {"policy": "off"},
        "cpu": {"max_parallel": 1},
    }, indent=1)


def table(hpo: Path, name: str, trainer: dict) -> dict:
    """Runs the grid; for each configuration its losses, `None` from the first that is not finite on."""
    with tempfile.TemporaryDirectory() as folder:
        waves(Path(folder, "waves.csv"))
        Path(folder, "study.yaml").write_text(study(trainer))
        subprocess.run([hpo.resolve(), "run", "study.yaml", "--dir", "run"], cwd=folder, check=True)
        database = next(Path(folder, "run").rglob("*.db"))
        store = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        trials = dict(store.execute("SELECT trial, params FROM trials"))
        rows = store.execute("SELECT trial, step, name, value FROM metrics WHERE name IN ('val_loss', 'epoch_seconds')")
        losses: dict = {trial: [None] * EPOCHS for trial in trials}
        seconds: dict = {}
        for trial, step, metric, value in rows:
            if metric == "epoch_seconds":
                batch = json.loads(trials[trial])["batch_size"]
                seconds.setdefault(batch, []).append(float(value))
            elif value is not None and math.isfinite(float(value)):
                losses[trial][step - 1] = float(f"{float(value):.5g}")
        store.close()
    for curve in losses.values():
        broken = next((i for i, loss in enumerate(curve) if loss is None), EPOCHS)
        curve[broken:] = [None] * (EPOCHS - broken)
    return {
        "name": name,
        "about": "validation loss after each epoch; made by benches/search/make_tables.py",
        "trainer": trainer,
        "grid": GRID,
        "when": WHEN,
        "cost": {str(batch): round(statistics.median(s), 5) for batch, s in sorted(seconds.items())},
        "trials": [{"params": json.loads(trials[t]), "loss": losses[t]} for t in sorted(trials)],
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hpo", type=Path)
    parser.add_argument("--only", choices=TRAINERS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "tables")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, trainer in TRAINERS.items():
        if arguments.only in (None, name):
            text = json.dumps(table(arguments.hpo, name, trainer), separators=(",", ":"))
            path = arguments.out / f"{name}.json.gz"
            with gzip.GzipFile(path, "wb", mtime=0) as file:
                file.write(text.encode())
            print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
