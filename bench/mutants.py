"""Mutation testing: how many small faults in the modules that carry the mathematics do the tests find.

cosmic-ray makes the faults, one a mutant. A process that has the libraries loaded, but not the package, forks for each:
there the mutant is loaded in place of the module, nothing is written to the working tree, and the module's tests run,
uncompiled, until one fails. A mutant that takes ten times as long as the module itself counts as found.

Of cosmic-ray's operators those below are used. Left out, because nearly any test finds them or none can: ``| & ^ << >>
**`` in place of other operators, which arrays of floats refuse; ``is`` in place of a comparison, likewise; comparisons
turned into neither their negation nor their boundary; signs turned into other unary operators; removed decorators,
which only compile; variables replaced at random. Annotations are not mutated, for nothing evaluates them, nor numbers
of 50 or more, of which cosmic-ray makes one more or less.
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
from functools import cached_property
from importlib.machinery import SourceFileLoader
from itertools import islice
from pathlib import Path
from types import CodeType
from typing import IO, Any, NamedTuple

from tqdm import tqdm

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

_ROWS = "kernels row_plan general_weights training"
# What must find the mutants of a module: files of tests, those that find most of them soonest first.
SUITES = {
    "implicit_wmf/training.py": "training general_weights",
    "implicit_wmf/confidence.py": "confidence general_weights training folding",
    "implicit_wmf/weightings.py": "confidence general_weights training",
    "implicit_wmf/interactions.py": "interactions model",
    "implicit_wmf/_cells.py": "confidence general_weights interactions",
    "implicit_wmf/ranking.py": "ranking",
    "implicit_wmf/evaluation/metrics.py": "metrics",
    "implicit_wmf/evaluation/hits.py": "metrics",
    "implicit_wmf/kernels/metrics.py": "metrics",
    "implicit_wmf/kernels/rows.py": _ROWS,
    "implicit_wmf/kernels/cg.py": _ROWS,
    "implicit_wmf/kernels/solve.py": _ROWS,
    "implicit_wmf/kernels/ranking.py": "ranking",
    "implicit_wmf/kernels/selection.py": "ranking",
    "implicit_wmf/kernels/gram.py": _ROWS,
    "implicit_wmf/kernels/objective.py": _ROWS,
    "implicit_wmf/row_plan.py": "row_plan general_weights training",
    "implicit_wmf/kernels/linalg.py": _ROWS,
    "implicit_wmf/kernels/cells.py": "confidence general_weights folding",
}
# Left out: interpreted, they take as long as the rest of their files.
SLOW = [
    "tests/test_folding.py::test_same_bits_for_any_number_of_threads",
    "tests/test_training.py::test_same_bits_for_any_number_of_threads",
    "tests/test_training.py::test_loss_never_rises",
    "tests/test_general_weights.py::test_bits_do_not_depend_on_the_number_of_threads",
]
PRELOADED = [
    "numpy", "scipy.linalg", "scipy.sparse.linalg", "pandas", "numba.extending", "threadpoolctl", "pytest",
    "hypothesis.strategies", "sklearn.metrics",
]  # fmt: skip
LEAST_SECONDS = 20.0
MEMORY = 6 << 30  # address space of one mutant's tests, bytes: a mutated size can be anything

Result = dict[str, Any]


class _Mutant(NamedTuple):
    operator: str
    occurrence: int  # which of the operator's places
    line: int


class _Suite:
    """A module and the tests that must find its mutants."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.source = Path(module).read_text()
        self.tests = [f"tests/test_{name}.py" for name in SUITES[module].split()]
        self.limit = float("inf")

    @cached_property
    def state(self) -> str:
        """Digest of the module: results of another state say nothing about this one."""
        return _digest([self.source])

    @cached_property
    def tests_state(self) -> str:
        """Digest of the tests: who survived others is to be tested again."""
        return _digest(Path(test).read_text() for test in self.tests)

    @cached_property
    def mutants(self) -> list[_Mutant]:
        return [mutant for name in OPERATORS for mutant in _places(name, self.source)]

    def mutated(self, mutant: _Mutant | None) -> str:
        from cosmic_ray.mutating import mutate_code

        if mutant is None:
            return self.source
        return str(mutate_code(self.source, _operator(mutant.operator), mutant.occurrence))

    def diff(self, mutant: _Mutant) -> str:
        texts = (text.splitlines(keepends=True) for text in (self.source, self.mutated(mutant)))
        return "".join(difflib.unified_diff(*texts, self.module, self.module, n=2))


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def _places(operator: str, source: str) -> Iterator[_Mutant]:
    from cosmic_ray.ast import ast_nodes, get_ast

    made = _operator(operator)
    places = ((node, place) for node in ast_nodes(get_ast(source)) for place in made.mutation_positions(node))
    for occurrence, (node, (start, _)) in enumerate(places):
        if not (_is_annotation(node) or _is_punctuation(node) or _is_large(node)):
            yield _Mutant(operator, occurrence, start[0])


