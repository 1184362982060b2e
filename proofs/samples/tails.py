r"""The batch that the coordinate-wise test asks for has tail index 1/2; those of the other tests, d / 2."""

from __future__ import annotations

import sympy

from proofs.steps import Derivation, identity, nonnegative, prose, proves, vanishing
from theory.samples import tails as theory

__all__ = ["infinite_expectation", "small_norms"]

noise, eta, batch, deviation, density, least = sympy.symbols("sigma eta B s rho B_0", positive=True)
t, mean = sympy.symbols("t m", nonnegative=True)
x = sympy.Symbol("x", real=True)


@proves(
    "infinitely many samples",
    "the coordinate-wise test asks for infinitely many samples in expectation",
    r"Let the coordinates $G_i \sim N(m_i, s_i^2)$ of the gradient be independent, let the coordinate-wise "
    r"test ask for $b = \max_i \sigma^2/(\eta G_i)^2$ samples, and let $t = \sigma/(\eta\sqrt B)$. Then "
    r"$2t\rho(B_0) \le P(b > B) \le 2t\sum_i 1/(s_i\sqrt{2\pi})$ for all $B \ge B_0$. So $P(b > B)$ falls as "
    r"$B^{-1/2}$, $E\,b = \infty$, and $E\min(b,B) \ge c\sqrt B$ for some $c > 0$.",
    source="this project",
)
def infinite_expectation() -> Derivation:
    """The density near 0 bounds the probability from both sides; its integral diverges."""
    threshold = theory.small_gradient(batch, noise, eta)
    yield identity(
        r"\sigma^2/(\eta t)^2 = B: \; b > B \iff |G_i| < t \text{ for some } i",
        noise**2 / (eta * threshold) ** 2,
        batch,
    )
    shape = theory.normal_density(x, mean, deviation)
    yield vanishing(
        r"\int\text{density} = 1",
        lambda: [sympy.integrate(shape.subs(mean, 0), (x, -sympy.oo, sympy.oo)) / sympy.sqrt(2 * sympy.pi) - 1],
    )
    gap_below = ((-(t * t - 2 * t * mean + mean**2)) + (t + mean) ** 2) / (2 * deviation**2)
    yield nonnegative(
        r"\text{the density on } [-t,t] \text{ is least at the far end: } (|m|+t)^2 \ge (|m| \pm t)^2",
        gap_below,
        [t, mean, deviation],
        reason="it falls with the distance from m; P(|G| < t) >= 2 t times its least value there",
    )
    yield identity(
        r"\text{its largest value is } 1/(s\sqrt{2\pi})", shape.subs(x, mean), 1 / deviation, "the upper bound"
    )
    yield prose(
        r"P(b>B) \ge P(|G_1| < t), \quad P(b>B) \le \sum_i P(|G_i|<t)",
        "t falls with B, so the density at the far end for B_0 serves all B >= B_0",
    )
    tail = 2 * threshold * density
    yield vanishing(
        r"\int_{B_0}^\infty 2t\rho\,dB = \infty: \; 1/\int_{B_0}^{B}2t\rho \to 0",
        lambda: [sympy.limit(1 / sympy.integrate(tail, (batch, least, batch)), batch, sympy.oo)],
        "E b >= the integral of P(b > B)",
    )
    yield identity(
        r"E\min(b,B) \ge \int_{B_0}^B 2t\rho = \frac{4\sigma\rho}{\eta}(\sqrt B-\sqrt{B_0})",
        sympy.integrate(tail, (batch, least, batch)),
        4 * noise * density / eta * (sympy.sqrt(batch) - sympy.sqrt(least)),
    )
    yield identity(
        r"\ln t = -\tfrac12\ln B + \text{constant}: \text{ tail index } 1/2",
        -batch * sympy.diff(sympy.log(threshold), batch),
        theory.tail_index(sympy.Integer(1)),
    )


@proves(
    "small norms",
    "how many coordinates must be small at once decides the tail",
    r"If $b > B$ exactly where $j$ independent coordinates, with densities that are continuous and positive "
    r"at 0, are in $(-t,t)$ at once, where $t$ is proportional to $B^{-1/2}$, then $P(b > B)$ falls as "
    r"$B^{-j/2}$, and $E\,b < \infty$ exactly for $j \ge 3$. For $G \sim N(0, s^2I)$ in $d \ge 3$ dimensions, "
    r"$E\|G\|^{-2} = 1/(s^2(d-2))$.",
    source="this project",
)
def small_norms() -> Derivation:
    """The volume of small balls, and the expectation where it is finite."""
    j, start, power = sympy.symbols("j B_0 p", positive=True)
    threshold = theory.small_gradient(batch, noise, eta)
    yield prose(
        r"P(\text{some } j \text{ coordinates} < t) \text{ lies between multiples of } t^j",
        "independent coordinates, and finitely many choices of j of them; for a norm j = d, and the ball of "
        "radius t "
        "lies between cubes",
    )
    yield identity(
        r"\ln t^j = -\tfrac j2\ln B + \text{constant}",
        sympy.expand(-batch * sympy.diff(j * sympy.log(threshold), batch)),
        theory.tail_index(j),
    )
    yield vanishing(
        r"\int_{B_0}^\infty B^{-j/2}dB = \frac{B_0^{1-j/2}}{j/2-1} \text{ for } j > 2",
        lambda: [
            sympy.integrate(batch ** -(1 + power), (batch, start, sympy.oo), conds="none") - start**-power / power
        ],
        "j / 2 = 1 + p",
    )
    yield vanishing(
        r"j = 2: \int_{B_0}^\infty B^{-1}dB = \infty",
        lambda: [sympy.limit(1 / sympy.log(batch / start), batch, sympy.oo)],
    )
    y = sympy.Symbol("y", positive=True)
    density = sympy.exp(-y / (2 * deviation**2))
    radial = [sympy.integrate(y**exponent * density, (y, 0, sympy.oo)) for exponent in (power - 1, power)]
    yield vanishing(
        r"E\|G\|^{-2} = \frac{\int_0^\infty y^{p-1}\exp(-y/(2s^2))dy}{\int_0^\infty y^p\exp(-y/(2s^2))dy} = "
        r"\frac1{s^2(d-2)}, \quad d = 2 + 2p > 2",
        lambda: [sympy.gammasimp(radial[0] / radial[1]) - theory.mean_reciprocal_square(2 + 2 * power, deviation)],
        "y = ||G||^2, whose density is proportional to y^p times the exponential",
    )
