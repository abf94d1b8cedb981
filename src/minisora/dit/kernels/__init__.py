"""Faster CPU kernels of the block's operations; the network can be understood without them.

Each file begins with the plain form, a line or two of torch that define the operation. Where a
faster form does not apply the plain one runs; tests hold the two equal.

    attention.py    a few queries at a time, so that their weights stay in the cache
    linear.py       bias and GELU fused into the matmul, frozen weights in its layout
    modulation.py   one norm for each run of tokens with equal time
    norm.py         RMS norm and rotation in one pass, with its gradient written out
"""

import torch


def is_traced() -> bool:
    """True if autograd or torch.compile is tracing."""
    return torch.is_grad_enabled() or torch.compiler.is_compiling()
