r"""LaTeX and its plain forms made one: `\dfrac{1}{2}`, `\frac12`, ½ and 1/2 are the same text afterwards.

This is no parser of LaTeX: it takes off what does not change what is said (fonts, spacing, sizes, delimiters) and
writes the rest with the signs that plain text has for it. Groups are resolved from the innermost outwards, each pass
in time linear in the text and `_DEPTH` passes at most, so that no text, however broken or hostile, takes long.
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["FIGURE", "without_latex"]

FIGURE = re.compile(r"\[asy\].*?(?:\[/asy\]|\Z)|\\begin\{asy\}.*?(?:\\end\{asy\}|\Z)", re.DOTALL)
"""Source of a drawing, as MATH has it."""

_DEPTH = 12
"""Groups nested deeper than this keep their brackets."""

_WORTH_A_LOOK = re.compile(r"[\\$^{~]|\*\*|[<>!]=|sqrt")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{[^{}]*\}(?:\s*\{[clrp|@ ]*\})?")
_LAID_OUT = re.compile(r"\\(?:[hv]space|vskip|hskip|label|tag|color|phantom|hphantom|cline)\*?\s*\{[^{}]*\}")
_DEGREES = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))")
_ARGUMENT = r"\s*(?:\{([^{}]*)\}|(\d|(?<!\w)[A-Za-z](?![A-Za-z])))"
_FRACTION = re.compile(r"\\[dtc]?frac(?![A-Za-z])" + _ARGUMENT + _ARGUMENT)
_BINOMIAL = re.compile(r"\\[dt]?binom(?![A-Za-z])" + _ARGUMENT + _ARGUMENT)
_ROOT = re.compile(r"\\sqrt(?:\s*\[([^\[\]{}]{0,9})\])?" + _ARGUMENT)
_RAISED = re.compile(r"([\^_])\s*\{([^{}]*)\}")
_SHOWN = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|sc|normal|up)?|math(?:rm|bf|it|sf|tt|cal|bb|frak|scr|op|bin|rel)|mbox|hbox|emph|boxed"
    r"|operatorname\*?|overline|underline|uline|overrightarrow|overleftarrow|vec|hat|widehat|bar|tilde|widetilde|bold"
    r"|boldsymbol|dot|ddot|underbrace|overbrace|stackrel|pmod|bmod|fbox|textsuperscript)\s*\{([^{}]*)\}"
)
_LEFT_OVER = re.compile(r"\\([A-Za-z]+)\*?|\\(.)|[{}~]|\$+", re.DOTALL)
_WRITTEN_ROOT = re.compile(r"(?<![A-Za-z])sqrt(?=\s*\()")
_LONE_ARGUMENT = re.compile(r"([\^√])\s*\(\s*(-?(?:[A-Za-z]|\d+(?:\.\d+)?))\s*\)")
_ATOM = re.compile(r"\s*-?(?:[A-Za-z]|[\d.,]+|[^\W\d_])\s*")
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,?\\[,!])(?=\d{3}(?!\d))")
_COMMAND = re.compile(r"\\([A-Za-z]+)\*?")

_SIGNS = {
    "times": "×", "cdot": "·", "div": "÷", "ast": "*", "pm": "±", "mp": "∓", "le": "≤", "leq": "≤", "leqslant": "≤",
    "ge": "≥", "geq": "≥", "geqslant": "≥", "lt": "<", "gt": ">", "ne": "≠", "neq": "≠", "equiv": "≡", "approx": "≈",
    "cong": "≅", "sim": "∼", "simeq": "≃", "propto": "∝", "infty": "∞", "sum": "∑", "prod": "∏", "int": "∫",
    "partial": "∂", "nabla": "∇", "in": "∈", "notin": "∉", "subset": "⊂", "subseteq": "⊆", "supset": "⊃", "cup": "∪",
    "cap": "∩", "setminus": "∖", "emptyset": "∅", "varnothing": "∅", "forall": "∀", "exists": "∃", "land": "∧",
    "wedge": "∧", "lor": "∨", "vee": "∨", "neg": "¬", "lnot": "¬", "circ": "∘", "bullet": "∙", "star": "⋆",
    "oplus": "⊕", "otimes": "⊗", "angle": "∠", "perp": "⊥", "parallel": "∥", "mid": "|", "vert": "|", "lvert": "|",
    "rvert": "|", "to": "→", "rightarrow": "→", "Rightarrow": "⇒", "implies": "⇒", "lfloor": "⌊", "rfloor": "⌋",
    "lceil": "⌈", "rceil": "⌉", "langle": "⟨", "rangle": "⟩", "lbrace": "{", "rbrace": "}", "ell": "l",
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "zeta": "ζ", "eta": "η",
    "theta": "θ", "vartheta": "θ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ",
    "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "upsilon": "υ", "phi": "φ", "varphi": "φ", "chi": "χ",
    "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π",
    "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω", "degree": "°", "textless": "<", "textgreater": ">",
    "textbar": "|", "textbackslash": " ", "textquotesingle": "'", "textasciitilde": " ", "triangle": "△",
}  # fmt: skip
_SILENT = frozenset(
    "left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr displaystyle textstyle "
    "scriptstyle limits nolimits rm bf it sf tt cal quad qquad enspace thinspace hfill hline noindent indent par "
    "newline linebreak allowbreak smallskip medskip bigskip centering ldots cdots dots dotsb dotsc dotsm dotsi vdots "
    "ddots item Large large huge small tiny normalsize nonumber notag".split()
)
"""Commands that say nothing."""


def without_latex(text: str) -> str:
    r"""The text with LaTeX as plain signs; text without any comes back as it is.

    >>> without_latex(r"Solve $\dfrac{x-1}{3} \leq \sqrt{2}$.")
    'Solve  (x-1)/3 ≤ √2 .'
    """
    if not _WORTH_A_LOOK.search(text):
        return text
    latex = "\\" in text or "$" in text  # Else braces are code's, or a set's.
    if latex:
        text = _LAID_OUT.sub(" ", _ENVIRONMENT.sub(" ", _DEGREES.sub("°", _THOUSANDS.sub(",", text))))
        text = _COMMAND.sub(_sign_or_command, text)
    for _ in range(_DEPTH if latex or "^{" in text or "_{" in text else 0):
        resolved = _resolve_innermost(text)
        if resolved == text:
            break
        text = resolved
    text = _LEFT_OVER.sub(_sign, text) if latex else text.replace("~", " ")
    plain = text.replace("**", "^").replace("<=", "≤").replace(">=", "≥").replace("!=", "≠")
    return _LONE_ARGUMENT.sub(r"\1\2", _WRITTEN_ROOT.sub("√", plain))


def _resolve_innermost(text: str) -> str:
    """Groups without groups in them as plain text."""
    text = _SHOWN.sub(r" \1 ", _RAISED.sub(lambda found: found[1] + _grouped(found[2]), text))
    text = _ROOT.sub(lambda found: f"{found[1] or ''}√{_grouped(found[2] or found[3] or '')}", text)
    text = _BINOMIAL.sub(_two_arguments("{0} choose {1}"), text)
    return _FRACTION.sub(_two_arguments("{0}/{1}"), text)


def _two_arguments(form: str) -> Callable[[re.Match[str]], str]:
    def written(found: re.Match[str]) -> str:
        return " " + form.format(_grouped(found[1] or found[2] or ""), _grouped(found[3] or found[4] or "")) + " "

    return written


def _grouped(argument: str) -> str:
    """An argument with brackets where it is more than one sign."""
    return argument.strip() if _ATOM.fullmatch(argument) else f"({argument.strip()})"


def _sign_or_command(found: re.Match[str]) -> str:
    return " " if found[1] in _SILENT else _SIGNS.get(found[1], found[0])


def _sign(found: re.Match[str]) -> str:
    """What a command without a sign, or anything else that is LaTeX's own, leaves: its name, its character, a gap."""
    if found[1]:
        return f" {found[1]} "
    return found[2] if found[2] and found[2] in "%$#&_{}|" else "" if found[2] == "!" else " "