def _operator(name: str) -> Any:
    from cosmic_ray.plugins import get_operator

    return get_operator(f"core/{name}")()


def _is_annotation(node: Any) -> bool:
    while parent := node.parent:
        if parent.type == "tfpdef" or (parent.type == "annassign" and node is parent.children[1]):
            return True
        if parent.type == "funcdef" and node is parent.annotation:
            return True
        node = parent
    return False


def _is_punctuation(node: Any) -> bool:
    """Whether this is the star or slash of a signature, which cosmic-ray takes for a product or a quotient."""
    return node.type == "operator" and node.parent.type not in ("arith_expr", "term")


def _is_large(node: Any) -> bool:
    """Whether this is a number that one more or less hardly changes: the size of a block, the cost of a step."""
    return node.type == "number" and abs(ast.literal_eval(node.value)) >= 50


class _Task(NamedTuple):
    suite: _Suite
    mutant: _Mutant | None


class _Child:
    """A forked process in which a module is what a mutant makes of it."""

    def __init__(self, task: _Task) -> None:
        self.task, self._began = task, time.monotonic()
        self._output = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed with the last reference)
        self.process = os.fork()
        if not self.process:
            _test_and_exit(task, self._output)
        os.setpgid(self.process, self.process)  # so that what the tests start ends with them
        self.code: int | None = None  # None where it took too long

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def has_ended(self) -> bool:
        process, status = os.waitpid(self.process, os.WNOHANG)
        if process:
            self.code = os.waitstatus_to_exitcode(status)
        elif self.seconds > self.task.suite.limit:
            self.kill()
        else:
            return False
        return True

    def kill(self) -> None:
        os.killpg(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)

    def read(self) -> str:
        self._output.seek(0)
        return self._output.read()

    @property
    def outcome(self) -> str:
        return "timeout" if self.code is None else "killed" if self.code else "survived"


def _test_and_exit(task: _Task, output: IO[str]) -> None:
    import resource  # which not every system has that the other commands run on

    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
        _load_instead(Path(task.suite.module).resolve(), task.suite.mutated(task.mutant))
        code = _run_tests(task.suite.tests)
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


def _run(tasks: Iterable[_Task], jobs: int) -> Iterator[_Child]:
    """Run so many at a time; return them in the order in which they end."""
    waiting = iter(tasks)
    running: list[_Child] = []
    try:
        while True:
            running += [_Child(task) for task in islice(waiting, jobs - len(running))]
            if not running:
                return
            for child in list(running):
                if child.has_ended():
                    running.remove(child)
                    yield child
            time.sleep(0.02)
    finally:
        for child in running:
            child.kill()


def _set_limits(suites: list[_Suite], jobs: int) -> None:
    tasks = [_Task(suite, None) for suite in suites]
    for child in tqdm(_run(tasks, jobs), total=len(tasks), unit="module"):
        suite, output = child.task.suite, child.read()
        if child.code:
            sys.exit(f"mutants: the tests of {suite.module} fail without a mutant; mend them first:\n{output[-3000:]}")
        suite.limit = max(LEAST_SECONDS, 10 * child.seconds)


def _read(path: Path) -> list[Result]:
    """Read what an earlier run has written; its last line may have been cut off."""
    text = path.read_text() if path.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole)
    return [json.loads(line) for line in whole.splitlines()]


