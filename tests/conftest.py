"""Settings for all tests, made before any test module loads torch."""

import atexit
import os
import shutil
import signal
import tempfile

# torch's threads wait for each other actively: beside other work, two are many times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="quantloom-tests-")  # the user's own store stays as it is
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

# The background of a shell ignores SIGINT, and what is started there inherits that: tests of Ctrl-C want it heeded.
signal.signal(signal.SIGINT, signal.default_int_handler)
