"""The pure PyTorch path: hooks and autograd on the nn.Module itself. It is the reference that every compiled program
is proven against, and the path that the benchmarks compare with. It shares nothing with the compiler but the methods'
definitions as formulas, written here a second time on purpose.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..contract import UsageError


class Explained(NamedTuple):
    """A map, the activation [N, C, h, w] it explains, and the score's gradient there (None where none was needed)."""

    map: Tensor
    activation: Tensor
    gradient: Tensor | None


def explain(
    module: nn.Module, x: Tensor, target: Tensor, requests: list[tuple[str, str, int]]
) -> tuple[Tensor, list[Explained]]:
    """Explain one batch with hooks and autograd.

    Args:
        module: a classifier in eval mode.
        x: the normalised input [N, C, H, W], in the module's dtype.
        target: int64 [N], -1 for the predicted class.
        requests: (method, module path or "input", which call of that module) for each explanation.

    Returns:
        (logits [N, K], what was found for each request). Nothing stays hooked.

    Raises:
        UsageError: a layer was not called.
    """
    seen: dict[tuple[str, int], Tensor] = {}
    calls: dict[str, int] = {}
    x = x.detach().clone().requires_grad_()

    def hook_for(path: str):
        def hook(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
            calls[path] = calls.get(path, 0) + 1
            seen[path, calls[path]] = output
            return output.clone()  # an in-place operator behind the layer would overwrite what was seen

        return hook

    hooks = [
        module.get_submodule(path).register_forward_hook(hook_for(path))
        for path in {path for _, path, _ in requests if path != "input"}
    ]
    try:
        with torch.enable_grad():
            logits = module(x)
    finally:
        for hook in hooks:
            hook.remove()
    explained = torch.where(target < 0, logits.argmax(dim=1), target)
    score = logits.gather(1, explained.unsqueeze(1)).sum()
    found: list[Explained] = []
    for method, path, call in requests:
        if path != "input" and (path, call) not in seen:
            raise UsageError(f"explain: layer {path!r} was called {calls.get(path, 0)} times; expected at least {call}")
        activation = x if path == "input" else seen[path, call]
        gradient = None
        if method != "activations":
            if score.requires_grad and activation.requires_grad:
                (gradient,) = torch.autograd.grad(score, activation, retain_graph=True, allow_unused=True)
            gradient = torch.zeros_like(activation) if gradient is None else gradient
        found.append(Explained(map_of(method, activation, gradient).detach(), activation.detach(), gradient))
    return logits.detach(), found


def map_of(method: str, activation: Tensor, gradient: Tensor | None) -> Tensor:
    """The method's formula, from the activation and the score's gradient there."""
    if method == "activations":
        return activation
    assert gradient is not None
    if method == "saliency":
        return gradient.abs().max(dim=1).values
    if method == "grad-cam":
        weights = gradient.mean(dim=(2, 3))
        return torch.einsum("nc,nchw->nhw", weights, activation).clamp(min=0)
    raise UsageError(f"explain: method {method!r} has no eager reference")
