"""The calibrations of one store: read, measured, and corrected by what statements observe."""

from __future__ import annotations

import math
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from memql.engine.cost import Calibration
from memql.engine.model.spec import LAYOUT, ModelSpec
from memql.errors import OperationalError
from memql.storage import calibration as catalog
from memql.storage.folder import SCRATCH
from memql.storage.nodes import LayerHeader, NodeHeader
from memql.storage.store import Store

if TYPE_CHECKING:
    from memql.engine.model.prefix import Prefix
    from memql.engine.model.runtime import Runtime
    from memql.storage.activations import Activations

SMALL_TOKENS = 8
SMALL_NODES = 4
LARGE_BYTES = 16 * 2**20
LARGE_TOKENS = 1024
REPEATS = 5

# Of how many observations the middle one is looked at, and how far off it may be.
OBSERVED = 9
DRIFT = 1.5
# What takes less is mostly noise.
LEAST_SECONDS = 0.0005

_Key = tuple[str, str]


class Calibrations:
    """What is known of the speed of models with one store. May be used from any thread.

    Args:
        store: the store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = RLock()
        self._known: dict[_Key, Calibration | None] = {}
        self._off: dict[tuple[_Key, str], list[float]] = {}

    def known(self, spec: ModelSpec) -> Calibration | None:
        """Return the calibration of a model, None where nothing was measured yet."""
        key = _key(spec)
        with self._lock:
            if key not in self._known:
                found = catalog.read(self._store, *key)
                self._known[key] = Calibration.from_quantities(found)
            return self._known[key]

    def measured(self, spec: ModelSpec) -> Calibration | None:
        """Return the calibration of a model, measured now if it was never.

        That loads the model and takes up to a few seconds, once for a store. None where it cannot
        be measured: the disk is full, or the model keeps nothing that could be loaded.
        """
        with self._lock:
            found = self.known(spec)
            if found is None and spec.activation_refusal is None:
                try:
                    found = measure(spec, self._store)
                except OperationalError:
                    # The statement needs no calibration: what is stored is used as far as it goes.
                    return None
                self._keep(_key(spec), found)
            return found

    def observe(
        self, spec: ModelSpec, what: str, estimated_seconds: float | None, seconds: float
    ) -> None:
        """Note how long something took; where estimates are off for long, they are corrected.

        Args:
            what: 'load' or 'compute'.
            estimated_seconds: what was expected; None where nothing was.
            seconds: what it took.
        """
        if estimated_seconds is None or min(estimated_seconds, seconds) < LEAST_SECONDS:
            return
        key = _key(spec)
        with self._lock:
            seen = self._off.setdefault((key, what), [])
            seen.append(math.log(seconds / estimated_seconds))
            if len(seen) < OBSERVED:
                return
            off = math.exp(statistics.median(seen))
            seen.clear()
            known = self.known(spec)
            if known is None or 1 / DRIFT < off < DRIFT:
                return
            factors = (off, 1.0) if what == "load" else (1.0, off)
            self._keep(key, known.scaled(*factors))

    def _keep(self, key: _Key, found: Calibration) -> None:
        self._known[key] = found
        try:
            catalog.write(self._store, *key, found.quantities())
        except OperationalError:
            # It holds for this process; the next one measures again.
            return


def calibrations_of(store: Store) -> Calibrations:
    """Return the calibrations of a store."""
    with _lock:
        return _calibrations.setdefault(store, Calibrations(store))


_calibrations: WeakKeyDictionary[Store, Calibrations] = WeakKeyDictionary()
_lock = RLock()


def _key(spec: ModelSpec) -> _Key:
    return spec.model_digest, spec.device


def measure(spec: ModelSpec, store: Store) -> Calibration:
    """Time a model and what it loads from a store's disk.

    Raises:
        OperationalError: the disk or the catalog failed.
    """
    from memql.engine.model.runtime import load_runtime
    from memql.engine.model.speed import time_passes

    runtime = load_runtime(spec)
    node_seconds, byte_seconds = _time_loading(runtime, store)
    return Calibration(*time_passes(runtime), node_seconds, byte_seconds)


def _time_loading(runtime: Runtime, store: Store) -> tuple[float, float]:
    """Return seconds for a node and for a byte, from nodes beside those of the store."""
    from memql.storage.activations import Activations

    spec = runtime.spec
    folder = store.folder / SCRATCH
    large_tokens = max(1, min(LARGE_TOKENS, LARGE_BYTES // max(spec.bytes_per_token, 1)))
    large_tokens = min(large_tokens, spec.context_tokens)
    small_tokens = min(SMALL_TOKENS, large_tokens)
    scratch = Store.open(":memory:")
    try:
        folder.mkdir(exist_ok=True)
        activations = Activations(scratch, folder)
        small = _stored(runtime, activations, [small_tokens] * SMALL_NODES)
        large = _stored(runtime, activations, [large_tokens])
        small_seconds, large_seconds = _seconds(small), _seconds(large)
    except OSError as error:
        raise OperationalError(f"cannot measure in {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        scratch.close()
    small_bytes = SMALL_NODES * small_tokens * spec.bytes_per_token
    large_bytes = large_tokens * spec.bytes_per_token
    # small = nodes * node + small_bytes * byte; large = node + large_bytes * byte
    byte_seconds = (SMALL_NODES * large_seconds - small_seconds) / max(
        SMALL_NODES * large_bytes - small_bytes, 1
    )
    byte_seconds = min(max(byte_seconds, 0.0), large_seconds / max(large_bytes, 1))
    node_seconds = max(small_seconds - small_bytes * byte_seconds, 0.0) / SMALL_NODES
    return node_seconds, byte_seconds


@dataclass(frozen=True)
class _Chain:
    load: Callable[[Prefix], object]
    prefix: Prefix


def _stored(runtime: Runtime, activations: Activations, node_tokens: list[int]) -> _Chain:
    """Store a chain of nodes of zeros and return what loads it."""
    from memql.engine.model.speed import fill
    from memql.engine.reuse import load_chain

    spec = runtime.spec
    source = runtime.prefix(max(node_tokens))
    fill(source, max(node_tokens))
    parent: bytes | None = None
    start = 0
    for number, tokens in enumerate(node_tokens):
        layers = tuple(LayerHeader(*shape) for shape in source.layer_shapes(0, tokens))
        key = f"{len(node_tokens)} {number}".encode()
        activations.put(
            NodeHeader(spec.model_digest, spec.dtype, LAYOUT, tokens, layers),
            parent,
            start,
            [(key, tokens)],
            [],
            source.payload(0, tokens),
            "memql",
        )
        parent, start = key, start + tokens
    assert parent is not None
    last = parent
    return _Chain(lambda prefix: load_chain(last, prefix, activations), runtime.prefix(start))


def _seconds(chain: _Chain) -> float:
    """Return the middle time of some loads; the first, which warms the disk's cache, is not one."""
    found = []
    for number in range(REPEATS + 1):
        chain.prefix.truncate(0)
        started = time.perf_counter()
        chain.load(chain.prefix)
        if number:
            found.append(time.perf_counter() - started)
    return statistics.median(found)
