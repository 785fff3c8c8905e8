"""Pools as data: each TOML file is one; ``predictors`` and ``tables`` hold what was measured on the local ones."""
