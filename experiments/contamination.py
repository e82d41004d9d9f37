"""How many planted copies of evaluation problems the contamination gate finds, and what it flags that is none.

    python experiments/contamination.py --data DATA --plants 100 --out experiments/results/contamination.json

Every evaluation set gives problems that are copied into the real pool in a dozen ways, from verbatim to rewritten;
the rewriting is done by rules of this file alone. Recall is counted for each way and set; false positives are rows of
GSM8K's training set that match GSM8K test, AQuA or MATH-500, and halves of a set that match each other. Two rules of
the literature that ask for one shared n-gram are counted beside it.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import string
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from qads import Decontamination, Pool, Row, load_pool
from qads.clean.text import NUMBER, split_options, template

Rewrite = Callable[[str, random.Random], str | None]
"""None where a problem offers nothing to rewrite."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_LABELLED = re.compile(r"\(([A-E])\)\s*(.*?)(?=\s*\([A-E]\)|\Z)", re.DOTALL)
_NAMES = ["Yusuf", "Ingrid", "Mateo", "Aroha", "Priya", "Kofi", "Linnea", "Tadeusz", "Noor", "Zola"]
_THINGS = {
    "apples": "plums", "books": "atlases", "pencils": "crayons", "marbles": "beads", "cards": "stamps",
    "cookies": "muffins", "balloons": "kites", "students": "pupils", "cars": "vans", "toys": "puzzles",
    "oranges": "lemons", "candies": "toffees", "dollars": "euros", "miles": "kilometres", "flowers": "ferns",
    "boys": "lads", "girls": "lasses", "cats": "foxes", "dogs": "otters", "eggs": "walnuts", "tickets": "passes",
}  # fmt: skip
_PREFIXES = [
    "You are a careful tutor. Work through the task below and state the result at the end.\n\nQuestion: ",
    "The following exercise was set in class. Explain each step of your reasoning.\n",
    "### Instruction:\nSolve this problem.\n\n### Problem:\n",
]
_SUFFIXES = ["\n\nLet's go step by step.", "\nGive the final answer after ####.", "\n\n### Response:\n"]


def recased(text: str, draw: random.Random) -> str:
    """Upper, lower or swapped case; of LaTeX, whose commands have a case, the first letter only."""
    return (
        draw.choice([str.upper, str.lower, str.swapcase])(text) if "\\" not in text else text[0].swapcase() + text[1:]
    )


def respaced(text: str, draw: random.Random) -> str:
    """Other white space between the words."""
    parts = re.split(r"(\s+)", text)
    return "".join(draw.choice([" ", "  ", "\n", "\t", " \n "]) if part.isspace() else part for part in parts)


def punctuation(text: str, draw: random.Random) -> str:
    """Commas and full stops left out or replaced, other quotation marks."""
    text = re.sub(r"(?<!\d)[,;](?=\s)|[,;](?=\s[A-Za-z])", draw.choice(["", ";", " –"]), text)
    text = re.sub(r"[.?](?=\s|$)", draw.choice(["", "!", " ."]), text)
    return text.replace("'", "’").replace('"', "“")


def latex_to_plain(text: str, draw: random.Random) -> str | None:
    """The signs that plain text has for the commonest LaTeX."""
    if "\\" not in text and "$" not in text:
        return None
    plain = re.sub(r"\\[dt]?frac\{(\w+)\}\{(\w+)\}", r"\1/\2", text)
    plain = re.sub(r"\\sqrt\{(\w+)\}", draw.choice([r"√\1", r"sqrt(\1)"]), plain)
    plain = re.sub(r"\^\{(\w)\}", r"^\1", plain)
    for command, sign in (("\\times", "×"), ("\\cdot", "*"), ("\\leq", "≤"), ("\\le ", "<= "), ("\\pi", "π"),
                          ("\\left", ""), ("\\right", ""), ("\\%", "%"), ("\\,", " "), ("\\!", "")):  # fmt: skip
        plain = plain.replace(command, sign)
    return plain.replace("\\$", "").replace("$", "").replace("\\[", " ").replace("\\]", " ")