def _measure(suites: list[_Suite], arguments: argparse.Namespace) -> list[Result]:
    """Test the mutants that the output does not have yet, and append them to it."""
    known = {_key(result): result for result in _read(arguments.output)}
    tasks = [_Task(suite, mutant) for suite in suites for mutant in _sample(suite, arguments)]
    results = {_key(begun): known.get(_key(begun)) for begun in map(_begin, tasks)}
    missing = [task for task in tasks if not _is_known(task, results[_key(_begin(task))])]
    tqdm.monitor_interval = 0  # its thread would be there when processes fork
    _set_limits(list(dict.fromkeys(task.suite for task in missing)), arguments.jobs)
    with arguments.output.open("a") as file:
        for child in tqdm(_run(missing, arguments.jobs), total=len(missing), unit="mutant"):
            result = {**_begin(child.task), "outcome": child.outcome, "seconds": round(child.seconds, 2)}
            if child.outcome == "survived":
                suite = child.task.suite
                result |= {"tests": suite.tests_state, "diff": suite.diff(child.task.mutant)}
            print(json.dumps(result), file=file, flush=True)
            results[_key(result)] = result
    return [result for result in results.values() if result]


def _is_known(task: _Task, result: Result | None) -> bool:
    """Whether a mutant need not be tested: tests that are added since find no fewer than those before."""
    return result is not None and (result["outcome"] != "survived" or result["tests"] == task.suite.tests_state)


def _sample(suite: _Suite, arguments: argparse.Namespace) -> list[_Mutant]:
    if arguments.sample is None or arguments.sample >= len(suite.mutants):
        return suite.mutants
    return random.Random(f"{arguments.seed} {suite.module}").sample(suite.mutants, arguments.sample)


def _begin(task: _Task) -> Result:
    return {"module": task.suite.module, "state": task.suite.state, **task.mutant._asdict()}


def _key(result: Result) -> tuple[Any, ...]:
    return tuple(result[name] for name in ("module", "state", "operator", "occurrence"))


def _report(suites: list[_Suite], results: list[Result]) -> None:
    """Print the survivors and a table."""
    for result in sorted(results, key=lambda result: (result["module"], result["line"])):
        if result["outcome"] == "survived":
            print(f"{result['module']}:{result['line']}: {result['operator']}\n{result['diff']}")
    print(f"{'module':<36} {'mutants':>14} {'killed':>7} {'timeouts':>9} {'survivors':>10} {'score':>7}")
    for suite in suites:
        own = [result for result in results if result["module"] == suite.module]
        _print_row(suite.module, len(suite.mutants), own)
    _print_row("all", sum(len(suite.mutants) for suite in suites), results)


def _print_row(name: str, total: int, results: list[Result]) -> None:
    outcomes = [result["outcome"] for result in results]
    killed, late, survived = map(outcomes.count, ("killed", "timeout", "survived"))
    score = f"{1 - survived / len(results):.1%}" if results else "-"
    print(f"{name:<36} {f'{len(results)} of {total}':>14} {killed:>7} {late:>9} {survived:>10} {score:>7}")


def add_mutants(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--module", nargs="+", choices=SUITES, default=list(SUITES), metavar="PATH", help="default all")
    parser.add_argument("--sample", type=int, metavar="N", help="mutants drawn from each module (default all)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    parser.add_argument("--jobs", type=int, default=2, help="mutants tested at a time (default 2)")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("build/mutants.jsonl"),
        help="gets a line a mutant; of those it has, survivors of other tests are tested again (default %(default)s)",
    )  # fmt: skip


def run_mutants(_: argparse.Namespace) -> None:
    """Begin again in a process that neither compiles nor has loaded the package: all mutants are forked from it."""
    options = {"NUMBA_DISABLE_JIT": "1", "OPENBLAS_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    os.execve(sys.executable, [sys.executable, "-m", "bench.mutants", *sys.argv[2:]], {**os.environ, **options})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench mutants")
    add_mutants(parser)
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("mutants: terminated"))  # not without ending what was forked
    for name in PRELOADED:
        importlib.import_module(name)
    suites = [_Suite(module) for module in arguments.module]
    _report(suites, _measure(suites, arguments))


if __name__ == "__main__":
    main()
