"""What the estimators share: the network, features, seasons, drift detection."""