def latex_forms(text: str, draw: random.Random) -> str | None:
    """Other LaTeX for the same LaTeX."""
    if "\\" not in text and "$" not in text:
        return None
    other = re.sub(r"\\(?:dfrac|tfrac|frac)(?=\{)", lambda _: draw.choice(["\\dfrac", "\\frac", "\\tfrac"]), text)
    other = re.sub(r"\\le(?![a-zA-Z])", r"\\leq", other).replace("\\left(", "(").replace("\\right)", ")")
    other = re.sub(r"(?<!\\)\$([^$\\]+)\$", lambda found: rf"\({found[1]}\)", other)
    return re.sub(r"\^(\d)(?!\d)", r"^{\1}", other)


def plain_to_latex(text: str, draw: random.Random) -> str | None:
    """Numbers and fractions as LaTeX."""
    if "\\" in text or "$" in text or not _NUMBER.search(text):
        return None
    command = draw.choice(["frac", "dfrac"])
    fractions = re.sub(
        r"(?<![\w/.)])(\d+)/(\d+)(?![\w/.])", lambda found: rf"$\{command}{{{found[1]}}}{{{found[2]}}}$", text
    )
    lone_number = r"(?<![\w.,])\d+(?:\.\d+)?(?![\w,]|\.\d)"
    parts = re.split(r"(\$[^$]*\$)", fractions)
    return "".join(part if part.startswith("$") else re.sub(lone_number, r"$\g<0>$", part) for part in parts)


def renumbered(text: str, draw: random.Random) -> str | None:
    """Every number another one of as many digits."""

    def other(found: re.Match[str]) -> str:
        while True:
            made = re.sub(r"\d", lambda _: draw.choice(string.digits), found[0])
            if made != found[0] and not re.search(
                r"^0|^1$|\.0+$", made
            ):  # As a person would: no 05, and 1 is no other.
                return made

    stem, mark, options = text.partition("\nAnswer Choices:")
    changed = _NUMBER.sub(other, stem)
    return None if changed == stem else changed + mark + _NUMBER.sub(other, options)


def options_shuffled(text: str, draw: random.Random) -> str | None:
    """The options in another order and layout."""
    stem, mark, options = text.partition("\nAnswer Choices:")
    found = [content for _, content in _LABELLED.findall(options)]
    if not mark or len(found) < 3:
        return None
    shuffled = draw.sample(found, len(found))
    return stem + "\nOptions:\n" + "\n".join(f"({label}) {o}" for label, o in zip("ABCDE", shuffled, strict=False))


def options_dropped(text: str, draw: random.Random) -> str | None:
    """The question without its options."""
    stem, mark, _ = text.partition("\nAnswer Choices:")
    return stem if mark else None


def embedded(text: str, draw: random.Random) -> str:
    """The problem within a prompt."""
    return draw.choice(_PREFIXES) + text + draw.choice(_SUFFIXES)


def embedded_renumbered(text: str, draw: random.Random) -> str | None:
    """A re-numbered problem within a prompt."""
    changed = renumbered(text, draw)
    return None if changed is None else embedded(changed, draw)


def other_names(text: str, draw: random.Random) -> str | None:
    """Other people and other things, the same numbers."""
    people = dict.fromkeys(re.findall(r"(?<=[a-z,] )[A-Z][a-z]{2,}\b", text))
    swap = dict(zip(people, draw.sample(_NAMES, min(len(people), len(_NAMES))), strict=False)) | _THINGS
    changed = re.sub(r"[A-Za-z]+", lambda found: swap.get(found[0], found[0]), text)
    return None if changed == text else changed


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.?!])\s+", text.strip())


def first_rewritten(text: str, draw: random.Random) -> str | None:
    """Another first sentence."""
    said = _sentences(text)
    opening = draw.choice(
        ["Consider this situation.", "Here is what is known at the start.", "Think of the following."]
    )
    return " ".join([opening, *said[1:]]) if len(said) > 2 else None


def last_rewritten(text: str, draw: random.Random) -> str | None:
    """Another last sentence."""
    said = _sentences(text.partition("\nAnswer Choices:")[0])
    asked = draw.choice(["Work out the result that is wanted.", "Determine the quantity in question."])
    return " ".join([*said[:-1], asked]) if len(said) > 2 else None


MATHEMATICS = ("gsm8k_train", "math_train", "aqua_rat_flan", "tal_scq5k_en_train")
"""Sources that are no copies of an evaluation set, so that what is flagged there shows what a setting costs."""

