"""Programs in Triton Inference Server: a model repository from a program, and a client."""
