"""Measurements that users run on their own model: steerability, choices, calibration, and any task of lm-eval."""
