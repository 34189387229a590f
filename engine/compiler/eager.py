"""The pure PyTorch path: hooks and autograd on the nn.Module itself. It is the reference that every compiled program
is proven against, and the path that the benchmarks compare with. It shares nothing with the compiler but the methods'
constants: their formulas are written here a second time on purpose, loops as loops and ReLUs' rules as functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..contract import UsageError
from . import methods
from .eager_scores import Goal, maps_of, scores


class Ask(NamedTuple):
    """One explanation: the method, the module's path or "input", which call of it, which rank of the target.

    `grid` says where tokens lie: (h, w) of [N, prefix + h·w, C], or of [N, h, w, C]; None for maps.
    """

    method: str
    path: str
    call: int = 1
    rank: int = 1
    grid: tuple[int, int] | None = None


class Explained(NamedTuple):
    """A map, the same before a ReLU at its end, the activation [N, C, h, w] it explains, and the score's gradient (None
    where none was needed).
    """

    map: Tensor
    raw: Tensor
    activation: Tensor
    gradient: Tensor | None


def explain(module: nn.Module, x: Tensor, goal: Goal | Tensor, asks: list[Ask]) -> tuple[Tensor, list[Explained]]:
    """Explain one batch with hooks and autograd.

    Args:
        module: a network in eval mode.
        x: the normalised input [N, C, H, W], in the module's dtype.
        goal: what is explained; an int64 tensor [N] for classes, -1 for the predicted one.
        asks: the explanations wanted.

    Returns:
        (logits [N, K], what was found for each request). Nothing stays hooked.

    Raises:
        UsageError: a layer was not called, or a method has no reference.
    """
    goal = Goal("class", (goal,)) if isinstance(goal, Tensor) else goal
    reference = _Reference(module, x.detach(), goal, asks[0] if asks else Ask("activations", "input"))
    return reference.logits, [reference.explain(ask) for ask in asks]


class _Reference:
    def __init__(self, module: nn.Module, x: Tensor, goal: Goal, first: Ask) -> None:
        self.module, self.x, self.goal = module, x, goal
        self._passes: dict[tuple[str, int], tuple[Tensor, Tensor, Tensor]] = {}
        self._gradients: dict[tuple[Any, ...], tuple[Tensor, Tensor]] = {}
        self.logits = self.watched(first)[0].detach()  # the forward that finds the target is the first request's own
        self.scores = scores(goal, self.logits)

    def watched(self, ask: Ask) -> tuple[Tensor, Tensor, Tensor]:
        """`run` as the network is, ready for gradients at a layer; once for each layer."""
        place = ask.path, ask.call
        if place not in self._passes:
            self._passes[place] = self.run(self.x, *place, _with_gradient)
        return self._passes[place]

    def run(
        self, x: Tensor, path: str = "input", call: int = 1, change: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run the network; a layer's output may be changed on the way.

        Returns:
            (logits, that layer's output as it was used, the unit's layer's output or the logits).
        """
        seen: dict[tuple[str, int], Tensor] = {}
        calls: dict[str, int] = {}
        if path == "input":
            x = change(x) if change else x

        def hook_for(name: str):
            def hook(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
                calls[name] = number = calls.get(name, 0) + 1
                if (name, number) == (path, call) and change:
                    output = change(output)
                seen[name, number] = output
                return output.clone()  # an in-place operator behind the layer would overwrite what was seen

            return hook

        names = {name for name in (path, self.goal.path) if name not in (None, "input")}
        hooks = [self.module.get_submodule(name).register_forward_hook(hook_for(name)) for name in names]
        try:
            with torch.enable_grad():
                logits = self.module(x)
        finally:
            for hook in hooks:
                hook.remove()
        logits = logits["out"] if isinstance(logits, dict) else logits
        if path != "input" and (path, call) not in seen:
            raise UsageError(f"explain: layer {path!r} was called {calls.get(path, 0)} times; expected at least {call}")
        unit = seen[self.goal.path, self.goal.call] if self.goal.path else logits
        return logits, x if path == "input" else seen[path, call], unit

    def gradient(self, ask: Ask, rule: str = "plain", x: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(the layer's output, the score's gradient there), in the network's own layout; of `self.x` found once."""
        if x is not None:
            return self._gradient(ask, self.run(x, ask.path, ask.call, _with_gradient))
        key = ask.path, ask.call, ask.rank, rule
        if key not in self._gradients:
            if rule == "plain":
                passed = self.watched(ask)
            else:
                with _Rectifiers(rule):
                    passed = self.run(self.x, ask.path, ask.call, _with_gradient)
            self._gradients[key] = self._gradient(ask, passed)
        return self._gradients[key]

    def _gradient(self, ask: Ask, passed: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        _, value, unit = passed
        score = self.score(unit, ask).sum()
        if not score.requires_grad:
            return value.detach(), torch.zeros_like(value)
        (gradient,) = torch.autograd.grad(score, value, allow_unused=True, retain_graph=True)
        return value.detach(), torch.zeros_like(value) if gradient is None else gradient

    def score(self, values: Tensor, ask: Ask) -> Tensor:
        return self.scores[ask.rank - 1](values)

    def score_with(self, ask: Ask, change: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.no_grad():
            return self.score(self.run(self.x, ask.path, ask.call, change)[2], ask)

    def explain(self, ask: Ask) -> Explained:
        """One method's map."""
        if (simple := _OF_GRADIENT.get(ask.method)) is not None:
            value, gradient = self.gradient(ask)
            value, gradient = maps_of(value, ask.grid), maps_of(gradient, ask.grid)
            raw = simple(value, gradient)
            return Explained(raw.clamp(min=0) if "cam" in ask.method else raw, raw, value, gradient)
        if (other := _OTHERS.get(ask.method)) is None:
            raise UsageError(f"explain: method {ask.method!r} has no eager reference")
        value = maps_of(self.watched(ask)[1].detach(), ask.grid)
        raw, gradient = other(self, ask, value)
        found = raw.clamp(min=0) if ask.method in ("score-cam", "ablation-cam") else raw
        return Explained(found.detach(), raw.detach(), value, gradient)


def _with_gradient(value: Tensor) -> Tensor:
    return value if value.requires_grad else value.detach().requires_grad_()


# ---- the rules of ReLUs -------------------------------------------------------------------------------------------


class _Rectifiers(TorchFunctionMode):
    """While it holds, ReLU and ReLU6 go back by another rule, called as modules, as functions or in place."""

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.rule = rule

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if self.rule == "plain" or name not in ("relu", "relu_", "relu6", "hardtanh", "hardtanh_"):
            return func(*args, **(kwargs or {}))
        given = {**dict(zip(("input", "min_val", "max_val"), args, strict=False)), **(kwargs or {})}
        bounds = (0.0, float("inf")) if "relu" in name else (given.get("min_val", -1.0), given.get("max_val", 1.0))
        bounds = (0.0, 6.0) if name == "relu6" else bounds
        return _Rectified.apply(given["input"], *bounds, self.rule)


class _Rectified(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float, rule: str) -> Tensor:
        ctx.open, ctx.rule = (x > low) & (x < high), rule
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        positive = grads[0].clamp(min=0)
        return positive * ctx.open if ctx.rule == "guided" else positive, None, None, None


# ---- formulas -----------------------------------------------------------------------------------------------------


def _sum_of(weights: Tensor, activation: Tensor) -> Tensor:
    return torch.einsum("nc,nchw->nhw", weights, activation)


def _plus_plus(activation: Tensor, gradient: Tensor) -> Tensor:
    bottom = 2 * gradient**2 + activation.sum(dim=(2, 3))[:, :, None, None] * gradient**3
    alpha = torch.zeros_like(gradient)
    alpha[bottom != 0] = gradient[bottom != 0] ** 2 / bottom[bottom != 0]
    return _sum_of((alpha * gradient.clamp(min=0)).sum(dim=(2, 3)), activation)


def _xgrad(activation: Tensor, gradient: Tensor) -> Tensor:
    total, weighted = activation.sum(dim=(2, 3)), torch.einsum("nchw,nchw->nc", gradient, activation)
    weights = torch.zeros_like(total)
    weights[total != 0] = weighted[total != 0] / total[total != 0]
    return _sum_of(weights, activation)


_OF_GRADIENT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "saliency": lambda a, g: g.abs().max(dim=1).values,
    "input-x-gradient": lambda a, g: torch.einsum("nchw,nchw->nhw", a, g),
    "ascent": lambda a, g: g.movedim(1, 3),
    "grad-cam": lambda a, g: _sum_of(g.mean(dim=(2, 3)), a),
    "grad-cam++": _plus_plus,
    "hires-cam": lambda a, g: torch.einsum("nchw,nchw->nhw", a, g),
    "xgrad-cam": _xgrad,
    "layer-cam": lambda a, g: torch.einsum("nchw,nchw->nhw", a, g.clamp(min=0)),
}

_Found = tuple[Tensor, Tensor | None]


def _activations(reference: _Reference, ask: Ask, activation: Tensor) -> _Found:
    return activation, None


def _by_rule(rule: str) -> Callable[[_Reference, Ask, Tensor], _Found]:
    def found(reference: _Reference, ask: Ask, activation: Tensor) -> _Found:
        _, gradient = reference.gradient(ask, rule)
        return gradient.abs().max(dim=1).values, gradient

    return found


def _guided_grad_cam(reference: _Reference, ask: Ask, activation: Tensor) -> _Found:
    _, gradient = reference.gradient(ask)
    cam = _OF_GRADIENT["grad-cam"](activation, maps_of(gradient, ask.grid)).clamp(min=0)
    large = F.interpolate(cam[:, None], reference.x.shape[2:], mode="bilinear", align_corners=False)
    _, guided = reference.gradient(Ask("guided", "input", rank=ask.rank), "guided")
    return (guided * large).abs().max(dim=1).values, guided


def _smooth(reference: _Reference, ask: Ask, x: Tensor) -> _Found:
    spread = torch.stack([methods.SMOOTH_SIGMA * (image.max() - image.min()) for image in x])
    gradients = []
    for noise in torch.from_numpy(methods.smooth_noise(tuple(x.shape[1:]))).to(x):
        _, gradient = reference.gradient(ask, x=x + spread[:, None, None, None] * noise)
        gradients.append(gradient)
    mean = torch.stack(gradients).mean(dim=0)
    return mean.abs().max(dim=1).values, mean


def _integrated(reference: _Reference, ask: Ask, x: Tensor) -> _Found:
    places, weights = np.polynomial.legendre.leggauss(methods.INTEGRATION_STEPS)
    total = torch.zeros_like(x)
    for place, weight in zip(places, weights, strict=True):
        total += weight / 2 * reference.gradient(ask, x=x * (place + 1) / 2)[1]
    return (x * total).sum(dim=1), total


def _cam(reference: _Reference, ask: Ask, activation: Tensor) -> _Found:
    """The head's weights by autograd: behind an average over h·w places every gradient is a weight ÷ h·w, and behind a
    ReLU before it, too, wherever the activation counts at all.
    """
    _, gradient = reference.gradient(ask)
    gradient = maps_of(gradient, ask.grid)
    return gradient[0, 0].numel() * torch.einsum("nchw,nchw->nhw", gradient, activation), None


def _eigen(reference: _Reference, ask: Ask, activation: Tensor) -> _Found:
    """Each picture by itself, by the same number of steps: the exact component differs where two are nearly as long."""
    found = []
    for image in activation.flatten(2).numpy():
        centred = image - image.mean(axis=1, keepdims=True)
        mean = centred.mean(axis=0)
        place = mean + 1e-3 * np.abs(mean).max() * np.cos(np.arange(len(mean)) * 1.7)
        for _ in range(methods.EIGEN_STEPS):
            place = centred.T @ (centred @ place)
            place = place / max(np.abs(place).max(), 1e-30)
        component = centred @ place
        projected = component / max(np.linalg.norm(component), 1e-30) @ centred
        found.append(-projected if projected @ mean < 0 else projected)
    return torch.from_numpy(np.stack(found)).unflatten(1, activation.shape[2:]), None


def _score_cam(reference: _Reference, ask: Ask, activation: Tensor) -> _Found:
    x, scores = reference.x, []
    at = Ask(ask.method, "input", rank=ask.rank)
    for channel in activation.unbind(1):
        mask = F.interpolate(channel[:, None], x.shape[2:], mode="bilinear", align_corners=False)
        for one in mask:
            low, high = one.min(), one.max()
            flat = high - low <= methods.SCORE_FLAT * one.abs().max()
            one.copy_(torch.zeros_like(one) if flat else (one - low) / (high - low))
        scores.append(reference.score_with(at, lambda x, mask=mask: x * mask))
    weights = torch.stack(scores, dim=1).softmax(dim=1)
    return _sum_of(weights, activation), None


def _ablation(reference: _Reference, ask: Ask, activation: Tensor) -> _Found:
    whole = reference.score_with(ask, lambda value: value)
    lost = []
    for channel in range(activation.shape[1]):

        def without(value: Tensor, channel: int = channel) -> Tensor:
            value = value.clone()
            if ask.grid is None:
                value[:, channel] = 0
            elif value.dim() == 4:
                value[..., channel] = 0
            else:
                value[:, value.shape[1] - ask.grid[0] * ask.grid[1] :, channel] = 0
            return value

        fallen = whole - reference.score_with(ask, without)
        lost.append(torch.where(whole != 0, fallen / whole, fallen))
    return _sum_of(torch.stack(lost, dim=1), activation), None


def _occlusion(reference: _Reference, ask: Ask, x: Tensor) -> _Found:
    height, width = x.shape[2:]
    rows, columns = (min(2 * methods.WINDOWS, side) for side in (height, width))
    whole = reference.score_with(ask, lambda value: value)
    total, count = x.new_zeros(len(x), rows, columns), torch.zeros(rows, columns)
    row_of, column_of = np.arange(height) * rows // height, np.arange(width) * columns // width
    for top in range(max(rows - 1, 1)):
        for left in range(max(columns - 1, 1)):
            hidden = np.ix_(np.isin(row_of, (top, top + 1)), np.isin(column_of, (left, left + 1)))

            def cover(value: Tensor, hidden: Any = hidden) -> Tensor:
                value = value.clone()
                for image in value:
                    for plane in image:
                        plane.numpy()[hidden] = 0
                return value

            fallen = whole - reference.score_with(ask, cover)
            total[:, top : top + 2, left : left + 2] += fallen[:, None, None]
            count[top : top + 2, left : left + 2] += 1
    return total / count, None


_OTHERS: dict[str, Callable[[_Reference, Ask, Tensor], _Found]] = {
    "activations": _activations,
    "guided-backpropagation": _by_rule("guided"),
    "deconvnet": _by_rule("deconvnet"),
    "guided-grad-cam": _guided_grad_cam,
    "smooth-grad": _smooth,
    "integrated-gradients": _integrated,
    "cam": _cam,
    "eigen-cam": _eigen,
    "score-cam": _score_cam,
    "ablation-cam": _ablation,
    "occlusion": _occlusion,
}
