"""Threads and instruction sets: what runs, and how many."""

from __future__ import annotations

from pyrnnfast import _backend, validation


def set_num_threads(num_threads: int) -> None:
    """Set the number of threads of this process's calls.

    num_threads: 1 to 1024. A call's own `num_threads` goes before it; without either the rule is
    OMP_NUM_THREADS, then the processors that the affinity mask and the quotas of cgroups leave.
    Raises TypeError when it is no integer, ValueError when it is out of range.
    """
    _backend.current().set_num_threads(
        validation.integer("num_threads", num_threads, 1, validation.MAX_THREADS)
    )


def get_num_threads() -> int:
    """Return the number of threads that a call uses unless it names another."""
    return _backend.current().get_num_threads()


def isa() -> str:
    """Return the instruction set that runs by default: the best there is, or what PYRNNFAST_ISA names.

    With PYRNNFAST_BACKEND=reference it is "reference", whatever PYRNNFAST_ISA says.
    """
    return _backend.current().default_isa()


def available_isas() -> list[str]:
    """Return the instruction sets that run on this machine, best first."""
    return _backend.current().available_isas()


def show_config() -> dict[str, str]:
    """Print, and return, what runs here: version, instruction sets, threads, compiler, OpenMP runtime."""
    from pyrnnfast import __version__

    config = {
        "version": __version__,
        "isa": isa(),
        "available": ", ".join(available_isas()),
        "threads": str(get_num_threads()),
        **_backend.current().config(),
    }
    width = max(len(name) for name in config)
    print("\n".join(f"{name:<{width}}  {value}" for name, value in config.items()))
    return config
