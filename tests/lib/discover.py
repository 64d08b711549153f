"""Finds tests: unit test programs and the test_… functions of Python files."""
import glob
import importlib.util
import os
import re
import sys

from .levels import SELECTED

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON_GROUPS = ("host", "integration", "attacks", "vm", "engines")
GROUPS = ("unit",) + PYTHON_GROUPS


class Case:
    """One thing to run. Unit programs report several results, the others one."""

    def __init__(self, group, name, fn=None, args=(), program=None):
        self.group, self.name, self.fn, self.args, self.program = group, name, fn, args, program
        self.timeout = getattr(fn, "timeout", None)
        self.bailey_only = getattr(fn, "bailey_only", None)
        self.namespaces_only = getattr(fn, "namespaces_only", None)
        self.isolation = None  # the runner's choice
        self.needs_kvm = False
        self.again = False  # this is its second try
        # It boots machines, whether or not the level of its containers is the runner's choice.
        self.machines = False
        self.shares = None  # the store that it shares with others, one at a time


def unit(build):
    found = []
    for path in sorted(glob.glob(os.path.join(build, "tests/unit/*/test_*"))):
        if os.access(path, os.X_OK) and not path.endswith(".d"):
            name = os.path.relpath(path, os.path.join(build, "tests"))
            found.append(Case("unit", name, program=path))
    return found


def _load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def python(group):
    found = []
    for path in sorted(glob.glob(os.path.join(TESTS, group, "test_*.py"))):
        base = os.path.basename(path)
        module = _load(path, f"{group}_{base[:-3]}")
        for attr, fn in list(vars(module).items()):
            if not attr.startswith("test_") or not callable(fn):
                continue
            if getattr(fn, "__module__", None) != module.__name__:
                continue
            name = f"{group}/{base}::{attr}"
            for key, args in getattr(fn, "cases", {None: ()}).items():
                args = args if isinstance(args, tuple) else (args,)
                found.append(Case(group, f"{name}[{key}]" if key else name, fn, args))
                found[-1].machines = getattr(module, "MACHINES", False)
                found[-1].shares = getattr(module, "SHARES", None)
    return found


def _machines():
    """tests/vm, and what levels.py chooses of the integration tests, at isolation level vm."""
    found = python("vm")
    for c in found:
        c.isolation = "namespace"  # they say themselves what is a machine
        c.needs_kvm = not getattr(c.fn, "without_kvm", False)
    integration = python("integration")
    for pattern in SELECTED:
        chosen = [c for c in integration if re.fullmatch(pattern, c.name.partition("/")[2])]
        if not chosen:
            raise SystemExit(f"tests/lib/levels.py: no integration test is called {pattern}")
        for c in chosen:
            c.group, c.name, c.isolation, c.needs_kvm = "vm", f"vm:{c.name}", "vm", True
        found += chosen
        integration = [c for c in integration if c not in chosen]
    return found


def all_tests(build, groups):
    found = []
    for g in groups:
        found += unit(build) if g == "unit" else _machines() if g == "vm" else python(g)
    return found
