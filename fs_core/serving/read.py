"""One online read on its way: what it wants from the online store, and what follows from what came back.

It does no input or output of its own, so that waiting and not waiting readers share every step:

    read = OnlineRead(plan, entities, ...)
    for requests, seconds in read.steps():      # what to ask the online store for, and how long to wait
        read.take(rows)                         # its answer, or `read.fail(error)`: that there was none
    read.answer(offline)                        # reads history where `read.needs_history`
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fs_core.errors import NotOnlineError, OnlineUnavailableError
from fs_core.online.contract import AVAILABLE, PartialRead, timeline_name
from fs_core.online.row.entries import moment_word, whole
from fs_core.online.row.recent import Timelines
from fs_core.retrieval.computed import computed
from fs_core.retrieval.selection import Computation, SelectedFeature, ViewLookup
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, STATUS, at_moment
from fs_core.serving.answers import Answer, AskedKeys, ComputedAnswer, Held, TableAnswer
from fs_core.serving.budget import Budget, Requests
from fs_core.serving.cache import RowCache
from fs_core.serving.plan import WHAT, ReadPlan, ViewPlan
from fs_core.serving.vectors import FeatureVectors
from fs_core.serving.windows import HeldWindows
from fs_core.values.times import MICROSECONDS

if TYPE_CHECKING:
    from fs_core.definitions import FeatureView
    from fs_core.offline.contract import OfflineStore
    from fs_core.online.row.cells import Flags

_LAST_CHANCE = 0.001  # seconds: what isn't quicker would be late anyway


class OnlineRead:
    """The features of entities at the moment `at` (microseconds), by default `now`.

    Args:
        plan: what is asked of each.
        entities: whom.
        budget: what it may cost.
        at: the moment; None for now.
        now: what the clock shows.
        cache: where rows fetched at most `budget.max_age` seconds ago are; None where only fresh ones will do.

    Attributes:
        plan: the same.
        budget: the same.
        now: the same.
        cache: the same.
        keys: the entities, as each group of the plan has them.
        absent: the views of which the online store has nothing for any of the entities; empty until `take`.

    Raises:
        SchemaError: a key is missing or of another type.
        NotOnlineError: a view isn't online and no fallback is allowed.
    """

    def __init__(
        self, plan: ReadPlan, entities: Any, budget: Budget, *, at: int | None, now: int, cache: RowCache | None = None
    ) -> None:
        self.plan, self.budget, self._at, self.now = plan, budget, at, now
        self._request = plan.request(entities)
        known = plan.keys(entities, self._request)
        self.keys = [AskedKeys.of(*pair) for pair in zip(plan.groups, known, strict=True)]
        self._online = [view for view in plan.views if self._is_online(view)]
        self._answers: dict[ViewPlan, Answer] = {}
        self._moment = now if at is None else at
        self.cache = cache
        self.absent: list[FeatureView] = []
        self._deep: dict[int, list[int]] = {}
        self._deepened: set[tuple[int, int]] = set()
        self._cached = None
        if cache is not None:
            self._cached = cache.ask(self._requests(), budget.max_age, self._together())

    def steps(self) -> Iterator[tuple[Requests, float]]:
        """Yield what to ask the online store for, each entity once, and for how many seconds to wait.

        Whoever asks calls `take` or `fail` before the next step. Mostly there is one; more where heads of windows don't
        answer.
        """
        wanted, begun = self._requests() if self._cached is None else self._cached.rest, time.monotonic()
        within = self.budget.within(wanted)
        yield wanted, within
        while self._deep:
            yield self._deep_requests(), max(within - (time.monotonic() - begun), _LAST_CHANCE)

    def _requests(self) -> list[tuple[str, Sequence[bytes]]]:
        named = [(view.view.storage_name, view.group) for view in self._online]
        named += [(timeline_name(view.view.storage_name), view.group) for view in self._looking_back]
        return [(name, self.keys[group].distinct) for name, group in named]

    def _together(self) -> list[tuple[int, int]]:
        """Return the indices among the requests of views' latest rows and of their recent ones.

        Kept recent rows that are older than the latest would lack it, and then say nothing.
        """
        behind = enumerate(self._looking_back, len(self._online))
        return [(self._online.index(view), index) for index, view in behind]

    @property
    def _looking_back(self) -> list[ViewPlan]:
        """The views whose recent rows may answer for the moment asked for."""
        if self._at is None:
            return []
        return [view for view in self._online if view.view.online_history is not None and view.events is None]

    def take(self, rows: Sequence[Sequence[bytes | None]]) -> None:
        """Take the online store's answer to a step.

        Raises:
            MomentNotOnlineError, CorruptRowError: it doesn't answer the request and no fallback is allowed.
        """
        if self._deep:
            self._add_deep(rows)
            return
        if self._cached is not None:
            rows = self._cached.whole(rows)
        self.absent = [view.view for view, values in zip(self._online, rows, strict=False) if _are_absent(values)]
        latest = self._looked_back(rows)
        self._look_deeper(latest, [None] * len(latest))

    def fail(self, error: OnlineUnavailableError) -> None:
        """Take it that the online store gave no answer, or only a part of it; raise `error` unless that is allowed."""
        if self.budget.fallback == "offline":
            self._deep = {}
            return
        if self.budget.on_deadline == "error":
            raise error
        if self._deep:
            self._add_deep(None)
            return
        part: PartialRead | None = error.partial if self._cached is None else self._cached.partial(error.partial)
        if part is None:
            for view in self._online:
                types = {**view.view.features, EVENT_TIME: MICROSECONDS, AVAILABLE_AT: MICROSECONDS}
                self._answers[view] = TableAnswer.unavailable(types, len(self.keys[view.group]))
            return
        rows, unread = self._without_unread(part)
        self._look_deeper(self._looked_back(rows), unread)

    def _look_deeper(self, rows: Sequence[Sequence[bytes | None]], unread: Sequence[Flags | None]) -> None:
        """Settle what was read, unless heads of windows don't answer: then their deep values are wanted, too.

        These may tell of later moments only (see `_moment_of`), for which other heads don't answer any more. Each is
        asked for once.
        """
        parts = zip(self._online, rows, unread, strict=True)
        held = [self._held(view, values, missed) for view, values, missed in parts]
        self._moment = self._moment_of(held)
        if not self.plan.has_windows:
            self._settle(held)
            return
        windows = ((number, view) for number, view in enumerate(held) if isinstance(view, HeldWindows))
        silent = {(number, index) for number, view in windows for index in view.events.unanswered(self._moment)}
        self._deep = {}
        for number, index in sorted(silent - self._deepened):
            self._deep.setdefault(number, []).append(index)
        self._deepened |= silent
        self._rows, self._unread = rows, unread
        if not self._deep:
            self._settle(held)

    def _deep_requests(self) -> list[tuple[str, Sequence[bytes]]]:
        return [
            (timeline_name(view.view.storage_name), [self.keys[view.group].distinct[index] for index in indices])
            for view, indices in ((self._online[number], indices) for number, indices in self._deep.items())
        ]

    def _add_deep(self, rows: Sequence[Sequence[bytes | None]] | None) -> None:
        """Look at what was read with the deep values; None where these couldn't be, and so neither their entities."""
        values, unread = [list(part) for part in self._rows], list(self._unread)
        for position, (number, indices) in enumerate(self._deep.items()):
            for found, index in enumerate(indices):
                values[number][index] = None if rows is None else whole(values[number][index], rows[position][found])
            if rows is None:
                missed = np.isin(np.arange(len(values[number])), indices)
                known = unread[number]
                unread[number] = missed if known is None else known | missed
        self._look_deeper(values, unread)

    @property
    def computes(self) -> bool:
        """Whether `answer` calls functions of on-demand views."""
        return self._request is not None

    @property
    def needs_history(self) -> bool:
        """Whether history must answer for a view."""
        return len(self._answers) < len(self.plan.views)

    def answer(self, offline: OfflineStore | None) -> FeatureVectors:
        """Return the result; history, which is only then needed, answers for the views that the online store didn't."""
        answers = [self._answers.get(view) or self._from_history(view, offline) for view in self.plan.views]
        if self._request is not None:
            answers += self._computed(answers, self._request)
        return FeatureVectors(self.plan, [keys.columns for keys in self.keys], answers, self._moment, self._request)

    def _computed(self, answers: Sequence[Answer], request: pa.Table) -> list[Answer]:
        """Return the on-demand views' answers, computed from those of others."""
        held = {ViewLookup(view.view, view.columns): n for n, view in enumerate(self.plan.views)}
        columns: dict[int, dict[str, Any]] = {}

        def looked_up(feature: SelectedFeature) -> Any:
            index = held[feature.lookup]
            if index not in columns:
                names = self.plan.views[index].names
                columns[index] = dict(zip(names, answers[index].arrays(names), strict=True))
            return columns[index][feature.key]

        made = computed(self.plan.selection, looked_up, request, WHAT)
        found: dict[Computation, Answer] = {}
        for computation, table in made.items():
            parts: dict[object, Answer] = {}
            for feature in computation.features:
                one = feature.computation
                parts[one or feature.lookup] = answers[held[feature.lookup]] if one is None else found[one]
            found[computation] = ComputedAnswer(table, list(parts.values()))
        return list(found.values())

    def _is_online(self, view: ViewPlan) -> bool:
        if not view.view.online and self.budget.fallback is None:
            raise NotOnlineError(
                f"view {view.view.ref!r} is not served online: it was declared with online=False. "
                "Declare online=True in a new version, or pass fallback='offline' to read it from history."
            )
        return view.view.online

    def _held(self, view: ViewPlan, values: Sequence[bytes | None], unread: Any = None) -> Held | HeldWindows:
        keys = self.keys[view.group]
        if view.events is not None:
            return HeldWindows(view, view.events, keys, view.events.decode(keys.distinct, values), unread)
        return Held(view, keys, view.codec.decode(keys.distinct, values, keys.hashes), unread)

    def _looked_back(self, rows: Sequence[Sequence[bytes | None]]) -> list[Sequence[bytes | None]]:
        """Return each online view's rows at the moment asked for, as far as recent rows go."""
        latest = list(rows[: len(self._online)])
        for view, timelines in zip(self._looking_back, rows[len(self._online) :], strict=True):
            index = self._online.index(view)
            keys = self.keys[view.group].distinct
            latest[index] = Timelines(view.view).resolve(keys, latest[index], timelines, self._moment)
        return latest

    def _without_unread(self, part: PartialRead) -> tuple[list[list[bytes | None]], list[Flags | None]]:
        """Return rows, and whose couldn't be read: also theirs that are too new where what was before couldn't."""
        rows, unread, asked = list(part.rows), part.unread[: len(self._online)], moment_word(self._moment)
        for view, missed in zip(self._looking_back, part.unread[len(self._online) :], strict=True):
            if missed is None:
                continue
            index = self._online.index(view)
            newer = [row is not None and row[AVAILABLE] > asked for row in rows[index]]
            unknown = missed & np.array(newer, bool)
            rows[index] = [None if lost else row for row, lost in zip(rows[index], unknown, strict=True)]
            known = unread[index]
            unread[index] = unknown if known is None else known | unknown
        return rows, unread

    def _settle(self, held: Sequence[Held | HeldWindows]) -> None:
        for view in held:
            problem = view.problem(self._moment, None if self._at is None else self.now)
            if problem is None:
                self._answers[view.plan] = view.answer(self._moment)
            elif self.budget.fallback is None:
                raise problem

    def _moment_of(self, held: Sequence[Held | HeldWindows]) -> int:
        """Return the moment that is asked for.

        Now, or later if a row shows that later has come: another machine's clock may be ahead, and a row that is there
        was available. What deep values hold was read after the others, and may be later than what these lack: then it
        is as late as before, or as the first moment that they tell of.
        """
        if self._at is not None:
            return self._at
        if self._deepened:
            return max([self._moment, *[view.floor for view in held if isinstance(view, HeldWindows)]])
        return max([self.now, *[view.latest for view in held]])

    def _from_history(self, view: ViewPlan, offline: OfflineStore | None) -> TableAnswer:
        from fs_core.retrieval.query import found_rows

        assert offline is not None
        keys = self.keys[view.group].columns
        table = pa.Table.from_arrays(list(keys), schema=pa.schema(list(view.view.keys.items())))
        rows = found_rows(offline, view.view, at_moment(table, self._moment), view.names)
        return TableAnswer(rows.select(list(view.names)), rows[STATUS].to_pylist())


def _are_absent(values: Sequence[bytes | None]) -> bool:
    return len(values) > 0 and values[0] is None and all(value is None for value in values)