REWRITES: dict[str, Rewrite] = {
    "verbatim": lambda text, draw: text, "re-cased": recased, "re-spaced": respaced, "punctuation": punctuation,
    "LaTeX to plain": latex_to_plain, "other LaTeX": latex_forms, "plain to LaTeX": plain_to_latex,
    "options shuffled": options_shuffled, "options dropped": options_dropped, "in a longer prompt": embedded,
    "re-numbered": renumbered, "re-numbered in a longer prompt": embedded_renumbered,
    "other names and things": other_names, "first sentence rewritten": first_rewritten,
    "last sentence rewritten": last_rewritten,
}  # fmt: skip


REWRITTEN = ("re-numbered", "re-numbered in a longer prompt", "other names and things", "last sentence rewritten")


def main() -> None:
    """Measure what is not measured yet, and show all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with pool/ and eval/")
    parser.add_argument("--plants", type=int, default=100, help="problems of a set that are planted in each way")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="results as JSON; parts that are there are kept")
    args = parser.parse_args()
    results: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    evaluation = load_pool(args.data / "eval", require_solution=False, on_bad_row="skip")
    pool = load_pool(args.data / "pool", on_bad_row="skip")
    planted = plants(evaluation, args.plants, args.seed)
    by_source = pool.rows_by_source()
    in_mathematics = np.concatenate([by_source[name] for name in MATHEMATICS])
    parts: dict[str, Callable[[], Any]] = {
        "plants": lambda: measured(pool, planted, evaluation, Decontamination()),
        "one shared n-gram": lambda: [one_ngram(pool, planted, evaluation, n) for n in (8, 13)],
        "halves": lambda: halves(evaluation, args.seed),
        "settings": lambda: settings(pool.take(in_mathematics), planted, evaluation),
    }
    for name, part in parts.items():
        if name not in results:
            results[name] = part()
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(results, indent=1))
            print(f"{name}: done", flush=True)
    show(results)


def plants(evaluation: Pool, n_plants: int, seed: int) -> Pool:
    """Rewritten copies, each named SET|REWRITE|ID."""
    rows: list[Row] = []
    texts = evaluation.strings("problem")
    ids = evaluation.strings("id")
    for source, members in evaluation.rows_by_source().items():
        order = random.Random(f"{seed} {source}").sample(members.tolist(), len(members))
        for name, rewrite in REWRITES.items():
            draw, made = random.Random(f"{seed} {source} {name}"), 0
            for row in order:
                if (text := rewrite(texts[row], draw)) is not None:
                    rows.append(
                        Row(id=f"{source}|{name}|{ids[row]}", source="plants", problem=text, solution="Omitted.")
                    )
                    made += 1
                if made == n_plants:
                    break
    return Pool.from_rows(rows)


def together(pool: Pool, planted: Pool) -> Pool:
    """The pool with the plants at its end."""
    return Pool.from_rows([*pool, *planted])


def measured(pool: Pool, planted: Pool, evaluation: Pool, find: Decontamination) -> dict[str, Any]:
    """Plants found, and what of the pool is flagged."""
    report = find(together(pool, planted), evaluation)
    flagged: dict[str, set[str]] = defaultdict(set)
    for match in report.matches:
        flagged[match.id].add(match.evaluation_source)
    hits = [
        {"id": match.id, "match": match.evaluation_id, "kind": match.kind, "part": match.part, "overlap": match.overlap}
        for match in report.matches
        if match.source == "gsm8k_train" and match.evaluation_source in ("gsm8k_test", "aqua_test", "math500")
    ]
    fill_a_template = {row for template in report.templates for row in template.rows}
    not_counted = sum(row < len(pool) for row in fill_a_template)
    missed: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row, (name, text) in enumerate(zip(planted.strings("id"), planted.strings("problem"), strict=True), len(pool)):
        source, rewrite, _ = name.split("|", 2)
        if source not in flagged.get(name, ()):
            structure = sum(token != NUMBER for token in template(split_options(text).stem))
            reason = "short" if structure < 8 else "template of its set" if row in fill_a_template else "other"
            missed[rewrite][reason] += 1
            missed[rewrite]["listed, not counted"] += row in fill_a_template
    counts = [[*place, n] for place, n in report.counts.items() if place[0] != "plants"]
    return {
        "recall": recall(planted, flagged),
        "missed": missed,
        "gsm8k_train": hits,
        "counts": counts,
        "rows of the pool that fill a template": not_counted,
    }


def recall(planted: Pool, flagged: dict[str, set[str]]) -> dict[str, dict[str, list[int]]]:
    """Plants found and plants, by rewrite and set."""
    found: dict[str, dict[str, list[int]]] = {}
    for name in planted.strings("id"):
        source, rewrite, _ = name.split("|", 2)
        counts = found.setdefault(rewrite, {}).setdefault(source, [0, 0])
        counts[0] += source in flagged.get(name, ())
        counts[1] += 1
    return found


def one_ngram(pool: Pool, planted: Pool, evaluation: Pool, n: int) -> dict[str, Any]:
    """What a rule flags that asks for one shared n-gram of words."""
    index: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for source, text in zip(evaluation.strings("source"), evaluation.strings("problem"), strict=True):
        for gram in ngrams(text, n):
            index[gram].add(source)
    flagged = {
        name: sets
        for one in (pool, planted)
        for name, text in zip(one.strings("id"), one.strings("problem"), strict=True)
        if (sets := {source for gram in ngrams(text, n) for source in index.get(gram, ())})
    }
    train = [
        name for name, source in zip(pool.strings("id"), pool.strings("source"), strict=True) if source == "gsm8k_train"
    ]
    counted = {s: sum(s in flagged.get(name, ()) for name in train) for s in ("gsm8k_test", "aqua_test", "math500")}
    return {"n": n, "recall": recall(planted, flagged), "gsm8k_train": counted}


def ngrams(text: str, n: int) -> Iterable[tuple[str, ...]]:
    """n-grams of words without case and the punctuation around them."""
    words = [word for part in text.lower().split() if (word := part.strip(string.punctuation))]
    return (tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def settings(pool: Pool, planted: Pool, evaluation: Pool) -> list[dict[str, Any]]:
    """The same under other settings, for the sources of mathematics."""
    found: list[dict[str, Any]] = []
    tried = (
        [{"least_structure": value} for value in (0, 6, 8, 13)]
        + [{"overlap": value} for value in (0.4, 0.6)]
        + [{"masked_overlap": 0.7}, {"n": 8}]
    )
    for fields in tried:
        result = measured(pool, planted, evaluation, Decontamination(**fields))
        found.append({"settings": fields, **result})
    return found


def halves(evaluation: Pool, seed: int) -> dict[str, dict[str, int]]:
    """One half of each set, shuffled, as the pool of the other: different problems, at times of one template."""
    found: dict[str, dict[str, int]] = {}
    for source, members in evaluation.rows_by_source().items():
        order = random.Random(f"{seed} {source}").sample(members.tolist(), len(members))
        middle = len(order) // 2
        report = Decontamination(solutions=False)(evaluation.take(order[:middle]), evaluation.take(order[middle:]))
        counts = {kind: n for (_, _, kind), n in report.counts.items()}
        found[source] = {"rows": middle, **counts, "fill a template": sum(len(t.rows) for t in report.templates)}
    return found


def show(results: dict[str, Any]) -> None:
    """Print the tables."""
    tables = {"qads": results["plants"]["recall"]} | {
        f"one {r['n']}-gram": r["recall"] for r in results["one shared n-gram"]
    }
    print(f"\n{'':<32}" + "".join(f"{name:>32}" for name in tables))
    for rewrite in REWRITES:
        print(f"{rewrite:<32}" + "".join(f"{proportion(recall.get(rewrite, {})):>32}" for recall in tables.values()))
    for rewrite, sets in results["plants"]["recall"].items():
        missed = {source: f"{n - k} of {n}" for source, (k, n) in sets.items() if k < n}
        print(f"  missed, {rewrite}: {missed or 'none'}", results["plants"]["missed"].get(rewrite, ""))
    print("\nGSM8K train:", json.dumps(results["plants"]["gsm8k_train"]))
    print("by one n-gram:", {r["n"]: r["gsm8k_train"] for r in results["one shared n-gram"]})
    print("halves:", json.dumps(results["halves"]))
    for tried in results["settings"]:
        line = {name: proportion(tried["recall"][name]) for name in REWRITTEN}
        rows = len({hit["id"] for hit in tried["gsm8k_train"]})
        total = sum(count[-1] for count in tried["counts"])
        print(tried["settings"], line, f"GSM8K train: {rows} rows; all four sources: {total} pairs of row and set")


def proportion(counts: dict[str, list[int]]) -> str:
    """Found, of how many, with the interval of Wilson at 95%."""
    k, n = (sum(pair[i] for pair in counts.values()) for i in (0, 1))
    if n == 0:
        return "–"
    low, high = binomtest(k, n).proportion_ci(method="wilson")
    return f"{k}/{n} = {k / n:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
