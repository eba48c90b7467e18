"""What other people would train on the rows of a ``wf.tune`` run: the other methods of ``tables.py``."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from common import mean

if TYPE_CHECKING:
    from wellfit.data import Split, Table
    from wellfit.search.score import Scorer

BASELINES = ("sklearn mlp", "sklearn mlp, own", "sklearn mlp, bal", "linear", "xgboost", "xgboost, bal")
FAMILIES = {"mlp": BASELINES[:3], "linear": BASELINES[3:4], "xgboost": BASELINES[4:]}
ALSO = {"tuned-xgboost": ("xgboost, tuned",), "realmlp": ("realmlp",), "realmlp-bagged": ("realmlp, bagged",)}
ONE_HOT_LIMIT, SEARCH_ROWS, RESAMPLES = 64, 8000, 1000

@dataclass
class Rows:
    """A table with the split of a run: what every other method sees."""

    table: Table
    split: Split
    inputs: np.ndarray  # as the run's networks see them
    plain: np.ndarray  # numbers scaled, categories one-hot
    scorer: Scorer
    seed: int
    seconds: float | None  # of the tune run's budget
    threads: int

    @property
    def classes(self) -> int:
        return self.scorer.classes

    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Classes of the development rows, numbered without gaps, and which class each number is."""
        known, labels = np.unique(self.table.y[self.split.development], return_inverse=True)
        return labels.reshape(-1), known

    def spread_out(self, probabilities: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Probabilities of the classes seen in training as those of all classes."""
        out = np.zeros((len(probabilities), self.classes))
        out[:, known] = probabilities
        return out


def balanced_weights(labels: np.ndarray) -> np.ndarray:
    """One weight per row, n / (C · n_c)."""
    counts = np.bincount(labels)
    return (len(labels) / (len(counts) * counts))[labels]


def resampled(labels: np.ndarray, seed: int) -> np.ndarray:
    """Row numbers in which every class is as frequent as the largest one."""
    rng = np.random.default_rng(seed)
    largest = np.bincount(labels).max()
    rows = [np.concatenate([np.tile(own, largest // len(own)), rng.choice(own, largest % len(own), replace=False)])
            for own in (np.flatnonzero(labels == c) for c in range(labels.max() + 1))]
    return np.concatenate(rows)


def sklearn_mlp(data: Rows, balanced: bool = False, own: bool = False) -> tuple[np.ndarray, dict[str, Any]]:
    from inspect import signature

    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.preprocessing import StandardScaler

    x, rows = data.plain if own else data.inputs, data.split.development
    if not data.classes:
        scaler = None if own else StandardScaler()  # None leaves the targets as they are
        model = TransformedTargetRegressor(MLPRegressor(random_state=data.seed), transformer=scaler)
        model.fit(x[rows], data.table.y[rows])
        return model.predict(x[data.split.test]).reshape(-1, 1), {"epochs": model.regressor_.n_iter_}
    labels, known = data.labels()
    model, about = MLPClassifier(random_state=data.seed), {}
    if not balanced:
        model.fit(x[rows], labels)
    elif "sample_weight" in signature(model.fit).parameters:
        model.fit(x[rows], labels, sample_weight=balanced_weights(labels))
        about["balanced_by"] = "sample weights"
    else:
        chosen = resampled(labels, data.seed)
        model.fit(x[rows][chosen], labels[chosen])
        about["balanced_by"] = "resampled rows"
    return data.spread_out(model.predict_proba(x[data.split.test]), known), {**about, "epochs": model.n_iter_}


def linear(data: Rows) -> tuple[np.ndarray, dict[str, Any]]:
    """The strength is chosen by cross-validation, on some of the rows where there are many; then all rows are fitted."""
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    x, rows = data.plain, data.split.development
    if not data.classes:
        model = RidgeCV(alphas=np.logspace(-3, 5, 17)).fit(x[rows], data.table.y[rows])
        return model.predict(x[data.split.test]).reshape(-1, 1), {"alpha": float(model.alpha_)}
    labels, known = data.labels()
    some = np.random.default_rng(data.seed).permutation(len(rows))[:SEARCH_ROWS]
    plain = LogisticRegression(class_weight="balanced", max_iter=300)
    search = GridSearchCV(plain, {"C": np.logspace(-4, 2, 7)}, scoring="balanced_accuracy",
                          cv=StratifiedKFold(3, shuffle=True, random_state=data.seed), refit=False)
    search.fit(x[rows][some], labels[some])
    strength = float(search.best_params_["C"])
    model = plain.set_params(C=strength, max_iter=1000).fit(x[rows], labels)
    return data.spread_out(model.predict_proba(x[data.split.test]), known), {"C": strength}


def tree_inputs(loaded: Table, development: np.ndarray) -> np.ndarray:
    """Numbers, flags and dates as they are, NaN where missing; categories one-hot, or numbered where they are many."""
    import pandas as pd

    kinds = {c.name: c.kind for c in loaded.features}
    parts = []
    for name, kind in kinds.items():
        values = loaded.frame[name]
        if kind == "categorical":
            codes = values.cat.codes.to_numpy()
            seen = np.unique(codes[development])
            seen = seen[seen >= 0]
            parts.append((codes[:, None] == seen).astype(np.float32) if len(seen) <= ONE_HOT_LIMIT
                         else np.where(np.isin(codes, seen), codes, np.nan)[:, None])
        elif kind == "date":
            days = (values - pd.Timestamp(0)) / pd.Timedelta(days=1)
            parts.append(days.to_numpy(np.float64)[:, None])
        else:
            parts.append(values.to_numpy(np.float64)[:, None])
    return np.concatenate(parts, axis=1).astype(np.float32)


def xgboost(data: Rows, balanced: bool = False) -> tuple[np.ndarray, dict[str, Any]]:
    from xgboost import XGBClassifier, XGBRegressor

    x, rows = tree_inputs(data.table, data.split.development), data.split.development
    settings = {"n_jobs": 1, "random_state": data.seed}
    if not data.classes:
        model = XGBRegressor(**settings).fit(x[rows], data.table.y[rows])
        return model.predict(x[data.split.test]).reshape(-1, 1), {}
    labels, known = data.labels()
    model = XGBClassifier(**settings).fit(x[rows], labels, sample_weight=balanced_weights(labels) if balanced else None)
    return data.spread_out(model.predict_proba(x[data.split.test]), known), {}


def xgboost_tuned(data: Rows) -> tuple[np.ndarray, dict[str, Any]]:
    """As many trials as fit the budget; what they are judged by is the mean score over the run's folds."""
    import optuna
    from xgboost import XGBClassifier, XGBRegressor

    if data.seconds is None:
        raise ValueError("xgboost, tuned needs a budget of time")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    x, rows = tree_inputs(data.table, data.split.development), data.split.development
    labels = data.labels()[0] if data.classes else data.table.y[rows]
    place = {r: i for i, r in enumerate(rows.tolist())}
    folds = [tuple(np.array([place[r] for r in part.tolist()]) for part in pair) for pair in data.split.folds]

    def fitted(settings: dict[str, Any], some: np.ndarray) -> Any:
        settings = {**settings, "n_jobs": data.threads, "random_state": data.seed, "tree_method": "hist"}
        if not data.classes:
            return XGBRegressor(**settings).fit(x[rows[some]], labels[some])
        known = np.unique(labels[some])
        model = XGBClassifier(**settings).fit(x[rows[some]], np.searchsorted(known, labels[some]),
                                              sample_weight=balanced_weights(np.searchsorted(known, labels[some])))
        model.known = known
        return model

    def loss(trial: Any) -> float:
        settings = {"n_estimators": trial.suggest_int("n_estimators", 50, 1000, log=True),
                    "learning_rate": trial.suggest_float("learning_rate", 5e-3, 0.5, log=True),
                    "max_depth": trial.suggest_int("max_depth", 2, 10),
                    "min_child_weight": trial.suggest_float("min_child_weight", 1e-1, 30, log=True),
                    "subsample": trial.suggest_float("subsample", 0.5, 1.0),
                    "colsample_bytree": trial.suggest_float("colsample_bytree", 0.3, 1.0),
                    "reg_lambda": trial.suggest_float("reg_lambda", 1e-3, 30, log=True),
                    "reg_alpha": trial.suggest_float("reg_alpha", 1e-4, 10, log=True),
                    "gamma": trial.suggest_float("gamma", 1e-4, 5, log=True)}
        trial.set_user_attr("settings", settings)
        found = []
        for train, held in folds:
            model = fitted(settings, train)
            if data.classes:
                right = model.known[model.predict(x[rows[held]])] == labels[held]
                found.append(1 - mean([right[labels[held] == c].mean() for c in np.unique(labels[held])]))
            else:
                found.append(float(np.sqrt(np.mean((model.predict(x[rows[held]]) - labels[held]) ** 2))))
        return mean(found)

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=data.seed))
    study.optimize(loss, timeout=0.92 * data.seconds)
    model = fitted(study.best_trial.user_attrs["settings"], np.arange(len(rows)))
    about = {"trials": len(study.trials)}
    if not data.classes:
        return model.predict(x[data.split.test]).reshape(-1, 1), about
    return data.spread_out(model.predict_proba(x[data.split.test]), data.labels()[1][model.known]), about


