"""What Gradio keeps of every session, kept in bounds: it would wait for ever for those who never come back."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr
from gradio.routes import file_upload_statuses

SESSIONS_MAX = 512
STATES_MAX = 64
EVENTS_AT_ONCE = 8
EVENTS_WAITING_MAX = 32


class Sessions:
    """The sessions of a page: who reads the answers to its events, and which are over."""

    def __init__(self, page: gr.Blocks) -> None:
        self._page = page
        self._readers: Counter[str] = Counter()
        self._unread: set[str] = set()

    def has_room(self, session: str) -> bool:
        """Whether an event of the session can be taken."""
        known = self._page._queue.pending_messages_per_session  # noqa: SLF001  # Gradio has no other way
        return session in known or len(known) < SESSIONS_MAX

    @contextmanager
    def read(self, session: str) -> Iterator[None]:
        """Note that somebody reads the session's answers."""
        self._readers[session] += 1
        try:
            yield
        finally:
            self._readers[session] -= 1
            self._readers += Counter()  # forgets those without any

    async def forget(self) -> None:
        """Forget the sessions whose answers nobody has read since the last time, and what Gradio counts for nobody."""
        queue = self._page._queue  # noqa: SLF001
        unread = set(queue.pending_messages_per_session) - set(self._readers)
        for session in unread & self._unread:
            await queue.clean_events(session_hash=session)
            queue.pending_messages_per_session.pop(session, None)
        self._unread = unread
        for session in set(queue.pending_event_ids_session) - set(queue.pending_messages_per_session):
            queue.pending_event_ids_session.pop(session, None)
        self._page.upload_file_set.clear()
        file_upload_statuses._statuses.clear()  # noqa: SLF001
        file_upload_statuses._signals.clear()  # noqa: SLF001
