"""The error explorer: all test samples of a cell, sorted by a method's error."""

import json

from markupsafe import Markup

from leaderboard.pages.gallery import MapsShown
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.tables import errors
from leaderboard.tables.boards import CLAIMED, Board

_WORST = 12
"""Samples in the table that needs no script."""


def write(site: Site, board: Board, urls: Urls, pictured: MapsShown) -> None:
    """Write the page; `pictured` says which samples have maps in the gallery, and where."""
    cells = errors.cells(board)
    methods = errors.methods(board, cells)
    first = next((v for v in methods if v.name == CLAIMED), methods[0])
    shown = next(cell for cell in cells if first.key in cell.errors)
    values = shown.errors[first.key]
    worst = sorted(range(len(values)), key=lambda i: -values[i])[:_WORST]
    data = {
        "methods": [{"key": v.key, "label": v.label, "index": v.index} for v in methods],
        "first": first.key,
        "cells": [
            {
                "train": cell.train,
                "test": cell.test,
                "seeds": cell.seeds,
                "errors": {k: [round(e, 1) for e in v] for k, v in cell.errors.items()},
                "maps": pictured.get((cell.train, cell.test), {}),
            }
            for cell in cells
        ],
    }
    site.page(
        urls.page(board, "explorer"),
        "explorer",
        first=first,
        shown=shown,
        worst=[(i, values[i], link(pictured, shown, first.key, i)) for i in worst],
        data=Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")),
        **urls.common(board),
    )


def link(pictured: MapsShown, cell: errors.SampleErrors, method: str, sample: int) -> str | None:
    """Where the maps of a sample are shown; None where they are not."""
    return pictured.get((cell.train, cell.test), {}).get(method, {}).get(sample)
