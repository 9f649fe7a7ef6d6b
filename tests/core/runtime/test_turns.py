"""Calls of one event loop that begin in the same turn of it, done as one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from fs_core.runtime.turns import Turns


class Doubling:
    """Doubles numbers, none of them negative; keeps which came together."""

    def __init__(self, most: int = 100) -> None:
        self.seen: list[list[int]] = []
        self.turns: Turns[int, int] = Turns(self._double, most, ConnectionError)

    async def _double(self, numbers: Sequence[int]) -> list[int]:
        self.seen.append(list(numbers))
        await asyncio.sleep(0)
        if 1_000 in numbers:
            raise ConnectionError
        if min(numbers) < 0:
            raise ValueError(numbers)
        return [2 * number for number in numbers]

    async def ask(self, *numbers: int) -> list[int | None]:
        """Ask for several in one turn; odd and even ones are of two kinds."""
        return list(await asyncio.gather(*(self.turns.join(number % 2, number, 1) for number in numbers)))


def test_items_of_a_kind_that_come_in_one_turn_go_together() -> None:
    """Each gets its own; what comes in the next turn isn't among them."""

    async def run() -> None:
        doubling = Doubling()
        assert await doubling.ask(2, 3, 4, 5, 2) == [4, 6, 8, 10, 4]
        assert await doubling.ask(6, 8) == [12, 16]
        assert sorted(doubling.seen) == [[2, 4, 2], [3, 5], [6, 8]]

    asyncio.run(run())


def test_who_is_alone_and_who_fails_goes_on_by_itself() -> None:
    """Nobody does anything for who comes alone of a kind; where one item fails, none of them has an outcome."""

    async def run() -> None:
        doubling = Doubling()
        assert await doubling.ask(2, 3) == [None, None]
        assert doubling.seen == []
        assert await doubling.ask(2, -2, 3, 5) == [None, None, 6, 10]

    asyncio.run(run())


def test_an_error_that_is_common_is_told_to_each() -> None:
    """Nobody tries again by itself what failed for all."""

    async def run() -> None:
        doubling = Doubling()
        first, second = doubling.turns.join(0, 2, 1), doubling.turns.join(0, 1_000, 1)
        found = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(one) for one in found] == [ConnectionError] * 2
        assert doubling.seen == [[2, 1_000]]

    asyncio.run(run())


def test_too_many_items_go_in_several_parts() -> None:
    """From a size on no more join."""

    async def run() -> None:
        doubling = Doubling(most=3)
        assert await doubling.ask(*range(0, 16, 2)) == [2 * number for number in range(0, 16, 2)]
        assert doubling.seen == [[0, 2, 4], [6, 8, 10], [12, 14]]

    asyncio.run(run())


def test_who_gives_up_takes_nobody_along() -> None:
    """One that is cancelled while the work is done; and a loop that ends meanwhile leaves nobody waiting."""

    async def run() -> None:
        doubling = Doubling()
        first, second = doubling.turns.join(0, 2, 1), doubling.turns.join(0, 4, 1)
        await asyncio.sleep(0)
        first.cancel()
        assert await second == 8
        with pytest.raises(asyncio.CancelledError):
            await first
        third, _ = doubling.turns.join(0, 2, 1), doubling.turns.join(0, 4, 1)
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        assert await third is None

    asyncio.run(run())
