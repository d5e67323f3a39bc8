"""Settings for all tests, made before any test module loads torch."""

import os

# torch's threads wait for each other actively: beside other work, two are many times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
