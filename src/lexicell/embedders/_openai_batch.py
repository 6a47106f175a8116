"""OpenAI's Batch API: half the price, an answer within a day, and a job that outlives the process that submitted it.

A job is written down in the store before it is awaited, with a hash of each text it holds. A later run looks there
first: texts of a job that is known are fetched from it and not submitted again. A job whose number could not be written
down any more (killed in between) is found again by the mark it carries at the provider.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import warnings
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import ProviderError
from ..store import Store
from ._answer import vectors_of
from ._client import Connection
from ._cost import Quote
from ._prices import MAX_TOKENS
from ._retry import TooLargeError, TransientError
from ._tokens import pack
from .openai import OpenAI

__all__ = ["BatchOpenAI"]

_KIND = "openai-batch"
_JOB_TEXTS = 50_000  # the service takes 50,000 inputs and 200 MB a job
_JOB_BYTES = 150_000_000
_LINE_TEXTS = 500  # texts a line of a job: a line that fails takes few others with it
_LINE_TOKENS = 100_000
_KEPT_SECONDS = 29 * 86_400  # the provider deletes a job's files after 30 days
_DEAD = ("failed", "expired", "cancelled")


class BatchOpenAI(OpenAI):
    """Vectors through jobs of the Batch API; options as in :func:`lexicell.embedders.openai.make`."""

    def __init__(self, name: str, model: str, connection: Connection, *, poll_seconds: float, **options: Any) -> None:
        super().__init__(name, model, connection, **options)
        self.concurrency = 1
        self._poll_seconds = poll_seconds
        self._stop = threading.Event()
        self._store = Store()

    # What the run sees ----------------------------------------------------------------------------------------------

    def plan(self, texts: Sequence[str]) -> list[list[int]]:
        """Texts of jobs that are known first, a batch each; the rest in new jobs."""
        self._check_key()
        left = {_mark(text): i for i, text in enumerate(texts)}
        batches = []
        for job in self._jobs():
            batch = [left.pop(mark) for mark in job["marks"] if mark in left]
            if batch:
                batches.append(batch)
        rest = sorted(left.values())
        sizes = [len(texts[i].encode()) for i in rest]
        batches += [[rest[k] for k in part] for part in pack(sizes, max_texts=_JOB_TEXTS, max_tokens=_JOB_BYTES)]
        return batches

    def quote(self, texts: Sequence[str]) -> Quote:
        """Tokens, jobs and money for texts, those of known jobs included; sends none of them."""
        told = super().quote(texts)
        money = told.tokens * self._known.usd_batch / 1e6 if self._known else None
        return Quote(
            told.tokens, len(pack([1] * len(texts), max_texts=_JOB_TEXTS, max_tokens=_JOB_TEXTS)), money, told.exact
        )

    def cancel(self) -> None:
        """Stop waiting; the job itself goes on at the provider."""
        self._stop.set()
        super().cancel()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Submit a job, or take up the one that holds these texts; wait for it and fetch its vectors."""
        self._stop.clear()
        marks = [_mark(text) for text in texts]
        job = self._find(marks) or self._submit(texts, marks)
        found = self._fetch(self._await(job))
        done = [i for i, mark in enumerate(marks) if mark in found]
        vectors = np.stack([found[marks[i]] for i in done]) if done else np.empty((0, self.dim), np.float32)
        if len(done) < len(texts):
            self._forget(job)
            error = ProviderError(
                f"embedder '{self.name}': job {job['id']} gave no vector for {len(texts) - len(done)} of {len(texts)} "
                "texts. Run again to submit those; the others are stored"
            )
            error.partial = (done, vectors)  # type: ignore[attr-defined]
            raise error
        return vectors

    # Jobs -----------------------------------------------------------------------------------------------------------

    def _call(self, action: Any) -> Any:
        try:
            return self._patience.call(lambda: self._connection.guard(action), name=self.name)
        except TooLargeError as error:
            raise ProviderError(f"embedder '{self.name}': {error}") from None

    def _submit(self, texts: Sequence[str], marks: Sequence[str]) -> dict[str, Any]:
        client = self._connection.client()
        mark = _mark("\n".join(marks))
        lines = "".join(json.dumps(line) + "\n" for line in self._lines(texts)).encode()

        def create() -> str:
            # Looked for before every try: after a time-out, too, nobody knows whether the job was made.
            lost = self._lost(client, mark)
            if lost is not None:
                return lost
            file = client.files.create(file=(f"lexicell-{mark}.jsonl", lines), purpose="batch")
            batch = client.batches.create(
                input_file_id=file.id,
                endpoint="/v1/embeddings",
                completion_window="24h",
                metadata={"lexicell": mark},
            )
            return str(batch.id)

        job = {"id": self._call(create), "marks": list(marks), "submitted": time.time()}
        self._write([*self._jobs(), job])
        warnings.warn(
            f"embedder '{self.name}': {len(texts):,} texts are in job {job['id']}, which may take up to a day. You may "
            "interrupt this run: started again, it fetches the same job",
            UserWarning,
            stacklevel=2,
        )
        return job

    def _lost(self, client: Any, mark: str) -> str | None:
        """A job of exactly these texts that was submitted but not written down."""
        known = {job["id"] for job in self._jobs()}
        for batch in client.batches.list(limit=100).data:
            fresh = batch.id not in known and batch.status not in (*_DEAD, "cancelling")
            if fresh and (batch.metadata or {}).get("lexicell") == mark:
                return str(batch.id)
        return None

    def _lines(self, texts: Sequence[str]) -> Iterator[dict[str, Any]]:
        counter = self._counter()
        sent = [counter.cut(text, MAX_TOKENS) for text in texts]
        counts = counter.count(sent)
        body: dict[str, Any] = {"model": self.model, "encoding_format": "base64"}
        if self.dimensions is not None:
            body["dimensions"] = self.dimensions
        for part in pack(counts, max_texts=_LINE_TEXTS, max_tokens=_LINE_TOKENS):
            # The name of a line says which texts it holds, so that an answer can be read without the request.
            yield {
                "custom_id": f"{part[0]}-{part[-1] + 1}",
                "method": "POST",
                "url": "/v1/embeddings",
                "body": body | {"input": [sent[i] for i in part]},
            }

    def _await(self, job: dict[str, Any]) -> dict[str, Any]:
        """Wait until the job has ended, well or not; returns it with the numbers of its files."""
        client = self._connection.client()
        while True:
            batch = self._call(lambda: client.batches.retrieve(job["id"]))
            if batch.status == "completed" or (batch.status in _DEAD and batch.output_file_id):
                return job | {"output": batch.output_file_id, "errors": batch.error_file_id}
            if batch.status in _DEAD:
                self._forget(job)
                words = "; ".join(str(fault.message) for fault in (batch.errors.data or [])[:3]) if batch.errors else ""
                words = self._connection.key.hide(words) or "no reason given"
                raise ProviderError(
                    f"embedder '{self.name}': job {job['id']} {batch.status}: {words}. Run again to submit it anew"
                )
            if self._stop.wait(self._poll_seconds):
                raise ProviderError(
                    f"embedder '{self.name}': stopped waiting for job {job['id']} ({batch.status}); run again to "
                    "fetch it"
                )

    def _fetch(self, job: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
        """Vectors of a finished job by the marks of their texts; lines that failed are left out."""
        found: dict[str, NDArray[np.float32]] = {}
        if not job["output"]:
            return found
        content = self._connection.client().files.with_streaming_response.content

        def download() -> None:
            # Line by line: the answer to 50,000 texts has close to a gigabyte.
            with content(job["output"]) as response:
                for line in response.iter_lines():
                    found.update(self._line(job, line))

        self._call(download)
        return found

    def _line(self, job: dict[str, Any], line: str) -> dict[str, NDArray[np.float32]]:
        if not line.strip():
            return {}
        try:
            answer = json.loads(line)
            start, stop = (int(number) for number in answer["custom_id"].split("-"))
        except (ValueError, KeyError, TypeError):
            raise TransientError(f"a line of the answer to job {job['id']} is broken off or no JSON") from None
        response = answer.get("response") or {}
        if response.get("status_code") != 200:
            return {}
        vectors = vectors_of(response.get("body"), stop - start, self.dim, self.name)
        return dict(zip(job["marks"][start:stop], vectors, strict=True))

    # Written down in the store --------------------------------------------------------------------------------------

    @property
    def _record(self) -> str:
        return f"{self.name}@{self.revision}/{self.dimensions or ''}"

    def _jobs(self) -> list[dict[str, Any]]:
        payload = self._store.get_record(_KIND, self._record)
        jobs = json.loads(zlib.decompress(payload)) if payload else []
        return [job for job in jobs if job["submitted"] > time.time() - _KEPT_SECONDS]

    def _write(self, jobs: list[dict[str, Any]]) -> None:
        self._store.put_record(_KIND, self._record, zlib.compress(json.dumps(jobs).encode()))

    def _find(self, marks: Sequence[str]) -> dict[str, Any] | None:
        wanted = set(marks)
        return next((job for job in self._jobs() if wanted <= set(job["marks"])), None)

    def _forget(self, job: dict[str, Any]) -> None:
        """Keep the number of a job that failed, but none of its texts: it must not be taken up again."""
        self._write([other | {"marks": []} if other["id"] == job["id"] else other for other in self._jobs()])


def _mark(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
