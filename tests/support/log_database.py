"""Stores the log of an attempt as the record does."""

from __future__ import annotations

from projectsetup.setup.log import AttemptLog, LogBatch, StoredLog, StoredRow


class LogDatabase:
    """Stores batches as the record does."""

    def __init__(self) -> None:
        self.rows: dict[int, str] = {}
        self.steps: dict[int, str] = {}
        self.batch: LogBatch | None = None

    def store(self, log: AttemptLog) -> None:
        """Store what is new in the log."""
        batch = log.take()
        if batch is None:
            return
        if batch.tail_from is not None:
            self.rows = {n: text for n, text in self.rows.items() if not batch.tail_from <= n < batch.keep_from}
        self.rows |= {row.number: row.text for row in batch.rows}
        self.steps |= {row.number: row.step for row in batch.rows}
        self.batch = batch
        log.stored()

    @property
    def text(self) -> str:
        """All that is stored."""
        return "".join(self.rows[number] for number in sorted(self.rows))

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Step and text of each line."""
        return [(self.steps[number], line) for number in sorted(self.rows) for line in self.rows[number].splitlines()]

    def stored_log(self) -> StoredLog:
        """What another operator reads."""
        assert self.batch is not None
        tail_from = self.batch.tail_from
        tail = [
            StoredRow(n, len(t), t.count("\n"))
            for n, t in self.rows.items()
            if tail_from is not None and n >= tail_from
        ]
        return StoredLog(
            next_row=max(self.rows) + 1,
            head_bytes=len(self.text) - sum(row.size for row in tail),
            tail_from=tail_from,
            tail=tuple(sorted(tail)),
            lines_left_out=self.batch.lines_left_out,
            steps=self.batch.steps,
            position=self.batch.position,
        )
