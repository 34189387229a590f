"""The network cut at a layer, as a method sees it (see `methods.Cut`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, fx

from .adjoints import Rule, backward_rule
from .layouts import Layout
from .network import Network
from .targets import Score

HeadWeights = Callable[[Tensor], Tensor]
"""From a linear head's weights [K, C] to ∂score/∂(the channel means) [N, C]."""


class NetworkCut:
    """A network cut at one of its nodes.

    Args:
        network: the imported network.
        state: placeholder name → tensor.
        x: the normalised input [N, C, H, W].
        at: where it is cut.
        layout: how maps lie in the value of `at`.
        to: the node that `score` is a function of.
        score: what is explained.
        pick: see `HeadWeights`; None where the target is not a sum of logits.
    """

    def __init__(
        self,
        network: Network,
        state: Mapping[str, Tensor],
        x: Tensor,
        at: fx.Node,
        layout: Layout,
        to: fx.Node,
        score: Score,
        pick: HeadWeights | None,
    ) -> None:
        self._network, self._state, self._x, self._to, self._score, self._pick = network, state, x, to, score, pick
        self._layout = layout
        self._at = at
        self._value, self._tail = network.cut(state, x, at, to)
        self.activation = layout.fold(self._value)
        self.size = layout.shape[1:]

    @property
    def input(self) -> NetworkCut:
        network = self._network
        layout = Layout(network.input_shape)
        return NetworkCut(network, self._state, self._x, network.input, layout, self._to, self._score, self._pick)

    def score(self, activation: Tensor) -> Tensor:
        return self._score(self._tail(self._layout.unfold(activation, self._value)))

    def gradient(self, activation: Tensor | None = None, rule: Rule = "plain") -> Tensor:
        with backward_rule(rule):  # the images of a batch do not see each other, so the gradient of their sum separates
            return torch.func.grad(lambda a: self.score(a).sum())(self.activation if activation is None else activation)

    def pooled(self) -> Tensor:
        head = self._network.pooled_head()
        assert head is not None
        if head[0] is self._at:
            return self.activation
        tail = self._network.cut(self._state, self._x, self._at, head[0])[1]
        return self._layout.fold(tail(self._value))  # what lies between, a ReLU, keeps the layout

    def head_weights(self) -> Tensor:
        head = self._network.pooled_head()
        assert head is not None
        assert self._pick is not None
        return self._pick(self._state[head[1]])
