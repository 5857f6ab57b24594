"""The Lance side of the activation tree: one row for each layer of a node, K and V in a blob."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memql.errors import Error, OperationalError
from memql.storage import durable
from memql.storage.latch import Latch
from memql.storage.places import Place, find_places

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

# 2.1 keeps blobs inside the data file. The default, 2.2, moves larger ones to files beside it,
# which reads no faster and makes two more names to sync for each node.
_FORMAT = "2.1"

# Each append leaves a manifest that names every fragment; kept, they would grow quadratically.
_APPENDS_PER_CLEANUP = 32

_IDS_PER_PREDICATE = 1000

# Lance names versions so that the newest comes first, and notes it in a file beside them.
_NAMES_COUNT_DOWN_FROM = 2**64 - 1
_HINT = "latest_version_hint.json"


class TensorsFailed(OperationalError):
    """Lance could not read or write."""


@dataclass(frozen=True)
class Row:
    """Where one layer of one node is.

    Args:
        id: Lance's stable row id.
        bytes: size of the blob.
    """

    id: int
    bytes: int


class Tensors:
    """The dataset of payloads. Rows are never changed, only appended and purged.

    Rows are found by Lance's stable row ids, which the catalog keeps: no lookup at all, against
    1.6 ms for a filter on an indexed column, and they survive compaction. Should one ever lead
    to a wrong row, that row's digest says so.

    Args:
        path: the folder of the dataset; made at the first append.
        is_durable: whether to wait for the disk.
    """

    def __init__(self, path: Path, is_durable: bool) -> None:
        self._path = path
        self._durable = is_durable
        self._dataset: lance.LanceDataset | None = None
        self._writing = threading.Lock()
        # Readers share it; a purge removes files, which must not happen under a reader.
        self._files = Latch()
        self._synced: dict[Path, durable.Stamp] = {}
        self._appends = 0
        # Of rows that were asked for, until files are replaced.
        self._places: dict[int, Place] = {}

    @property
    def exists(self) -> bool:
        """Whether the dataset was ever made."""
        return any((self._path / "_versions").glob("*.manifest"))

    def append(self, node_id: int, blobs: Iterable[bytes]) -> int:
        """Write the layers of a node; they are on the disk when this returns.

        Args:
            node_id: the node.
            blobs: K and V of each layer in order; asked for one at a time.

        Returns:
            the row id of the first layer; the others follow it one by one.

        Raises:
            TensorsFailed: Lance or the disk failed; rows may have been left.
        """
        import lance
        import pyarrow as pa

        with self._writing, _lance_errors(f"write node {node_id} to {self._path}"):
            schema = _schema()
            reader = pa.RecordBatchReader.from_batches(schema, _batches(schema, node_id, blobs))
            if self.exists:
                self._dataset = lance.write_dataset(reader, self._open(), mode="append")
            else:
                self._dataset = lance.write_dataset(
                    reader,
                    str(self._path),
                    mode="create",
                    enable_stable_row_ids=True,
                    data_storage_version=_FORMAT,
                )
            first = self._first_row(self._dataset, node_id)
            self._appends += 1
            self._sync()
            if self._appends % _APPENDS_PER_CLEANUP == 0:
                self._clean(self._dataset)
            return first

    def read(self, row: Row) -> bytes:
        """The blob of a row, as Lance reads it.

        Args:
            row: which.

        Raises:
            TensorsFailed: the row is not there, or not of its size.
        """
        with self._files.shared(), _lance_errors(f"read row {row.id} from {self._path}"):
            # Asking for a range bounds the memory by what the catalog says: a damaged length in
            # the file could ask for any amount.
            ((_, _, data),) = self._open().read_blob_ranges(
                "data", [(row.id, 0, row.bytes)], selector="ids"
            )
            return bytes(data)

    def places(self, rows: Sequence[Row]) -> list[Place | None]:
        """Where the blobs of some rows are; None for one that is not there, or not of its size.

        A place may be left by its blob at any time: what is read there must be verified, and what
        is not verified read by `read`.

        Args:
            rows: which.

        Raises:
            TensorsFailed: Lance failed.
        """
        with self._files.shared(), _lance_errors(f"find {len(rows)} layers in {self._path}"):
            missing = [row.id for row in rows if row.id not in self._places]
            if missing:
                self._places.update(find_places(self._open(), self._path, missing))
            places = (self._places.get(row.id) for row in rows)
            return [
                place if place is not None and place.bytes == row.bytes else None
                for place, row in zip(places, rows, strict=True)
            ]

    def node_ids(self) -> set[int]:
        """The nodes that have rows, live or not.

        Raises:
            TensorsFailed: Lance or the disk failed.
        """
        if not self.exists:
            return set()
        with self._files.shared(), _lance_errors(f"list the nodes in {self._path}"):
            table = self._open().to_table(columns=["node"])
            return set(table["node"].to_pylist())

    def remove(self) -> None:
        """Remove the dataset; the next append makes a new one.

        Raises:
            TensorsFailed: the disk failed.
        """
        with self._writing, _lance_errors(f"remove {self._path}"):
            if self._path.exists():
                shutil.rmtree(self._path)
                durable.sync_folder(self._path.parent)

    def repair(self) -> None:
        """Go back to the newest version that can be read, after a write that was cut off.

        After a loss of power the newest versions may name files that never reached the disk, or
        be in such a file themselves. Whatever was published is in the newest one that was synced.

        Raises:
            TensorsFailed: no version can be read; all of them are left as they are.
        """
        with self._writing:
            manifests = sorted((self._path / "_versions").glob("*.manifest"), key=_version_of)
            unreadable = []
            while manifests:
                manifest = manifests.pop()
                try:
                    self._try_version(_version_of(manifest))
                except TensorsFailed:
                    if not manifests:
                        raise
                    unreadable.append(manifest)
                else:
                    break
            if unreadable:
                for manifest in unreadable:
                    manifest.unlink()
                (self._path / "_versions" / _HINT).unlink(missing_ok=True)
                self._sync()

    def _try_version(self, version: int) -> None:
        import lance

        with _lance_errors(f"read version {version} of {self._path}"):
            lance.dataset(str(self._path), version=version).to_table(columns=["node"])

    def purge(self, node_ids: Sequence[int]) -> None:
        """Remove the rows of nodes, their bytes, and files that belong to no row.

        Args:
            node_ids: which; those without rows are passed over.

        Raises:
            TensorsFailed: Lance or the disk failed; some rows may be left.
        """
        import lance

        with self._writing, _lance_errors(f"purge {len(node_ids)} nodes from {self._path}"):
            if not self.exists:
                # An append that ended before its first manifest leaves data files only.
                shutil.rmtree(self._path, ignore_errors=True)
                return
            # A handle of its own: changing one that readers use fails in either thread.
            dataset = lance.dataset(str(self._path))
            for start in range(0, len(node_ids), _IDS_PER_PREDICATE):
                listed = ", ".join(map(str, node_ids[start : start + _IDS_PER_PREDICATE]))
                dataset.delete(f"node IN ({listed})")
            fragments = dataset.get_fragments()
            if any(fragment.num_deletions for fragment in fragments):
                # A node is a fragment of its own until a compaction, and goes with it. In a
                # merged fragment the bytes stay until it is rewritten.
                dataset.optimize.compact_files(
                    target_rows_per_fragment=max(f.physical_rows for f in fragments),
                    materialize_deletions_threshold=0.0,
                )
            self._sync()
            self._clean(dataset)

    def compact(self) -> None:
        """Merge fragments; rows keep their ids, and nothing of the old files is left.

        Raises:
            TensorsFailed: Lance or the disk failed; files that belong to no row may be left.
        """
        import lance

        with self._writing, _lance_errors(f"compact {self._path}"):
            if not self.exists:
                return
            dataset = lance.dataset(str(self._path))
            dataset.optimize.compact_files(materialize_deletions_threshold=0.0)
            self._sync()
            self._clean(dataset)

    def _open(self) -> lance.LanceDataset:
        import lance

        if self._dataset is None:
            self._dataset = lance.dataset(str(self._path))
        return self._dataset

    def _clean(self, dataset: lance.LanceDataset) -> None:
        # What is kept was synced before: the removal of the last version that was sound may
        # reach the disk first. And nothing else writes: the store is locked, and so is this
        # object.
        with self._files.exclusive():
            dataset.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)
            self._dataset = dataset
            self._places.clear()
        self._sync()

    def _sync(self) -> None:
        # Lance never calls fsync on a local disk.
        if self._durable:
            durable.sync_tree(self._path, self._synced)
            durable.sync_folder(self._path.parent)

    @staticmethod
    def _first_row(dataset: lance.LanceDataset, node_id: int) -> int:
        # One append makes one fragment, the newest.
        newest = max(dataset.get_fragments(), key=lambda fragment: int(fragment.fragment_id))
        table = newest.scanner(columns=["node", "layer"], with_row_id=True).to_table()
        rows = table.to_pydict()
        first = int(rows["_rowid"][0])
        count = table.num_rows
        if (
            rows["node"] != [node_id] * count
            or rows["layer"] != list(range(count))
            or rows["_rowid"] != list(range(first, first + count))
        ):
            raise TensorsFailed(f"the rows of node {node_id} are not where they were appended")
        return first


def _version_of(manifest: Path) -> int:
    return _NAMES_COUNT_DOWN_FROM - int(manifest.stem)


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("node", pa.int64()),
            pa.field("layer", pa.int32()),
            pa.field("data", pa.large_binary(), metadata={"lance-encoding:blob": "true"}),
        ]
    )


def _batches(schema: pa.Schema, node_id: int, blobs: Iterable[bytes]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    for layer, blob in enumerate(blobs):
        offsets = pa.py_buffer(b"".join(n.to_bytes(8, "little") for n in (0, len(blob))))
        data = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(blob)])
        yield pa.record_batch(
            [pa.array([node_id], pa.int64()), pa.array([layer], pa.int32()), data], schema=schema
        )


@contextmanager
def _lance_errors(asked: str) -> Iterator[None]:
    try:
        yield
    except (Error, MemoryError):
        raise
    except Exception as error:
        raise TensorsFailed(f"cannot {asked}: {_first_line(error)}") from error
    except BaseException as error:
        # What a panic in Lance becomes: no subclass of Exception, and not to be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise TensorsFailed(f"cannot {asked}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    lines: list[Any] = str(error).strip().splitlines()
    return str(lines[0]) if lines else type(error).__name__
