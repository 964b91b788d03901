"""Commands that measure the product: what it costs, how it holds up, and how it looks."""

import os

# As in the service: spinning BLAS threads make small products dearer. It has to be said before
# numpy is imported.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
