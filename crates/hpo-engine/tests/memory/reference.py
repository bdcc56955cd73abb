"""Reference numbers for the regression of peak memory: writes reference.json beside itself.

Ridge regression behind a standardizer, leave-one-out residuals by explicit refits (the scaling kept, as
the penalty is part of the model), and the conformal bound as an order statistic. Run it with
scikit-learn and NumPy; their versions are written into the file.
"""

import json
import math
import pathlib

import numpy as np
import sklearn
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

rng = np.random.default_rng(4)
cases = []
for n, columns, alpha, level in [
    (5, 1, 0.1, 0.95),
    (19, 1, 0.1, 0.95),
    (19, 3, 1.0, 0.9),
    (40, 4, 0.1, 0.95),
    (60, 10, 1e-3, 0.95),
    (8, 12, 0.5, 0.8),
]:
    x = rng.normal(size=(n, columns)) * rng.uniform(0.1, 30, size=columns) + rng.normal(size=columns)
    if columns >= 4:
        x[:, 2] = 7.0  # a column that does not vary
    y = 6 + x @ rng.normal(size=columns) / 10 + rng.normal(size=n) * 0.1
    new = x.mean(axis=0) + rng.normal(size=columns) * x.std(axis=0)
    scaler = StandardScaler().fit(x)
    fit = Ridge(alpha=alpha, solver="cholesky").fit(scaler.transform(x), y)
    left_out = []
    for i in range(n):
        keep = np.arange(n) != i
        without = Ridge(alpha=alpha, solver="cholesky").fit(scaler.transform(x[keep]), y[keep])
        left_out.append(float(y[i] - without.predict(scaler.transform(x[i : i + 1]))[0]))
    rank = math.ceil((n + 1) * level)
    cases.append(
        {
            "rows": x.tolist(),
            "y": y.tolist(),
            "alpha": alpha,
            "new": new.tolist(),
            "predicted": float(fit.predict(scaler.transform(new[None]))[0]),
            "left_out": left_out,
            "level": level,
            "bound": sorted(left_out)[rank - 1] if rank <= n else None,
        }
    )
reference = {"scikit-learn": sklearn.__version__, "numpy": np.__version__, "cases": cases}
path = pathlib.Path(__file__).with_name("reference.json")
path.write_text(json.dumps(reference) + "\n")
