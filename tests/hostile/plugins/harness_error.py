"""Raises an error of the harness's own, as if the data were damaged."""

from bench.errors import DataError
from plugins.common import head, make


def after_step():
    raise DataError("data1.npy is damaged.")


def adapt(model, config):
    return head(model, after_step=after_step)


method = make(__name__, adapt)
