"""URLs of a board's pages, and the navigation that they share."""

from dataclasses import dataclass, field

from bench.protocol.spec import TARGETS
from leaderboard.load.records import BoardKey
from leaderboard.tables import memory, robustness
from leaderboard.tables.boards import Board
from leaderboard.tables.variants import Variant

_PAGES = (
    ("", "Leaderboard"),
    ("claims", "Claims"),
    ("lowdata", "Low data"),
    ("ood", "Generalisation"),
    ("robustness", "Robustness"),
    ("backbones", "Backbones"),
    ("pretrain", "Pretraining"),
    ("memory", "Memory"),
    ("speed", "Speed"),
    ("sweep", "Sweeps"),
    ("gallery", "Maps"),
    ("explorer", "Errors"),
    ("compare", "Compare"),
    ("runs", "Runs"),
)


@dataclass(frozen=True)
class Urls:
    """Names of files in the site. The first board has the front page of the site."""

    boards: tuple[Board, ...]
    several: frozenset[BoardKey] = frozenset()
    """Boards whose methods ran on other backbones, too: they have a page of that."""
    timed: frozenset[BoardKey] = frozenset()
    """Boards on whose network `bench speed` was measured."""
    _common: dict[str, dict[str, object]] = field(default_factory=dict)

    def front(self, board: Board) -> str:
        first = bool(self.boards) and board is self.boards[0]
        return "index.html" if first else f"{board.key.slug}.html"

    def page(self, board: Board, kind: str) -> str:
        return f"{board.key.slug}-{kind}.html" if kind else self.front(board)

    def method(self, board: Board, variant: Variant) -> str:
        return method_page(board.key, variant.key)

    def comparison(self, board: Board, variant: Variant) -> str:
        return f"compare/{board.key.slug}-{variant.key}.html"

    def data(self, board: Board, suffix: str) -> str:
        return f"data/{board.key.slug}.{suffix}"

    def has(self, board: Board, kind: str) -> bool:
        """Whether the board has a page of this kind."""
        match kind:
            case "backbones":
                return board.key in self.several
            case "speed":
                return board.key in self.timed
            case _:
                return has_page(board, kind)

    def common(self, board: Board) -> dict[str, object]:
        """Template values that every page of a board needs; the same at every call."""
        if board.key.slug not in self._common:
            self._common[board.key.slug] = self._values(board)
        return self._common[board.key.slug]

    def _values(self, board: Board) -> dict[str, object]:
        tabs = [(self.page(board, kind), label) for kind, label in _PAGES if self.has(board, kind)]
        return {
            "board": board,
            "tabs": tabs,
            "errors_page": self.page(board, "explorer") if has_page(board, "explorer") else None,
            "memory_page": self.page(board, "memory"),
            "speed_page": self.page(board, "speed") if board.key in self.timed else None,
            "claims_page": self.page(board, "claims"),
            "runs_page": self.page(board, "runs"),
            "boards": [(self.front(b), b) for b in self.boards],
            "compare_page": {v.key: self.comparison(board, v) for v in board.variants},
            "method_page": {v.key: self.method(board, v) for v in board.variants},
            "data_files": {s: self.data(board, s) for s in ("csv", "json", "parquet")},
        }


def method_page(board: BoardKey, variant: str) -> str:
    """URL of a method's page, known before the board is: run pages link to it."""
    return f"methods/{board.slug}-{variant}.html"


def has_page(board: Board, kind: str) -> bool:
    """Whether the board's own records fill a page of this kind; empty pages are not written."""
    fits = board.datasets
    match kind:
        case "claims":
            return not board.trial and has_page(board, "ood")
        case "lowdata":
            return any(percent < 100 for _, percent in fits)
        case "pretrain":
            return _shows_pretraining(board)
        case "sweep":
            return bool(board.sweeps)
        case "ood":
            return any(train in TARGETS for train, _ in fits)
        case "memory":
            return bool(memory.table(board))
        case "robustness":
            return bool(robustness.shift(board) or robustness.retention(board))
        case "gallery":
            pretrained = board.foundation is not None and board.pretraining_scored
            return has_page(board, "ood") or pretrained
        case "explorer":
            return board.errors_known
        case "compare":
            return len(board.variants) > 1
        case _:
            return True


def _shows_pretraining(board: Board) -> bool:
    """Whether anything says what pretraining brings: scores on its datasets, or a fit from scratch
    on a target beside one of the foundation."""
    if board.pretraining_scored:
        return True
    tuned, scratch = board.reference, [v for v in board.variants if v.start == "scratch"]
    return tuned is not None and any(
        board.run_ids(tuned.key, name, 100).keys() & board.run_ids(v.key, name, 100).keys()
        for name in TARGETS
        for v in scratch
    )
