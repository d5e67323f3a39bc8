"""Accuracies measured by the workers of a Dask cluster: other processes, other machines. Dask is loaded only here."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import pickle
import threading
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Final

from quantloom.errors import SearchError
from quantloom.joint_search.executors import EvaluatorMaker, Outcome, Task, answer
from quantloom.joint_search.problem import AccuracyEvaluator
from quantloom.store.keys import python_code

__all__ = ["DaskCluster"]

_CONNECT_S: Final = 20
_ATTEMPTS: Final = 5  # at a connection, where Dask itself does not begin

_makers: dict[str, bytes] = {}
"""In a worker: pickled makers of evaluators, by the name under which a client sent them."""
_evaluators: dict[str, AccuracyEvaluator] = {}
"""In a worker: evaluators by the hash of what makes them; they cost more to make than to keep."""
_alone: Final = threading.Lock()


class DaskCluster:
    """The workers of a running cluster. address: of its scheduler, such as tcp://host:8786.

    Dask gives the tasks of a worker that is lost to others, and gives up on a task after its own
    `distributed.scheduler.allowed-failures` (3). Raises SearchError if Dask is not installed.
    """

    def __init__(self, make_evaluator: EvaluatorMaker, address: str) -> None:
        try:
            import distributed
        except ImportError as error:
            message = "--cluster needs Dask, which is not installed"
            raise SearchError(
                message, hint='pip install "quantloom[distributed]", here and where the workers run'
            ) from error
        self._distributed: Any = distributed  # Any: Dask is untyped
        self._address = address
        self._maker = pickle.dumps(make_evaluator)
        self._name = f"quantloom-{uuid.uuid4().hex}"
        self._client: Any = None

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Give the outcomes in the order in which they come in.

        Raises what the evaluator raised; SearchError if the scheduler cannot be reached or is lost, if workers run
        another quantloom, or if they die again and again at the same task.
        """
        client = self._connected()
        futures = {
            client.submit(_measure, self._name, python_code(), task, pure=False): position
            for position, task in enumerate(tasks)
        }
        for future in self._distributed.as_completed(list(futures), loop=client.loop):
            position = futures.pop(future)
            try:
                accuracy, wall_s = future.result()  # waits again if the worker was lost before its result was fetched
            except self._distributed.KilledWorker as error:
                message = f"workers died again and again while they measured {tasks[position]} ({error.last_worker})"
                raise SearchError(message, hint="what was measured is kept; see the logs of the workers") from error
            except BaseException as error:
                if not future.cancelled():
                    raise
                message = f"lost the scheduler at {self._address}"
                raise SearchError(message, hint="what was measured is kept; resume when it is up again") from error
            future.release()  # else its worker would keep it, and its loss would have it measured again
            yield Outcome(position=position, accuracy=accuracy, wall_s=wall_s)

    def close(self) -> None:
        """Give up what is under way, and leave the cluster."""
        if self._client is not None:
            with contextlib.suppress(Exception):  # a scheduler that is lost has forgotten it anyway
                self._client.unregister_worker_plugin(self._name)
            self._client.close()
            self._client = None

    def _connected(self) -> Any:
        if self._client is None:
            logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is raised
            self._client = self._connect()
            self._send_maker()
        return self._client

    def _connect(self) -> Any:
        """A client of the scheduler. Dask gives its own thread ten seconds to begin, too few where much else runs."""
        for _ in range(_ATTEMPTS):
            try:
                return self._distributed.Client(self._address, timeout=_CONNECT_S, set_as_default=False)
            except AssertionError:  # distributed.utils.LoopRunner: the thread has not begun
                continue
            except (OSError, ValueError, TimeoutError) as error:
                message = f"no Dask scheduler answers at {self._address}"
                raise SearchError(
                    message, hint="start one by `dask scheduler`, and workers by `dask worker`"
                ) from error
        message = f"no connection to {self._address}: this machine is too busy for Dask's own thread to begin"
        raise SearchError(message, hint="what was measured is kept; resume when less else runs here")

    def _send_maker(self) -> None:
        """Give every worker, also one that comes later, what makes the evaluator: once, as it may hold weights."""
        name, maker = self._name, self._maker

        class Keep(self._distributed.WorkerPlugin):  # type: ignore[misc, name-defined]  # Dask is untyped and loaded late
            """Sent as it stands, so the worker's own module is looked up there."""

            def setup(self, worker: object) -> None:
                from quantloom.joint_search import cluster

                cluster._makers[name] = maker

            def teardown(self, worker: object) -> None:
                from quantloom.joint_search import cluster

                cluster._makers.pop(name, None)

        try:
            self._client.register_plugin(Keep(), name=name)
        except Exception as error:  # whatever a worker raises
            message = f"the workers of {self._address} cannot be given the network: {type(error).__name__}: {error}"
            raise SearchError(message, hint="install the same version of quantloom everywhere") from error


def _measure(name: str, code: str, task: Task) -> tuple[float, float]:
    """In a worker: the accuracy and the seconds it took; one at a time, as evaluators are not safe to share."""
    if code != python_code():
        message = "a worker of the cluster runs another version of quantloom"
        raise SearchError(message, hint="install the same version everywhere")
    maker = _makers[name]
    key = hashlib.sha256(maker).hexdigest()
    with _alone:
        if key not in _evaluators:
            _evaluators.clear()
            _evaluators[key] = pickle.loads(maker)()
        return answer(_evaluators[key], task)
