"""Lines as e2e/verdicts.sh makes them: `ok - what (figure)`, `not ok - what: reason`, `skip - what: reason`, and a count at the end."""

import os
import re
import sys
import time
import traceback


class Verdicts:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.pattern = re.compile(os.environ.get("ONLY") or ".")

    def attempt(self, what, test, *arguments):
        """Runs the test, if its name matches ONLY; what it returns is the figure, what it raises is the reason."""
        if not self.pattern.search(what):
            return
        began = time.monotonic()
        try:
            figure = test(*arguments)
        except Exception as problem:  # any failure is a verdict
            traceback.print_exc()
            self.failed += 1
            frame = traceback.extract_tb(problem.__traceback__)[-1]
            reason = " ".join(str(problem).split()) or f"{type(problem).__name__} in {frame.name}: {frame.line}"
            print(f"not ok - {what}: {reason}", flush=True)
            return
        self.passed += 1
        print(f"ok - {what} ({figure + ', ' if figure else ''}{time.monotonic() - began:.1f} s)", flush=True)

    def missing(self, what, reason):
        """A tool is not there: a skip on a developer's machine, a failure where CI=true promises all of them."""
        if os.environ.get("CI") == "true":
            self.failed += 1
            print(f"not ok - {what}: {reason}", flush=True)
        else:
            self.skipped += 1
            print(f"skip - {what}: {reason}", flush=True)

    def close(self):
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        sys.stdout.flush()
        return 1 if self.failed else 0
