"""Parts made by the workers of a cluster, in their order, and made again when a worker that had them is gone."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

from .._cluster import Call, Cluster, Lost, Shared, worker_threads
from .._compiling import compiling_alone
from ..errors import ClusterError
from .list_parts import ListParts, MadePart, Part

_LOG = logging.getLogger(__name__)

_AT_ONCE = 2  # parts that a worker has to make: the second is there, or encoded, while it ranks for the first
_AHEAD = 4  # parts a worker, with those that are made and wait for an earlier one to be written
_LOSSES = 4  # of the same part, after which the cluster is given up


def recommend_part(part: Part, lists: ListParts) -> MadePart:
    """Make a part on a worker, with all its threads.

    One user is enough to compile for, so that other workers of the machine do not wait for a whole part.
    """
    part, threads = part.aligned(), worker_threads()
    with compiling_alone("top_items" if part.own is None else "top_of_lists", part.vectors.dtype.name):
        lists.rank(part.first(), threads)
    return lists.make(part, threads)


def make_on_cluster(
    cluster: Cluster, lists: ListParts, starts: Iterable[int], take: Callable[[int], Part]
) -> Generator[MadePart, None, None]:
    """Give parts in their order, made by whoever is there; what is under way is cancelled when this is closed.

    Parameters
    ----------
    cluster : Cluster
    lists : ListParts
        Sent to each worker once.
    starts : iterable of int
        The first user of each part.
    take : function
        Returns the part that begins with a user; called again if a worker that had it is lost.

    Raises
    ------
    ClusterError
        If the same part is lost again and again, or the scheduler or all workers are gone.
    """
    window = _Window(cluster, lists, take)
    left = deque(starts)
    try:
        while left or window.parts:
            try:
                window.fill(left)
                made = window.first()
            except Lost:
                window.take_back_lost()
                continue
            if made is not None:
                yield made
    finally:
        cluster.cancel(window.calls())
        window.let_go()


@dataclass(eq=False)
class _Asked:
    """A part that some worker is to make; it has no call before, and when that was lost."""

    start: int
    call: Call | None = None
    sent: Shared | None = None  # what the call takes, kept for as long as it may need that
    losses: int = 0

    def let_go(self) -> None:
        """Take all of it off the worker."""
        if self.call is not None and self.sent is not None:
            self.call.let_go()
            self.sent.let_go()
        self.call = self.sent = None

    @property
    def is_done(self) -> bool:
        return self.call is not None and self.call.is_done

    @property
    def room(self) -> int:
        """All of a worker's if it was lost before: should that cost another worker, it is known what did."""
        return _AT_ONCE if self.losses else 1


class _Window:
    """The parts that are under way, in their order."""

    def __init__(self, cluster: Cluster, lists: ListParts, take: Callable[[int], Part]) -> None:
        self._cluster, self._take = cluster, take
        self._lists = Shared(lists, lists.nbytes)
        self.parts: deque[_Asked] = deque()

    def calls(self) -> list[Call]:
        """Return the calls that were made."""
        return [one.call for one in self.parts if one.call is not None]

    def let_go(self) -> None:
        """Take everything off the workers."""
        for asked in self.parts:
            asked.let_go()
        self._lists.let_go()

    def fill(self, left: deque[int]) -> None:
        """Ask workers that have room for parts: those that were lost first, and then some of those that are left."""
        there = self._cluster.workers()
        while (asked := self._next(left, _AHEAD * len(there))) and (worker := self._with_room(asked, there)):
            part = self._take(asked.start)
            asked.sent = Shared(part, part.nbytes, worker)
            asked.call = self._cluster.submit(recommend_part, asked.sent, self._lists, worker=worker)

    def _next(self, left: deque[int], most: int) -> _Asked | None:
        """Return the first part without a call, None if enough are under way."""
        waiting = next((one for one in self.parts if one.call is None), None)
        if waiting is None and left and len(self.parts) < most:
            waiting = _Asked(left.popleft())
            self.parts.append(waiting)
        return waiting

    def _with_room(self, asked: _Asked, there: Iterable[str]) -> str | None:
        """Return the worker that has least to do, None if all have too much for this part."""
        busy: Counter[str | None] = Counter()
        for one in self.parts:
            if one.call is not None and not one.is_done:
                busy[one.call.worker] += one.room
        worker = min(there, key=lambda address: busy[address])
        return worker if busy[worker] + asked.room <= _AT_ONCE else None

    def first(self) -> MadePart | None:
        """Take out the first part if it is made; otherwise wait until another one is."""
        asked = self.parts[0]
        if asked.call is None or not asked.is_done:
            self._cluster.wait([call for call in self.calls() if not call.is_done], all_of_them=False)
            return None
        made: MadePart = self._cluster.fetch(asked.call)
        self._cluster.moved += len(made.content)
        self.parts.popleft()
        asked.let_go()
        return made

    def take_back_lost(self) -> None:
        """Note which parts have to be made again."""
        lost = self._cluster.lost(self.calls())
        for asked in self.parts:
            if asked.call is not None and asked.call in lost:
                _LOG.warning("worker %s is gone; the part of user %d on is made again", asked.call.worker, asked.start)
                asked.let_go()
                asked.losses += 1
                if asked.losses >= _LOSSES:
                    self._give_up(asked)

    def _give_up(self, asked: _Asked) -> None:
        users = self._take(asked.start).ids.to_pylist()
        ends = " to ".join(map(repr, users[:1] + users[-1:]))
        raise ClusterError(
            f"{asked.losses} workers in a row were lost while they made the lists of users {ends}; see their logs. If "
            f"they ran out of memory, give them more, or begin anew with smaller parts (part_users= and restart=True). "
            f"Asked again, the job goes on after the parts that are done"
        )