def realmlp(data: Rows, bagged: bool = False) -> tuple[np.ndarray, dict[str, Any]]:
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    for name in ("pytorch_lightning", "lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    rows, test = data.split.development, data.split.test
    frame, text = data.table.frame[[c.name for c in data.table.features]].copy(), []
    for column in data.table.features:
        if column.kind == "categorical":
            frame[column.name] = frame[column.name].astype(object).fillna("missing").astype(str)
            text.append(column.name)
        else:
            if column.kind == "date":
                frame[column.name] = frame[column.name].astype("int64")
            values = frame[column.name].astype("float64")
            frame[column.name] = values.fillna(values.iloc[rows].median())  # it takes no missing numbers
    given = {"device": "cpu", "random_state": data.seed, "n_threads": data.threads, "verbosity": 0,
             **({"n_cv": 5} if bagged else {"n_refit": 1})}
    limit = {"cat_col_names": text, **({} if data.seconds is None else {"time_to_fit_in_seconds": int(data.seconds)})}
    if not data.classes:
        model = RealMLP_TD_Regressor(**given).fit(frame.iloc[rows], data.table.y[rows], **limit)
        return np.asarray(model.predict(frame.iloc[test])).reshape(-1, 1), {}
    labels, known = data.labels()
    model = RealMLP_TD_Classifier(**given, use_ls=False, val_metric_name="1-balanced_accuracy")
    model.fit(frame.iloc[rows], labels, **limit)
    odds = np.asarray(model.predict_proba(frame.iloc[test])) / (np.bincount(labels) / len(labels))
    return data.spread_out(odds / odds.sum(axis=1, keepdims=True), known), {}


METHODS: dict[str, Callable[[Rows], tuple[np.ndarray, dict[str, Any]]]] = {
    "sklearn mlp": sklearn_mlp, "sklearn mlp, own": lambda data: sklearn_mlp(data, own=True),
    "sklearn mlp, bal": lambda data: sklearn_mlp(data, balanced=True), "linear": linear,
    "xgboost": xgboost, "xgboost, bal": lambda data: xgboost(data, balanced=True), "xgboost, tuned": xgboost_tuned,
    "realmlp": realmlp, "realmlp, bagged": lambda data: realmlp(data, bagged=True)}


def judged(data: Rows, method: str) -> dict[str, Any]:
    """One of the other methods: its test score, the bootstrap standard error, and its time. Those of ``ALSO`` have the threads of
    the tune run, the others one."""
    from threadpoolctl import threadpool_limits

    from wellfit.search.score import standard_error

    began = time.perf_counter()
    threads = data.threads if any(method in methods for methods in ALSO.values()) else 1
    with warnings.catch_warnings(), threadpool_limits(threads):
        warnings.simplefilter("ignore")  # iterations used up, classes with few rows: these are the defaults
        predictions, about = METHODS[method](data)
    seconds = time.perf_counter() - began
    contributions = data.scorer.rows(predictions)
    return {"test": data.scorer.score(data.scorer.error(contributions)), "seconds": seconds, **about,
            "standard_error": standard_error(data.scorer, contributions, data.scorer.resamples(RESAMPLES, data.seed))}


