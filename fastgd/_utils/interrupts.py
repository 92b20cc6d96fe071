"""Ctrl-C during long work: the first press is noticed at the next look, the second raises KeyboardInterrupt."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupted(Exception):  # noqa: N818  not an error
    """Ctrl-C was pressed. ``reached`` is the best that was known by then, if anything was."""

    def __init__(self, reached: Any = None) -> None:
        super().__init__()
        self.reached = reached


class Lost(Interrupted):
    """Whoever holds the samples is gone: what there is by then is given back as after Ctrl-C, but by an error."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__()
        self.cause = cause


class Interruption:
    """A handler of SIGINT that notes the first press and leaves the next one to Python."""

    def __init__(self) -> None:
        self.pressed = False
        self.heeded = False
        self.immediate = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Note a press."""
        self.pressed = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.immediate:
            raise Interrupted

    def look(self) -> None:
        """Raise `Interrupted` if Ctrl-C was pressed: for places where nothing is half done."""
        if self.pressed and not self.heeded:
            raise Interrupted

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise it by the press itself, anywhere in this block: for what can be left out, and leaves nothing behind."""
        self.look()
        self.immediate = True
        try:
            yield
        finally:
            self.immediate = False

    @contextmanager
    def heed(self) -> Iterator[None]:
        """Look no more in this block, which finds out what to give back."""
        self.heeded = True
        try:
            yield
        finally:
            self.heeded = False


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Have Ctrl-C noted in this block, instead of an exception between any two instructions.

    Only where Python would raise KeyboardInterrupt: in the main thread, and if nobody else handles SIGINT. A block
    within another notices its presses.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = signal.getsignal(signal.SIGINT)
    if isinstance(before, Interruption):
        yield before
    elif before is not signal.default_int_handler:
        yield interruption
    else:
        try:
            signal.signal(signal.SIGINT, interruption)
            yield interruption
        finally:
            if signal.getsignal(signal.SIGINT) is interruption:
                signal.signal(signal.SIGINT, before)


@contextmanager
def having(reached: Any) -> Iterator[None]:
    """Say what is known by now in an `Interrupted` that knows of nothing better."""
    try:
        yield
    except Interrupted as stop:
        raise Interrupted(reached if stop.reached is None else stop.reached) from None
