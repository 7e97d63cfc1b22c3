"""Every workload of the shape list that `pyrnnfast bench` uses, as parameters of the suites here."""

from __future__ import annotations

import pytest

from pyrnnfast.benchmark import SUITES, Case, Workload


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--suite", default="overview", choices=list(SUITES), help="which shapes to measure")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "workload" in metafunc.fixturenames:
        workloads = SUITES[metafunc.config.getoption("--suite")]
        names = [f"{w.cell}-{w.sizes.replace(', ', '-').replace(' ', '')}" for w in workloads]
        metafunc.parametrize("workload", workloads, ids=names, scope="module")


@pytest.fixture(scope="module")
def case(workload: Workload) -> Case:
    return Case(workload)


@pytest.fixture
def record(benchmark, workload: Workload):
    """Run a function under pytest-benchmark and keep its GFLOP/s beside the time."""

    def run(task: str, function) -> None:
        benchmark.group = f"{workload} {task}"
        benchmark(function)
        if benchmark.stats is not None:  # None under --benchmark-disable
            benchmark.extra_info["gflops"] = workload.flops(task) / benchmark.stats.stats.median / 1e9

    return run
