"""Experiments: what the papers measured, done again on a lab and told honestly (docs/method.md)."""
