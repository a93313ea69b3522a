"""River's checks of estimators, and our estimators in river's pipelines and evaluations."""

import pytest
from river import checks, compose, datasets, evaluate, metrics, preprocessing, time_series

from streamlstm import LSTMClassifier, LSTMForecaster, LSTMMultiTargetRegressor, LSTMRegressor
from streamlstm.kernels.cells import CELLS

OTHERS = [cell for cell in CELLS if cell != "lstm"]
FORECASTERS = [
    LSTMForecaster(),
    LSTMForecaster(seed=None, season=4),
    *(LSTMForecaster(hidden_size=4, cell=cell) for cell in OTHERS),
]
REGRESSORS = [
    LSTMRegressor(),
    LSTMRegressor(seed=None),
    *(LSTMRegressor(hidden_size=4, cell=cell, num_layers=2) for cell in CELLS),
    *(LSTMRegressor(cell=c, learning=f.FORWARD) for c, f in CELLS.items() if f.FORWARD),
    LSTMRegressor(hidden_size=4, lookahead=2, bidirectional=True),
]
CLASSIFIERS = [
    LSTMClassifier(),
    LSTMClassifier(seed=None),
    *(LSTMClassifier(hidden_size=4, cell=cell) for cell in OTHERS),
    LSTMClassifier(hidden_size=4, lookahead=2, bidirectional=True),
]
MULTI_TARGET = [
    LSTMMultiTargetRegressor(),
    *(LSTMMultiTargetRegressor(hidden_size=4, cell=cell) for cell in OTHERS),
]


def contract_of(models):
    """All of river's checks for these models."""
    checked = [
        pytest.param(
            model,
            check,
            id=f"{model}-{model.cell}-{model.learning}-seed={model.seed}"
            f"-{getattr(model, 'lookahead', 0)}late-{check.__name__}",
        )
        for model in models
        for check in checks.yield_checks(model)
        if check.__name__ not in model._unit_test_skips()
    ]
    return pytest.mark.parametrize(("model", "check"), checked)


class TestForecasters:  # a class for each kind, so that pytest workers can share the work
    @contract_of(FORECASTERS)
    def test_contract(self, model, check):
        check(model.clone())


class TestRegressors:
    @contract_of(REGRESSORS)
    def test_contract(self, model, check):
        check(model.clone())


class TestClassifiers:
    @contract_of(CLASSIFIERS)
    def test_contract(self, model, check):
        check(model.clone())


class TestMultiTargetRegressors:
    @contract_of(MULTI_TARGET)
    def test_contract(self, model, check):
        check(model.clone())


MODELS = [*FORECASTERS, *REGRESSORS, *CLASSIFIERS, *MULTI_TARGET]


def test_only_one_check_is_skipped_for_classifiers_with_a_lookahead():
    skipped = {check for model in MODELS for check in model._unit_test_skips()}
    assert skipped == {"check_predict_proba_one"}
    assert not any(m._unit_test_skips() for m in MODELS if not getattr(m, "lookahead", 0))


def test_regressor_in_a_pipeline_beats_the_mean():
    score = {}
    for name, model in [
        ("lstm", preprocessing.StandardScaler() | LSTMRegressor()),
        ("mean", LSTMRegressor(learning_rate=0.0)),
    ]:
        score[name] = evaluate.progressive_val_score(
            datasets.TrumpApproval(), model, metrics.MAE()
        ).get()
    assert score["lstm"] < score["mean"]


def test_forecaster_in_river_evaluation_beats_the_last_value():
    class LastValue(time_series.base.Forecaster):
        def learn_one(self, y, x=None):
            self.last = y

        def forecast(self, horizon, xs=None):
            return [self.last] * horizon

    dataset = datasets.AirlinePassengers()
    lstm = evaluate.evaluate(dataset, LSTMForecaster(season=12), metrics.MAE(), horizon=12)
    naive = evaluate.evaluate(dataset, LastValue(), metrics.MAE(), horizon=12)
    assert sum(m.get() for m in lstm.metrics) < sum(m.get() for m in naive.metrics)


def test_forecaster_at_the_end_of_a_pipeline():
    model = compose.Select("load") | LSTMForecaster()
    for n in range(50):
        model.learn_one({"load": n % 5, "other": 0.0}, float(n % 5))
    assert len(model.forecast(3)) == 3
