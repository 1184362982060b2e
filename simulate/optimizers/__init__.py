r"""Optimizers batched over seeds: Adam (6) and its variants, coordinate AdaGrad, SGD.

Algorithm (coordinate-wise, all seeds at once; s_k is 1 or bias correction's factor, h_k an optional schedule):
    =========  ==================================================================================
    Adam       m_k = beta1 m_{k-1} + (1 - beta1) g_k;  v_k = beta2 v_{k-1} + (1 - beta2) g_k^2;
               w_{k+1} = w_k - alpha h_k s_k m_k / (sqrt(v_k) + eps_k)
    AdamW      the same with w_k replaced by (1 - alpha h_k lambda) w_k
    RMSProp    Adam with beta1 = 0, no bias correction; at beta2 -> 0 sign descent
    SGD        w_{k+1} = w_k - alpha h_k g_k
    AdaGrad    v_k = v_{k-1} + g_k^2;  w_{k+1} = w_k - alpha h_k g_k / (sqrt(v_k) + eps)
    =========  ==================================================================================

    Without a theorem here: momentum SGD, NAdam, AMSGrad (:mod:`~simulate.optimizers.momentum`), signSGD, Signum,
    Lion and Muon (:mod:`~simulate.optimizers.sign`).

    Without bias correction s_k = 1 and eps_k = eps; with it s_k = sqrt(1 - beta2^k) / (1 - beta1^k) and
    eps_k = eps sqrt(1 - beta2^k). 0/0 := 0: where a denominator is 0 the coordinate does not move.

References:
    Lau et al., arXiv 2412.21124, Eq. (6). Kingma and Ba, arXiv 1412.6980. Loshchilov and Hutter, arXiv 1711.05101.

Shapes:
    w and g are [seeds, d]. Every hyperparameter is a float or an array that broadcasts against [seeds, d], for
    example [seeds, 1] to run a grid of settings as one batch.

Example:
    >>> import numpy as np
    >>> adam = OPTIMIZERS["adam"](step_size=0.5, beta1=0.0, beta2=0.75)
    >>> w = np.array([[1.0, 2.0]])
    >>> state = adam.start(w)
    >>> adam.step(w, np.array([[3.0, 0.0]]), state, 1)
    array([[0., 2.]])
"""

from __future__ import annotations

from collections.abc import Callable

from simulate.optimizers.base import Optimizer, OptimizerState, zero_safe_ratio
from simulate.optimizers.momentum import AMSGrad, MomentumSGD, NAdam
from simulate.optimizers.rules import SGD, AdaGrad, Adam, AdamW, RMSProp
from simulate.optimizers.sign import Lion, Muon, SignSGD, Signum
from simulate.registry import Registry

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "AMSGrad",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Lion",
    "MomentumSGD",
    "Muon",
    "NAdam",
    "Optimizer",
    "OptimizerState",
    "RMSProp",
    "SignSGD",
    "Signum",
    "zero_safe_ratio",
]

KINDS: tuple[type[Optimizer], ...] = (
    Adam,
    AdamW,
    RMSProp,
    SGD,
    AdaGrad,
    MomentumSGD,
    NAdam,
    AMSGrad,
    SignSGD,
    Signum,
    Lion,
    Muon,
)

OPTIMIZERS: Registry[Callable[..., Optimizer]] = Registry("optimizer", {kind.name: kind for kind in KINDS})
"""Optimizers by name; the values take ``step_size`` and their own settings.

The theorems are on the first five: ``verify-bounds`` refuses to run where an entry was added, replaced or removed.
One of your own is named on the command line, or handed to :func:`simulate.laboratory.study`."""
