"""The worker: one thread, and of each channel the latest request wins."""

import asyncio
import threading
import time

import pytest
from askable import segments

from tf_lrp.studio.problems import ProblemError
from tf_lrp.studio.worker import MOST_WAITING, StaleError, Worker


def test_a_later_request_ends_the_work_of_an_earlier_one_at_once():
    async def scene():
        worker, begun, ended = Worker(), threading.Event(), []

        def long(check):
            begun.set()
            try:
                for _ in range(1000):
                    check()
                    time.sleep(0.01)
            finally:
                ended.append(time.monotonic())

        first = asyncio.ensure_future(worker.run(long, "a", 1))
        await asyncio.to_thread(begun.wait)
        start = time.monotonic()
        second = asyncio.ensure_future(worker.run(lambda check: "second", "a", 2))
        with pytest.raises(StaleError):
            await first
        assert time.monotonic() - start < 1
        assert (await second)[0] == "second"
        assert ended[0] - start < 1
        with pytest.raises(StaleError):
            await worker.run(lambda check: "late", "a", 1)
        assert (await worker.run(lambda check: "other", "b", 1))[0] == "other"
        worker.close()

    asyncio.run(scene())


def test_waiting_requests_that_are_stale_are_never_begun():
    async def scene():
        worker, gate, done = Worker(), threading.Event(), []
        blocked = asyncio.ensure_future(worker.run(lambda check: gate.wait()))
        works = [asyncio.ensure_future(worker.run(lambda check, n=n: done.append(n), "slider", n)) for n in range(20)]
        await asyncio.sleep(0.05)
        gate.set()
        answers = await asyncio.gather(*works, return_exceptions=True)
        await blocked
        assert done == [19] and sum(isinstance(a, StaleError) for a in answers) == 19
        worker.close()

    asyncio.run(scene())


def test_too_many_waiting_requests_are_refused():
    async def scene():
        worker, gate = Worker(), threading.Event()
        waiting = [asyncio.ensure_future(worker.run(lambda check: gate.wait())) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0.05)
        with pytest.raises(ProblemError) as refused:
            await worker.run(lambda check: None)
        assert refused.value.status == 429
        gate.set()
        await asyncio.gather(*waiting)
        assert (await worker.run(lambda check: 1))[0] == 1
        worker.close()

    asyncio.run(scene())


def test_an_error_of_the_work_is_the_requests_own():
    async def scene():
        worker = Worker()
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda check: 1 / 0, "a", 1)
        assert (await worker.run(lambda check: 1, "a", 2))[0] == 1
        worker.close()

    asyncio.run(scene())


def test_of_many_explanations_of_a_channel_the_last_is_whole(client, picture):
    """As a slider asks: without waiting for answers."""

    def ask(sequence):
        source = {"segments": segments((5, {"class": "Epsilon", "epsilon": 0.01 * sequence}))}
        body = {"picture": picture, "source": source, "channel": "slider", "sequence": sequence}
        answers[sequence] = client.post("/api/explain", json=body).json()

    answers = {}
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(1, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    body = {"picture": picture, "source": {"named": "epsilon:epsilon=0.12"}}
    assert not answers[12]["stale"] and answers[12]["input"] == client.post("/api/explain", json=body).json()["input"]
    assert all(a["input"] is None and a["layers"] == {} for a in answers.values() if a["stale"])
