"""Ctrl-C during long work: the first press is noticed at the next check, the second raises KeyboardInterrupt."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupted(Exception):  # noqa: N818  not an error
    """Ctrl-C was pressed.

    Attributes
    ----------
    partial_result
        The best that was known by then, None if nothing was.
    """

    def __init__(self, partial_result: Any = None) -> None:
        super().__init__()
        self.partial_result = partial_result


class ClusterLost(Interrupted):
    """Whoever holds the samples is gone.

    It ends a run as Ctrl-C does, with the best point so far, so that `fit` can put that into a `ClusterError`.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__()
        self.cause = cause


class InterruptHandler:
    """A handler of SIGINT that notes the first press and leaves the next one to Python."""

    def __init__(self) -> None:
        self.pressed = False
        self.is_suspended = False
        self.is_immediate = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Note a press; within `immediately` raise `Interrupted`."""
        self.pressed = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.is_immediate:
            raise Interrupted

    def check_interrupt(self) -> None:
        """Raise `Interrupted` if Ctrl-C was pressed: called where nothing is half done."""
        if self.pressed and not self.is_suspended:
            raise Interrupted

    @contextmanager
    def immediately(self) -> Iterator[None]:
        """Raise `Interrupted` by the press itself, anywhere in a block that leaves nothing behind."""
        self.check_interrupt()
        self.is_immediate = True
        try:
            yield
        finally:
            self.is_immediate = False

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Make no check raise within a block, which finds out what to return."""
        self.is_suspended = True
        try:
            yield
        finally:
            self.is_suspended = False


@contextmanager
def interruptible() -> Iterator[InterruptHandler]:
    """Note Ctrl-C within a block, instead of an exception between any two instructions.

    Only where Python would raise KeyboardInterrupt: in the main thread, and if nobody else handles SIGINT. A block
    within another shares its handler.
    """
    handler = InterruptHandler()
    if threading.current_thread() is not threading.main_thread():
        yield handler
        return
    before = signal.getsignal(signal.SIGINT)
    if isinstance(before, InterruptHandler):
        yield before
    elif before is not signal.default_int_handler:
        yield handler
    else:
        try:
            signal.signal(signal.SIGINT, handler)
            yield handler
        finally:
            if signal.getsignal(signal.SIGINT) is handler:
                signal.signal(signal.SIGINT, before)


@contextmanager
def attach_partial_result(partial_result: Any) -> Iterator[None]:
    """Attach what is known by now to an `Interrupted` from a block that knows of nothing better."""
    try:
        yield
    except Interrupted as stop:
        better = partial_result if stop.partial_result is None else stop.partial_result
        raise Interrupted(better) from None


def no_check() -> None:
    """Check nothing: for work that nobody interrupts."""
