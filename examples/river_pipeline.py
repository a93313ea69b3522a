"""Use streamlstm models in place of river's own.

Run with `python examples/river_pipeline.py`.
"""

from river import compose, datasets, evaluate, metrics, preprocessing

from streamlstm import LSTMForecaster, LSTMRegressor


def main() -> None:
    """Score a regressor in a pipeline, and a forecaster at each horizon up to a year."""
    model = compose.Discard("ordinal_date") | preprocessing.StandardScaler() | LSTMRegressor()
    print(evaluate.progressive_val_score(datasets.TrumpApproval(), model, metrics.MAE()))

    forecaster = LSTMForecaster(season=12)
    score = evaluate.evaluate(datasets.AirlinePassengers(), forecaster, metrics.MAE(), horizon=12)
    for months, metric in enumerate(score.metrics, 1):
        print(f"{months:>2} months ahead: {metric}")


if __name__ == "__main__":
    main()
