"""How an ONNX program for a CPU spells the masks of a backward pass: what `compiler.onnx_rewrites` writes there, and a
session that has something better recognises.
"""

STEEP = 2.0**100
"""tanh(2^100 · y) is 1 in float32 for every y above 1e-29, and 0 for 0. A power of two, so that y and a bound that are
equal still are when both are multiplied by it."""

IDENTITY = "identity_"
"""How the kernel of a convolution with 1 is called, before its number of channels."""
