"""The one thread in which TensorFlow runs. Of each channel of requests the latest wins."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tf_lrp.studio.problems import ProblemError

#: Requests that may wait, and channels that are remembered.
MOST_WAITING = 200
_MOST_CHANNELS = 10_000


class StaleError(Exception):
    """A later request of the channel has taken this one's place."""


class Ticket:
    """One request's place in its channel.

    Attributes:
        sequence: of the request.
    """

    def __init__(self, sequence: int):
        self.sequence = sequence
        self._stale = asyncio.Event()

    def replace(self):
        """A later request has come."""
        self._stale.set()

    async def replaced(self):
        """Returns when a later request has come."""
        await self._stale.wait()

    def check(self):
        """Raises StaleError once a later request has come. To be called between steps of the work, in any thread."""
        if self._stale.is_set():
            raise StaleError


class Worker:
    """Runs work in one thread of its own, in the order in which it came."""

    def __init__(self):
        self._executor = ThreadPoolExecutor(1, "tf-lrp-studio")
        self._latest: OrderedDict[str, Ticket] = OrderedDict()
        self._waiting = 0

    async def run(self, work: Callable[[Callable[[], None]], Any], channel: str | None = None, sequence: int = 0):
        """The result of some work, and the milliseconds that it took.

        Args:
            work: is called in the thread, with a function that it calls between its steps, and which raises StaleError.
            channel, sequence: of the request, see `tf_lrp.studio.schemas.Work`.

        Raises:
            StaleError: as soon as a later request of the channel has come.
            ProblemError: too many requests wait.
        """
        ticket = self._ticket(channel, sequence)
        if self._waiting >= MOST_WAITING:
            raise ProblemError(429, f"{MOST_WAITING} requests are waiting already: ask again when some are answered.")
        self._waiting += 1
        result = asyncio.get_running_loop().run_in_executor(self._executor, _timed, work, ticket.check)
        result.add_done_callback(self._finished)
        replaced = asyncio.ensure_future(ticket.replaced())
        try:
            await asyncio.wait({result, replaced}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            replaced.cancel()
        if result.done():
            return result.result()
        raise StaleError

    def close(self):
        """Ends the thread, once what it does now is done."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _ticket(self, channel, sequence):
        ticket = Ticket(sequence)
        if channel is None:
            return ticket
        latest = self._latest.pop(channel, None)
        if latest is not None and latest.sequence > sequence:
            self._latest[channel] = latest
            raise StaleError
        if latest is not None:
            latest.replace()
        self._latest[channel] = ticket
        if len(self._latest) > _MOST_CHANNELS:
            self._latest.popitem(last=False)
        return ticket

    def _finished(self, future):
        self._waiting -= 1
        if not future.cancelled():
            future.exception()  # nobody may be waiting for it any more


def _timed(work, check):
    check()
    start = time.perf_counter()
    result = work(check)
    return result, 1000 * (time.perf_counter() - start)
