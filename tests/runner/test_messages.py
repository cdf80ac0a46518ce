"""Progress of child processes arrives at their parent as it was reported."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.progress import Advance
from bench.runner.messages import Receiver, Reporter, parse


class Shown:
    """Receives progress and remembers it, in the order in which it comes."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def say(self, text: str) -> None:
        self.events.append(("say", text))

    @contextmanager
    def stage(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        self.events.append(("begin", title, total, unit))
        yield lambda done: self.events.append((title, done))
        self.events.append(("end", title))


def report(progress: Reporter | Shown) -> None:
    with progress.stage("outer", 10, "samples") as outer:
        outer(3)
        progress.say("zwei\nZeilen …")
        with progress.stage("inner", 2, "records") as inner:
            inner(1)
        outer(7)


def lines(pipe: io.StringIO) -> list[str]:
    return pipe.getvalue().splitlines()


def test_what_is_reported_is_shown() -> None:
    pipe, here, there = io.StringIO(), Shown(), Shown()
    report(Reporter(pipe))
    report(here)
    receiver = Receiver(there)
    for line in ["a library's own line", *lines(pipe), '{"say": "cut sho']:
        receiver.receive(parse(line))
    assert there.events == here.events


def test_stages_of_a_process_that_died_end_when_it_is_started_again() -> None:
    pipe, shown = io.StringIO(), Shown()
    report(Reporter(pipe))
    receiver = Receiver(shown, prefix="4: ")
    for line in [*lines(pipe)[:4], *lines(pipe)[:2]]:
        receiver.receive(parse(line))
    begun, ended = ("begin", "4: outer", 10, "samples"), ("end", "4: outer")
    assert shown.events[-4:] == [("end", "4: inner"), ended, begun, ("4: outer", 3)]
    receiver.close()
    assert shown.events[-1] == ended


def test_a_parent_that_is_gone_interrupts() -> None:
    pipe = io.StringIO()
    pipe.close()
    with pytest.raises(KeyboardInterrupt):
        Reporter(pipe).say("anybody there?")
