"""Plugins that misbehave, each in one way; `tests/hostile/test_plugins_stay_apart.py` runs them."""
