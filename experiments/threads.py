"""Does the number of threads of a forward pass change its bytes? `python experiments/threads.py`.

The same passes on one thread and on two, of MiniLM in float32 and of SmolLM2-135M in float32 and bfloat16, over a few
generated rows: how many of the passes gave other bytes, and the largest difference.
"""

from __future__ import annotations

import torch

import qads
from qads.demo import make_demo_rows
from qads.models import open_causal_lm, open_encoder
from qads.prompts import sample_text


def passes(model: object, tokenizer: object, texts: list[str], sizes: tuple[int, ...]) -> list[torch.Tensor]:
    """Last states of one pass over the first so many texts."""
    found: list[torch.Tensor] = []
    for size in sizes:
        inputs = tokenizer(texts[:size], padding=True, return_tensors="pt")  # pyright: ignore
        with torch.inference_mode():
            found.append(model(**inputs).last_hidden_state.float())  # pyright: ignore
    return found


def main() -> None:
    """Print a line for each model and precision."""
    pool = qads.Pool.from_rows(qads.Row(**row) for row in make_demo_rows(n_rows=50))
    texts, sizes = [sample_text(row, "both") for row in pool], (1, 2, 3, 4, 8, 16)
    encoder = open_encoder("minilm", device="cpu", dtype="float32").model
    opened = {"MiniLM float32": (encoder[0].auto_model, encoder.tokenizer)}
    for dtype in ("float32", "bfloat16"):
        lm = open_causal_lm("smollm2-135m", device="cpu", dtype=dtype)  # pyright: ignore
        lm.tokenizer.pad_token = lm.tokenizer.pad_token or lm.tokenizer.eos_token
        opened[f"SmolLM2-135M {dtype}"] = (lm.model.base_model, lm.tokenizer)
    for name, (model, tokenizer) in opened.items():
        torch.set_num_threads(1)
        one = passes(model, tokenizer, texts, sizes)
        torch.set_num_threads(2)
        two = passes(model, tokenizer, texts, sizes)
        others = [float((a - b).abs().max()) for a, b in zip(one, two, strict=True) if not torch.equal(a, b)]
        print(f"{name}: {len(others)} of {len(sizes)} passes differ, by {max(others, default=0):.2g} at most")


if __name__ == "__main__":
    main()
