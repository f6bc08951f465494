"""The page's one way to the gateway: its client, opened for one check at a time."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from gateway.client import AsyncClient, Failure, GatewayError, Outcome
from gateway.client.calls import BATCH_BYTES, BATCH_FILES
from ui import views, wording
from ui.photos import THUMBNAIL_MAX, drawn
from ui.settings import Settings

# Bytes of photos on their way to the gateway at once: single ones, of which there are copies, and those of batches,
# which send one request at a time. Apart, since a batch may take minutes and a reviewer of one photo does not wait.
SINGLES_MAX, BATCHES_MAX = 64 * 1024 * 1024, 100 * 1024 * 1024
COPIES = 3

# A gateway that is restarted, or a rate that is used up, is waited for this long before photos count as failed.
PATIENCE_S = 300.0
STOPPED = "Stopped before it was sent."
# An outcome, a note for the reviewer, a fault, or None: the reviewer has had enough.
News = Outcome | str | Exception | None


class Memory:
    """A budget of bytes; requests for more wait."""

    def __init__(self, most: int) -> None:
        self._most = self._free = most
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def room(self, wanted: int) -> AsyncIterator[None]:
        """Wait until there is room, at most all of it, and hold it."""
        wanted = min(wanted, self._most)
        async with self._freed:
            await self._freed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            self._free += wanted
            async with self._freed:
                self._freed.notify_all()


class Gateway:
    """Where the gateway is; `transport` replaces the network in tests."""

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        self._transport = transport
        self._singles, self._batches = Memory(SINGLES_MAX), Memory(BATCHES_MAX)

    def room(self, size: int) -> AbstractAsyncContextManager[None]:
        """Wait until a photo of this size has room in memory."""
        return self._singles.room(size * COPIES)

    def room_of_batch(self, sizes: Sequence[int]) -> AbstractAsyncContextManager[None]:
        """Wait until the largest request that photos of these sizes can make has room in memory."""
        return self._batches.room(min(sum(sorted(sizes)[-BATCH_FILES:]), BATCH_BYTES))

    @asynccontextmanager
    async def client(self, key: str = "", caller: str = "") -> AsyncIterator[AsyncClient]:
        """Open a client with the reviewer's key and, for the gateway's rates, the reviewer's address."""
        async with AsyncClient(
            self._settings.gateway_url,
            timeout_s=self._settings.timeout_s,
            transport=self._transport,
            user_agent="product-photo-page",
        ) as client:
            yield client.acting_for(api_key=key, caller=caller)


@dataclass(frozen=True, slots=True)
class Photo:
    """An uploaded file and the name that the reviewer knows it by."""

    number: int
    name: str
    path: Path


class Run:
    """A running batch; `note` says what it waits for, `trouble` is the service's last refusal."""

    def __init__(self, photos: Sequence[Photo], before: Sequence[views.Row], let_go: Callable[[Path], None]) -> None:
        self.photos = photos
        self.note = ""
        self.trouble: GatewayError | None = None
        self._before = before
        self._rows: list[views.Row] = []
        self._let_go = let_go
        self._uses = Counter(photo.path for photo in photos)  # the same file may have been chosen twice
        self._news: asyncio.Queue[News] = asyncio.Queue()

    @property
    def rows(self) -> list[views.Row]:
        """All that is settled, in the order in which the photos were chosen."""
        return sorted([*self._before, *self._rows], key=lambda row: row.number)

    @property
    def total(self) -> int:
        """How many rows there will be."""
        return len(self._before) + len(self.photos)

    @property
    def ended(self) -> bool:
        """Whether every photo has its row."""
        return len(self._rows) == len(self.photos)

    def left(self) -> list[Photo]:
        """The photos that the service has not answered for."""
        again = {row.number for row in self._rows if row.again}
        return [photo for photo in self.photos if photo.number in again]

    def stop(self) -> None:
        """Send no more photos."""
        self._news.put_nowait(None)

    def give_up(self, reason: str, trouble: GatewayError | None = None) -> None:
        """Give the photos that are left rows without a verdict."""
        self.trouble = trouble or self.trouble
        rest = self.photos[len(self._rows) :]
        self._rows += [views.Row(photo.number, photo.name, None, reason=reason, again=True) for photo in rest]

    async def follow(self, client: AsyncClient) -> AsyncGenerator[None]:
        """Send the photos; yield whenever there is something new to show."""
        asking = asyncio.create_task(self._ask(client))
        try:
            while not self.ended:
                await self._take(await self._news.get())
                # A batch's outcomes come together, and are shown together.
                while not self._news.empty():
                    await self._take(self._news.get_nowait())
                yield
        finally:
            asking.cancel()

    async def _ask(self, client: AsyncClient) -> None:
        def waiting(seconds: float, error: GatewayError) -> None:
            wait = wording.seconds(seconds)
            self._news.put_nowait(f"{wording.words(error).title}: waiting {wait}, then continuing automatically.")

        try:
            paths = [photo.path for photo in self.photos]
            async for outcome in client.check(paths, patience_s=PATIENCE_S, on_wait=waiting):
                self._news.put_nowait(outcome)
        except Exception as error:  # noqa: BLE001 - the follower raises it
            self._news.put_nowait(error)

    async def _take(self, news: News) -> None:
        match news:
            case None:
                self.give_up(STOPPED)
            case Exception():
                raise news
            case str():
                self.note = news
            case _ if not self.ended:
                self.note = ""
                photo = self.photos[len(self._rows)]
                row = await _row(photo, news)
                self._rows.append(row)
                self._uses[photo.path] -= 1
                if row.again and isinstance(news, Failure):
                    self.trouble = news.error
                elif not self._uses[photo.path]:
                    self._let_go(photo.path)


async def _row(photo: Photo, outcome: Outcome) -> views.Row:
    if isinstance(outcome, Failure):
        words, again = wording.words(outcome.error), wording.may_come(outcome.error)
        said = (wording.detail(outcome.error) or words.title).removesuffix(".")
        reason = f"{words.title}." if again else f"{said}. {words.advice}"
        return views.Row(photo.number, photo.name, None, reason=reason, again=again)
    try:
        thumbnail = await drawn(await asyncio.to_thread(photo.path.read_bytes), THUMBNAIL_MAX)
    except OSError:
        thumbnail = None
    return views.Row(photo.number, photo.name, thumbnail, outcome)
