"""Dask and Ray as the engine for many machines: start, overhead of a task, loss of a worker; two workers here.

    python bench/cluster_engines.py dask|ray

Each needs its package (`pip install distributed`, `pip install ray`); docs/adr/0010-dask.md has the figures.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TASKS = 1000


def echo(payload: list[int]) -> int:
    return payload[0]


def die_once(folder: str) -> int:
    """Kill the process that runs this, the first time."""
    try:
        (Path(folder) / "died").touch(exist_ok=False)
    except FileExistsError:
        return 7
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def measure(
    start: Callable[[], tuple[Callable[..., Any], Callable[[list[Any]], list[Any]], Callable[[], None]]],
) -> None:
    """start: gives submit(function, argument), gather(futures) and stop()."""
    began = time.perf_counter()
    submit, gather, stop = start()
    gather([submit(echo, [1])])
    print(f"import, cluster of two workers and first task: {time.perf_counter() - began:.1f} s")
    began, cpu = time.perf_counter(), time.process_time()
    assert gather([submit(echo, list(range(100))) for _ in range(TASKS)]) == [0] * TASKS
    wall_ms, cpu_ms = (1e3 * s / TASKS for s in (time.perf_counter() - began, time.process_time() - cpu))
    print(f"a task: {wall_ms:.1f} ms, {cpu_ms:.2f} ms of CPU in this process")
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        assert gather([submit(die_once, folder)]) == [7]
        print(f"a task whose worker is killed: done elsewhere after {time.perf_counter() - began:.1f} s")
    stop()


def start_dask() -> tuple[Callable[..., Any], Callable[[list[Any]], list[Any]], Callable[[], None]]:
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    client = Client(cluster)

    def stop() -> None:
        client.close()
        cluster.close()

    return lambda function, argument: client.submit(function, argument, pure=False), client.gather, stop


def start_ray() -> tuple[Callable[..., Any], Callable[[list[Any]], list[Any]], Callable[[], None]]:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    remote = {function: ray.remote(max_retries=3)(function) for function in (echo, die_once)}
    return lambda function, argument: remote[function].remote(argument), ray.get, ray.shutdown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=("dask", "ray"))
    measure({"dask": start_dask, "ray": start_ray}[parser.parse_args().engine])


if __name__ == "__main__":
    main()
