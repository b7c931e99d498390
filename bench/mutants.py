"""Mutation testing: how many small faults in the modules that carry the mathematics do the tests find.

cosmic-ray makes the faults, one a mutant. A process that has the libraries loaded, but not the package, forks for each:
there the mutant is loaded in place of the module, nothing is written to the working tree, and the module's tests run,
uncompiled, until one fails. A mutant that takes five times as long as the module itself counts as found.

Results are kept for a module as it is. A mutant that was found is not tested again, whatever became of the tests; one
that survived is, once any of its tests or of what they share has changed. That is right where tests were added; after
they were changed or removed give another file.

Of cosmic-ray's operators those below are used. Left out, because nearly any test finds them or none can: ``| & ^ << >>
**`` in place of other operators, which arrays of floats refuse; ``is`` in place of a comparison, likewise; comparisons
turned into neither their negation nor their boundary; signs turned into other unary operators; removed decorators,
which only compile; variables replaced at random.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import importlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import CodeType
from typing import IO, Any, NamedTuple

from tqdm import tqdm

from .options import positive

_SWAPS = {
    "BinaryOperator": "Add_Sub Sub_Add Mul_Add Mul_Div Div_Mul FloorDiv_Div FloorDiv_Mul Mod_Mul Mod_FloorDiv",
    "ComparisonOperator": "Eq_NotEq NotEq_Eq Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt",
    "UnaryOperator": "Delete_USub Delete_Invert Delete_Not",
}
OPERATORS = [
    *(f"Replace{kind}_{swap}" for kind, swaps in _SWAPS.items() for swap in swaps.split()),
    "NumberReplacer", "AddNot", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue",
    "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop", "ExceptionReplacer",
]  # fmt: skip

PACKAGE = "implicit_wmf"
_ROWS = [f"kernels/{name}" for name in ("rows", "cg", "solve", "gram", "objective", "linalg")]
# What must find the mutants of a module: files of tests, those that find most of them soonest first.
SUITES = {
    "training": "starts_and_blocks training general_weights",
    "confidence": "confidence general_weights training folding",
    "weightings": "confidence general_weights training",
    "interactions": "interactions interactions_of_matrices model",
    "ranking": "ranking",
    "row_plan": "row_plan general_weights training",
    "_asked": "asked ranking similarity",
    "_cells": "interactions interactions_of_matrices confidence general_weights",
    "_csr": "csr popular ranking confidence general_weights",
    **dict.fromkeys(["evaluation/metrics", "evaluation/hits", "kernels/metrics"], "metrics"),
    **dict.fromkeys(_ROWS, "cg kernels row_plan general_weights training"),
    "kernels/cells": "confidence general_weights folding",
    "kernels/ranking": "selection ranking",
    "kernels/selection": "selection ranking",
}
# Left out: interpreted, they take as long as the rest of their files. Of other tests that begin alike "[" tells them.
SLOW = [
    "tests/test_folding.py::test_same_bits_for_any_number_of_threads",
    "tests/test_training.py::test_same_bits_for_any_number_of_threads",
    "tests/test_training.py::test_loss_never_rises[",
    "tests/test_general_weights.py::test_bits_do_not_depend_on_the_number_of_threads",
]
PRELOADED = [
    "numpy", "scipy.linalg", "scipy.sparse.linalg", "pandas", "numba.extending", "threadpoolctl", "pytest",
    "hypothesis.strategies", "sklearn.metrics",
]  # fmt: skip
LEAST_SECONDS = 20.0
MEMORY = 6 << 30  # address space of one mutant's tests, bytes: a mutated size can be anything

Result = dict[str, Any]


class _Suite:
    """A module and the tests that must find its mutants."""

    def __init__(self, name: str) -> None:
        self.module = str(Path(PACKAGE, f"{name}.py"))
        self.source = Path(self.module).read_text()
        self.tests = [f"tests/test_{test}.py" for test in SUITES[name].split()]
        self.mutants = [mutant for operator in OPERATORS for mutant in _mutants(self, operator)]
        self.state = _digest([self.source])
        shared = [path for path in sorted(Path("tests").glob("*.py")) if not path.name.startswith("test_")]
        self.tests_state = _digest(Path(path).read_text() for path in [*self.tests, *shared])
        self.limit = 0.0  # seconds; none yet


class _Mutant(NamedTuple):
    suite: _Suite
    operator: str = ""  # none: the module as it is
    occurrence: int = 0  # which of the operator's places
    line: int = 0

    def begin(self) -> Result:
        place = {"operator": self.operator, "occurrence": self.occurrence, "line": self.line}
        return {"module": self.suite.module, "state": self.suite.state, **place}

    def source(self) -> str:
        from cosmic_ray.mutating import mutate_code

        source = self.suite.source
        return str(mutate_code(source, _operator(self.operator), self.occurrence)) if self.operator else source

    def diff(self) -> str:
        texts = (text.splitlines(keepends=True) for text in (self.suite.source, self.source()))
        return "".join(difflib.unified_diff(*texts, self.suite.module, self.suite.module, n=2))


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def _mutants(suite: _Suite, operator: str) -> Iterator[_Mutant]:
    from cosmic_ray.ast import ast_nodes, get_ast

    made = _operator(operator)
    places = ((node, place) for node in ast_nodes(get_ast(suite.source)) for place in made.mutation_positions(node))
    for occurrence, (node, (start, _)) in enumerate(places):
        if not (_is_idle(node) or _is_annotation(node)):
            yield _Mutant(suite, operator, occurrence, start[0])


def _operator(name: str) -> Any:
    from cosmic_ray.plugins import get_operator

    return get_operator(f"core/{name}")()


def _is_idle(node: Any) -> bool:
    """Whether this is the star or slash of a signature, or a number that one more or less hardly changes."""
    if node.type == "number":
        return abs(ast.literal_eval(node.value)) >= 50
    return node.type == "operator" and node.parent.type not in ("arith_expr", "term")


def _is_annotation(node: Any) -> bool:
    if (parent := node.parent) is None:
        return False
    of_variable = parent.type == "annassign" and node is parent.children[1]
    of_result = parent.type == "funcdef" and node is parent.annotation
    return parent.type == "tfpdef" or of_variable or of_result or _is_annotation(parent)


class _Child:
    """A forked process in which a module is what a mutant makes of it."""

    def __init__(self, mutant: _Mutant) -> None:
        self.mutant, self._began = mutant, time.monotonic()
        self.output = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed with the last reference)
        self.process = os.fork()
        if not self.process:
            _test_and_exit(mutant, self.output)
        os.setpgid(self.process, self.process)  # so that what the tests start ends with them

    def end(self, status: int) -> None:
        self.seconds, code = time.monotonic() - self._began, os.waitstatus_to_exitcode(status)
        self.outcome = {0: "survived", -signal.SIGALRM: "timeout"}.get(code, "killed")
        with suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGKILL)


def _test_and_exit(mutant: _Mutant, output: IO[str]) -> None:
    import resource  # which not every system has that the other commands run on

    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        signal.setitimer(signal.ITIMER_REAL, mutant.suite.limit)
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
        _load_instead(Path(mutant.suite.module).resolve(), mutant.source())
        code = _run_tests(mutant.suite.tests)
    finally:
        sys.stdout.flush()
        os._exit(code)


def _load_instead(module: Path, source: str) -> None:
    get_code = SourceFileLoader.get_code

    def get_mutated_code(loader: SourceFileLoader, name: str) -> CodeType | None:
        if Path(loader.path).resolve() == module:
            return loader.source_to_code(source.encode(), loader.path)
        return get_code(loader, name)

    SourceFileLoader.get_code = get_mutated_code  # type: ignore[method-assign]


def _run_tests(tests: list[str]) -> int:
    import hypothesis
    import pytest

    # the same examples for every mutant: none may survive, or die, by chance
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None, deadline=None)
    hypothesis.settings.load_profile("mutants")
    slow = [f"--deselect={test}" for test in SLOW]
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=short", *slow, *tests]))


def _run(mutants: Iterable[_Mutant], jobs: int) -> Iterator[_Child]:
    """Run so many at a time; return them in the order in which they end."""
    waiting = iter(mutants)
    running: dict[int, _Child] = {}
    try:
        while True:
            running |= {child.process: child for child in map(_Child, islice(waiting, jobs - len(running)))}
            if not running:
                return
            process, status = os.wait()
            running[process].end(status)
            yield running.pop(process)
    finally:
        for process in running:
            os.killpg(process, signal.SIGKILL)


def _set_limits(suites: list[_Suite], jobs: int) -> None:
    for child in tqdm(_run(map(_Mutant, suites), jobs), total=len(suites), unit="module"):
        suite = child.mutant.suite
        if child.outcome != "survived":
            child.output.seek(0)
            shown = child.output.read()[-3000:]
            sys.exit(f"mutants: the tests of {suite.module} fail without a mutant; mend them first:\n{shown}")
        suite.limit = max(LEAST_SECONDS, 5 * child.seconds)


def _read(path: Path) -> list[Result]:
    """Read what an earlier run has written; its last line may have been cut off."""
    text = path.read_text() if path.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole)
    return [json.loads(line) for line in whole.splitlines()]


def _measure(suites: list[_Suite], arguments: argparse.Namespace) -> list[Result]:
    """Test the mutants that the output does not have yet, and append them to it."""
    mutants = {_key(mutant.begin()): mutant for suite in suites for mutant in _sample(suite, arguments)}
    results = {key: result for result in _read(arguments.output) if _is_known(mutants.get(key := _key(result)), result)}
    missing = [mutant for key, mutant in mutants.items() if key not in results]
    tqdm.monitor_interval = 0  # its thread would be there when processes fork
    _set_limits(list(dict.fromkeys(mutant.suite for mutant in missing)), arguments.jobs)
    with arguments.output.open("a") as file:
        for child in tqdm(_run(missing, arguments.jobs), total=len(missing), unit="mutant"):
            mutant = child.mutant
            result = {**mutant.begin(), "outcome": child.outcome, "seconds": round(child.seconds, 2)}
            if child.outcome == "survived":
                result |= {"tests": mutant.suite.tests_state, "diff": mutant.diff()}
            print(json.dumps(result), file=file, flush=True)
            results[_key(result)] = result
    return list(results.values())


def _key(result: Result) -> tuple[Any, ...]:
    return tuple(result[name] for name in ("module", "state", "operator", "occurrence"))


def _is_known(mutant: _Mutant | None, result: Result) -> bool:
    return mutant is not None and (result["outcome"] != "survived" or result["tests"] == mutant.suite.tests_state)


def _sample(suite: _Suite, arguments: argparse.Namespace) -> list[_Mutant]:
    if arguments.sample >= len(suite.mutants):
        return suite.mutants
    return random.Random(f"{arguments.seed} {suite.module}").sample(suite.mutants, arguments.sample)


def _report(suites: list[_Suite], results: list[Result]) -> None:
    """Print the survivors and a table."""
    for result in sorted(results, key=lambda result: (result["module"], result["line"])):
        if result["outcome"] == "survived":
            print(f"{result['module']}:{result['line']}: {result['operator']}\n{result['diff']}")
    print(f"{'module':<36} {'mutants':>14} {'killed':>7} {'timeouts':>9} {'survivors':>10} {'score':>7}")
    for name, some in [*((suite.module, [suite]) for suite in suites), ("all", suites)]:
        modules = [suite.module for suite in some]
        outcomes = [result["outcome"] for result in results if result["module"] in modules]
        killed, late, survived = map(outcomes.count, ("killed", "timeout", "survived"))
        tested = f"{len(outcomes)} of {sum(len(suite.mutants) for suite in some)}"
        score = f"{1 - survived / len(outcomes):.1%}" if outcomes else "-"
        print(f"{name:<36} {tested:>14} {killed:>7} {late:>9} {survived:>10} {score:>7}")


def add_mutants(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--module", nargs="+", metavar="NAME", help="such as ranking or kernels/rows (default all)",
        choices=SUITES, default=list(SUITES), type=lambda text: text.removeprefix(f"{PACKAGE}/").removesuffix(".py"),
    )  # fmt: skip
    parser.add_argument("--sample", type=positive, default=sys.maxsize, metavar="N", help="mutants each (default all)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    parser.add_argument("--jobs", type=positive, default=2, help="mutants tested at a time (default 2)")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("build/mutants.jsonl"),
        help="gets a line a mutant; of those it has, survivors are tested again once tests have changed, those found "
        "are not: give another file after tests were changed or removed (default %(default)s)",
    )  # fmt: skip


def run_mutants(arguments: argparse.Namespace) -> None:
    """Begin again in a process that neither compiles nor has loaded the package: all mutants are forked from it."""
    if find_spec("cosmic_ray") is None:
        from implicit_wmf.errors import MissingExtraError

        raise MissingExtraError("cosmic-ray", extra="dev", purpose="Mutation testing")
    variables = {"NUMBA_DISABLE_JIT": "1", "OPENBLAS_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    options = [f"--{name}={getattr(arguments, name)}" for name in ("sample", "seed", "jobs", "output")]
    command = [sys.executable, "-m", "bench.mutants", *options, "--module", *arguments.module]
    os.execve(sys.executable, command, {**os.environ, **variables})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench mutants")
    add_mutants(parser)
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("mutants: terminated"))  # not without ending what was forked
    for name in PRELOADED:
        importlib.import_module(name)
    suites = [_Suite(name) for name in arguments.module]
    _report(suites, _measure(suites, arguments))


if __name__ == "__main__":
    main()
