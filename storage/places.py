"""Where in Lance's files the blobs are, so that they can be read without a copy in between."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import lance

# A filter grows with its ids, and Lance takes them all into one plan.
_IDS_PER_FILTER = 2000

_FRAGMENT_SHIFT = 32  # a row's address is its fragment's number, then its place in the fragment


@dataclass(frozen=True)
class Place:
    """Where the bytes of one blob are.

    Args:
        path: the data file.
        position: of the first byte in it.
        bytes: how many.
    """

    path: Path
    position: int
    bytes: int


def find_places(dataset: lance.LanceDataset, folder: Path, ids: Iterable[int]) -> dict[int, Place]:
    """Ask Lance where the blobs of some rows are; rows that are not there are left out.

    Args:
        dataset: the dataset.
        folder: its folder.
        ids: Lance's stable row ids.
    """
    wanted = list(ids)
    files = {
        fragment.fragment_id: [file.path for file in fragment.data_files()]
        for fragment in dataset.get_fragments()
    }
    found: dict[int, Place] = {}
    for start in range(0, len(wanted), _IDS_PER_FILTER):
        listed = ", ".join(map(str, wanted[start : start + _IDS_PER_FILTER]))
        rows = dataset.scanner(
            columns=["data"],
            filter=f"_rowid IN ({listed})",
            with_row_id=True,
            with_row_address=True,
            blob_handling="blobs_descriptions",
        ).to_table()
        for row in rows.to_pylist():
            paths = files.get(row["_rowaddr"] >> _FRAGMENT_SHIFT, [])
            if len(paths) == 1:  # rows are never changed, so that no fragment gets a second file
                data = row["data"]
                place = Place(folder / "data" / paths[0], data["position"], data["size"])
                found[row["_rowid"]] = place
    return found


class OpenFiles:
    """Data files that stay open while their blobs are read."""

    def __init__(self) -> None:
        self._descriptors: dict[Path, int] = {}

    def read_into(self, place: Place, target: memoryview) -> bool:
        """Read a blob; tell whether all of its bytes were there.

        Args:
            place: where it is.
            target: room for exactly its bytes.
        """
        try:
            descriptor = self._descriptors.get(place.path)
            if descriptor is None:
                descriptor = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC)
                self._descriptors[place.path] = descriptor
            done = 0
            while done < place.bytes:
                count = os.preadv(descriptor, [target[done:]], place.position + done)
                if count == 0:
                    return False
                done += count
        except (OSError, OverflowError):  # a damaged position can be any number
            return False
        return True

    def __enter__(self) -> OpenFiles:
        return self

    def __exit__(self, *error: object) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()
