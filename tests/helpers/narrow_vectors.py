"""A pytest plugin that makes the kernels believe in a machine without 512-bit registers."""

import llvmlite.binding

_features = llvmlite.binding.get_host_cpu_features()
_features["avx512f"] = False
llvmlite.binding.get_host_cpu_features = lambda: _features
