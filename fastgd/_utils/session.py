"""A run and what it owns: Ctrl-C, the clock, random numbers, threads, observers, open resources."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from fastgd._utils.interrupts import InterruptHandler, interruptible
from fastgd._utils.progress import ProgressLine


class Observer(Protocol):
    """Who is told about a run: a callback, a progress line, a checkpoint."""

    def on_row(self, row: Any) -> bool:
        """Take note of a `Row` of the history; True asks for the end of the run."""

    def on_state(self, state: Any) -> None:
        """Take note of the `LoopState` after a step, from which the run could go on."""


class Callback:
    """The observer that calls a caller's function with each row of the history."""

    def __init__(self, function: Callable[[Any], object]) -> None:
        self.function = function

    def on_row(self, row: Any) -> bool:
        """Return whether the function's answer is true."""
        return bool(self.function(row))

    def on_state(self, state: Any) -> None:
        """Ignore states: a callback sees rows."""


@dataclass
class Session:
    """One call of `fit` or `minimize`, from its first line to its result.

    Attributes
    ----------
    handler : InterruptHandler
        Notes Ctrl-C. Outside of `opened` it never sees any.
    began : float
        The `time.perf_counter` from which seconds count.
    rng : Generator
        Draws everything that is random in this run.
    n_threads : int or None
        Threads of a pass; None takes those that are free.
    show_progress : bool
        Whether lines on stderr show how far the run is.
    observers : list of Observer
        Told about every row and state, in this order.
    has_callback : bool
        Whether one of them is the caller's own.
    resources : ExitStack
        What is open as long as the run lasts, such as a spill file.
    """

    handler: InterruptHandler = field(default_factory=InterruptHandler)
    began: float = field(default_factory=time.perf_counter)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    n_threads: int | None = None
    show_progress: bool = False
    observers: list[Observer] = field(default_factory=list)
    has_callback: bool = False
    resources: ExitStack = field(default_factory=ExitStack)

    @classmethod
    @contextmanager
    def opened(
        cls,
        *,
        rng: np.random.Generator,
        n_threads: int | None = None,
        callback: Callable[[Any], object] | None = None,
        progress: bool = False,
        tol: float | None = None,
        began: float | None = None,
    ) -> Iterator[Session]:
        """Enter a run: Ctrl-C is noted, and a progress line is open if it is asked for."""
        with ExitStack() as resources:
            handler = resources.enter_context(interruptible())
            observers: list[Observer] = []
            if progress:
                observers.append(resources.enter_context(ProgressLine.opened(tol)))
            if callback is not None:
                observers.append(Callback(callback))
            clock = time.perf_counter() if began is None else began
            yield cls(handler, clock, rng, n_threads, progress, observers, callback is not None, resources)

    def check_interrupt(self) -> None:
        """Raise `Interrupted` if Ctrl-C was pressed: called where nothing is half done."""
        self.handler.check_interrupt()

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self.began
