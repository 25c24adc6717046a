"""The examples of every docstring in ops, dyc and experiments run and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import dyc
import experiments
import ops


def modules() -> list:
    """Import every module of both packages."""
    found = [ops, dyc]
    for package in (ops, dyc):
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            found.append(importlib.import_module(info.name))
    return found


EXAMPLES = [test for module in modules() for test in doctest.DocTestFinder().find(module) if test.examples]


def test_there_are_examples():
    assert {"ops", "dyc"} <= {test.name.split(".")[0] for test in EXAMPLES}


@pytest.mark.parametrize("test", EXAMPLES, ids=lambda test: test.name)
def test_example(test):
    report: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=report.append)
    assert not report, "".join(report)


def test_examples_of_experiments():
    """They are found when the test runs: the package imports Lightning, for which no collection should wait."""
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
    for info in pkgutil.walk_packages(experiments.__path__, "experiments."):
        for test in finder.find(importlib.import_module(info.name)):
            runner.run(test)
    assert runner.tries > 10
    assert runner.failures == 0
