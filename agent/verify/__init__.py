"""Verification: deterministic checks, then agreement, then a judge; one calibrator makes one probability of all."""
