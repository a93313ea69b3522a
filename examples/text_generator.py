"""Learn Python code from a stream of characters, then write some.

Each character is predicted before it is learned. The score, bits per character, is what a
compressor built on the model would need. The baseline is an n-gram model, which counts what
followed the last five characters, with Witten-Bell smoothing.

The text is the source code of the installed Python's standard library (PSF licence).

Run with `python examples/text_generator.py`, or with `--full`, which takes a few minutes.
"""

import random
import sys
import sysconfig
from collections import Counter, defaultdict
from math import log2
from pathlib import Path

from streamlstm import LSTMClassifier

ORDER = 5
BLOCK = 5_000  # characters per call
NEW = 1e-4  # probability reserved for characters never seen before


def source_code(size):
    """The first characters of the standard library's modules, sorted by name."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    return "".join(file.read_text(encoding="utf-8") for file in files)[:size]


def ngram_bits(text, alphabet):
    """Bits that an online n-gram model needs for each character."""
    counts = defaultdict(Counter)  # characters that followed each context
    bits = []
    for t, char in enumerate(text):
        p = 1 / alphabet
        contexts = [counts[text[t - n : t]] for n in range(min(t, ORDER) + 1)]
        for context in filter(None, contexts):  # from the shortest: each adds its own counts
            p = (context[char] + len(context) * p) / (context.total() + len(context))
        for context in contexts:
            context[char] += 1
        bits.append(-log2(p))
    return bits


def lstm_bits(model, text, alphabet):
    """Bits that the LSTM needs for each character but the first, while it learns."""
    bits = []
    for start in range(0, len(text) - 1, BLOCK):
        past, new = text[start : start + BLOCK], text[start + 1 : start + BLOCK + 1]
        probabilities = model.learn_many({"char": list(past[: len(new)])}, list(new))
        column = {char: k for k, char in enumerate(model.classes_)}
        for t, char in enumerate(new):
            bits.append(-log2((1 - NEW) * probabilities[t, column[char]] + NEW / alphabet))
    return bits


def write(model, char, size, seed=0):
    """Generate text: draw each character from the model's prediction."""
    draw = random.Random(seed)
    text = []
    for _ in range(size):
        probabilities = model.predict_proba_one({"char": char})
        model.learn_one({"char": char}, None)  # advances the state, trains nothing
        weights = [p**1.5 for p in probabilities.values()]  # favours likely characters
        (char,) = draw.choices(list(probabilities), weights)
        text.append(char)
    return "".join(text)


def main(size=100_000, hidden_size=128, learning_rate=0.004):
    """Print the bits per character of both models, for each tenth of the stream."""
    text = source_code(size)
    alphabet = len(set(text))
    model = LSTMClassifier(
        hidden_size, window=20, stride=10, learning_rate=learning_rate, embedding_size=32
    )
    lstm = lstm_bits(model, text, alphabet)
    ngram = ngram_bits(text, alphabet)[1:]

    print("bits per character\n characters    LSTM  n-gram")
    tenth = len(lstm) // 10
    for start in range(0, 10 * tenth, tenth):
        part = slice(start, start + tenth)
        print(f"{start + tenth:>11,}{sum(lstm[part]) / tenth:8.3f}{sum(ngram[part]) / tenth:8.3f}")
    print(f"        all{sum(lstm) / len(lstm):8.3f}{sum(ngram) / len(ngram):8.3f}")
    print("\nwritten by the LSTM:\n" + write(model, text[-1], 400))


if __name__ == "__main__":
    if "--full" in sys.argv:
        main(size=2_000_000, hidden_size=256, learning_rate=0.002)
    else:
        main()
