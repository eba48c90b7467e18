"""The linear model beside the network: ridge or logistic regression with its own cross-validated strength."""

from __future__ import annotations

import warnings

import numpy as np


def linear_predictions(inputs: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, *, classes: int, balanced: bool,
                       seed: int) -> np.ndarray:
    """Predictions on ``test`` of a linear model fitted on ``train``: (n, C) probabilities, or (n, 1) values.

    Large data are thinned to keep this a matter of seconds; the strength is chosen by cross-validation (generalized, for ridge).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.model_selection import GridSearchCV

    rng = np.random.default_rng(seed)
    limit = max(500, int(2e6 / max(1, inputs.shape[1])))
    rows = train if len(train) <= limit else np.sort(rng.choice(train, limit, replace=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        if not classes:
            model = RidgeCV(alphas=np.logspace(-2, 4, 13)).fit(inputs[rows], y[rows])
            return model.predict(inputs[test]).reshape(-1, 1).astype(np.float32)
        if np.unique(y[rows]).size < 2:
            return np.full((len(test), classes), 1 / classes, np.float32)
        smallest = int(np.bincount(y[rows])[np.unique(y[rows])].min())
        # ten times sklearn's tolerance: less work for a score that is for comparison; on small tables it moves by a row or two
        plain = LogisticRegression(C=0.1, max_iter=300, tol=1e-3, class_weight="balanced" if balanced else None)
        if smallest < 3 or len(rows) * inputs.shape[1] > 1_500_000:
            model = plain.fit(inputs[rows], y[rows])
        else:
            grid = {"C": [0.003, 0.03, 0.3, 3.0]}
            scoring = "balanced_accuracy" if balanced else "neg_log_loss"
            model = GridSearchCV(plain, grid, cv=3, scoring=scoring).fit(inputs[rows], y[rows])
        out = np.zeros((len(test), classes), np.float32)
        out[:, model.classes_] = model.predict_proba(inputs[test])
        return out
