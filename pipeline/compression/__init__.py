"""Quantize to INT8 and prune weights, in Neural Compressor's terms."""

from functools import cache

import cpuinfo

# neural-compressor 3.7.1 asks twice while it is imported, and for each answer py-cpuinfo 9 starts
# another Python, which takes a second. Importing this package comes before importing that one.
cpuinfo.get_cpu_info = cache(cpuinfo.get_cpu_info)
