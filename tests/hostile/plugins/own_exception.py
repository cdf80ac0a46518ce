"""Raises what is no `Exception`, in finish."""

from plugins.common import head, make


class Fatal(BaseException):
    """Caught by nobody."""


def finish(validate):
    raise Fatal("no way")


def adapt(model, config):
    return head(model, finish=finish)


method = make(__name__, adapt, holdout=True)
