"""Code that the estimators share: network, features, seasons, drift detection."""
