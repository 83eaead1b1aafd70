"""python_suite.py DIR SUITE...: runs suites of CPython's own tests and prints one sorted line per test.

DIR holds test packages that Debian leaves out of libpython3.11-testsuite.
"""

import os
import sys
import unittest

import test


class Results(unittest.TextTestResult):
    """Remembers every outcome."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.lines = []

    def addSuccess(self, case):
        super().addSuccess(case)
        self.lines.append(f"{case.id()} ok")

    def addFailure(self, case, error):
        super().addFailure(case, error)
        self.lines.append(f"{case.id()} FAILED")

    def addError(self, case, error):
        super().addError(case, error)
        self.lines.append(f"{case.id()} ERROR")

    def addSkip(self, case, reason):
        super().addSkip(case, reason)
        self.lines.append(f"{case.id()} skipped")


test.__path__.append(sys.argv[1])
modules = []
for suite in sys.argv[2:]:
    package = os.path.join(sys.argv[1], suite)
    if os.path.isdir(package):
        found = sorted(name[:-3] for name in os.listdir(package) if name.startswith("test_") and name.endswith(".py"))
        modules += [f"test.{suite}.{name}" for name in found]
    else:
        modules.append(f"test.{suite}")
tests = unittest.defaultTestLoader.loadTestsFromNames(modules)
result = unittest.TextTestRunner(stream=sys.stderr, verbosity=2, resultclass=Results).run(tests)
# On lines of their own: suites, and their children, print to standard output as well.
print()
print("\n".join(f"RESULT {line}" for line in sorted(result.lines)))
print(f"RESULT ran {result.testsRun}, {len(result.failures)} failed, {len(result.errors)} errors, {len(result.skipped)} skipped")
sys.exit(not result.wasSuccessful())
