"""Forms of the block's parts that are faster on a CPU; the network can be understood without them.

Each file begins with the plain form, a line or two of torch that says what the file computes. Where a faster form does
not apply the plain one runs; tests hold the two together.

    attention.py    a few queries at a time, so that their weights stay in the cache
    linear.py       bias and GELU in the registers of the matmul, frozen weights in its order
    modulation.py   one norm for each run of tokens that have one time
    norm.py         RMS norm and rotation in one pass, with its gradient written out
"""

import torch


def is_traced() -> bool:
    """True if autograd or torch.compile has to be told of what is computed."""
    return torch.is_grad_enabled() or torch.compiler.is_compiling()
