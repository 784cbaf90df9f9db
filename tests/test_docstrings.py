"""Every public name has a docstring with an example, and the suite runs the examples."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import finattn


def _packages():
    for found in pkgutil.walk_packages(finattn.__path__, "finattn."):
        module = importlib.import_module(found.name)
        if hasattr(module, "__all__"):
            yield module


PUBLIC = {
    f"{module.__name__}.{name}": thing
    for module in [finattn, *_packages()]
    for name in module.__all__
    if inspect.isclass(thing := getattr(module, name)) or inspect.isfunction(thing)
}


def test_there_are_packages_with_public_names():
    assert len(PUBLIC) > 250 and PUBLIC["finattn.Panel"] is finattn.Panel


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_an_example_whose_result_is_shown(name):
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(PUBLIC[name]) or "")
    assert any(example.want or example.exc_msg for example in examples)
    assert not any(example.options.get(doctest.SKIP) for example in examples)


def test_the_suite_runs_the_examples(request):
    assert "finattn" in request.config.getini("testpaths")
    assert "--doctest-modules" in request.config.getini("addopts")
