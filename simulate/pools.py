"""Where work that several processes share finds its workers: a command brings its own, which hear its signals."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import get_context
from typing import Any

__all__ = ["Pool", "plain_pool"]

Pool = Callable[..., AbstractContextManager[Executor]]
"""From a number of processes, what each calls first (or None), and that one's arguments."""


def plain_pool(processes: int, start: Callable[..., None] | None = None, *arguments: Any) -> ProcessPoolExecutor:
    """The standard library's, by fresh processes."""
    return ProcessPoolExecutor(processes, get_context("spawn"), start, arguments)
