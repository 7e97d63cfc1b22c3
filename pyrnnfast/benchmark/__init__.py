"""What `pyrnnfast bench` runs: shapes and suites, adapters for the peers, the protocol of timing, the table.

from pyrnnfast import benchmark
report = benchmark.run(benchmark.suite("overview", ["lstm"]), threads=2)
print(benchmark.markdown(report))
"""

from pyrnnfast.benchmark.case import Case, MismatchError
from pyrnnfast.benchmark.peers import PEERS, Peer
from pyrnnfast.benchmark.run import Report, Row, run
from pyrnnfast.benchmark.shapes import SUITES, TASKS, Shape, Workload, suite
from pyrnnfast.benchmark.table import markdown, rich_table, to_json
from pyrnnfast.benchmark.timing import QUICK, THOROUGH, Pacing, Timing

__all__ = [
    "PEERS",
    "QUICK",
    "SUITES",
    "TASKS",
    "THOROUGH",
    "Case",
    "MismatchError",
    "Pacing",
    "Peer",
    "Report",
    "Row",
    "Shape",
    "Timing",
    "Workload",
    "markdown",
    "rich_table",
    "run",
    "suite",
    "to_json",
]
