"""Translate dates, spans of time, amounts and lists from English into Spanish.

One LSTM reads the English words, a mark, and the Spanish words. Its labels are the Spanish words;
before the mark y is None. English is read backwards (Sutskever, Vinyals and Le, 2014), and numbers
digit by digit. To translate, the model writes the likeliest word again and again. The BLEU score on
held-out phrases is compared with those of the untranslated English and of a translation memory,
which returns the translation of the most similar phrase.

Babel (BSD licence) makes the phrases from the Unicode CLDR, in which native speakers have
translated formats and words of hundreds of languages (Unicode licence).

Run with `python examples/translator.py`, or with `--full`, which takes a few minutes.
"""

import random
import re
import sys
from datetime import date, timedelta

from streamlstm import LSTMClassifier

try:
    from babel import Locale, dates, lists, numbers
    from sacrebleu import corpus_bleu
except ImportError as error:
    raise SystemExit("needs Babel and sacreBLEU: pip install 'streamlstm[examples]'") from error

LANGUAGES = [Locale("en"), Locale("es")]
SHARED = set.intersection(*(set(locale.territories) for locale in LANGUAGES))
COUNTRIES = sorted(filter(str.isalpha, SHARED))[::4]
CURRENCIES = ("EUR", "USD", "GBP", "CHF", "JPY", "SEK", "PLN", "CZK", "INR", "BRL", "MXN", "TRY")
DAYS = (1 / 24, 1, 7, 30, 365)
MARK, END = "\t", "\n"


def phrase(draw):
    """Draw a phrase; return it in both languages."""
    day = date(1950, 1, 1) + timedelta(draw.randrange(36_500))
    number = draw.choice((1, draw.randint(2, 9_999), draw.randint(100, 99_999) / 100))
    currency = draw.choice(CURRENCIES)
    span = timedelta(draw.choice(DAYS) * draw.randint(1, 23) * draw.choice((-1, 1)))
    countries = draw.sample(COUNTRIES, draw.randint(2, 4))
    later = day + timedelta(draw.randint(1, 60))
    kind = draw.randrange(5)

    def say(locale):
        if kind == 0:
            return dates.format_date(day, "full", locale)
        if kind == 1:
            return dates.format_interval(day, later, "yMMMMd", locale=locale)
        if kind == 2:
            return dates.format_timedelta(span, add_direction=True, locale=locale)
        if kind == 3:
            return numbers.format_currency(number, currency, locale=locale, format_type="name")
        return lists.format_list([locale.territories[code] for code in countries], locale=locale)

    return tuple(" ".join(say(locale).split()) for locale in LANGUAGES)


def tokens(text):
    """Split a text into words, digits and signs, each with the space before it."""
    return re.findall(r" ?(?:[^\W\d]+|\d|[^\w\s])", text)


def english(source):
    """The words that the LSTM reads: backwards, so that those to translate first come last."""
    return ["en" + word for word in reversed(tokens(source))]


def learn(model, source, target):
    """Learn one pair: read the source, and learn to write the target."""
    words, answer = english(source), tokens(target)
    labels = [None] * len(words) + [*answer, END]
    model.learn_many({"word": [*words, MARK, *answer]}, labels)
    model.reset_state()


def translate(model, source, longest=40):
    """Read the source, then write the likeliest words up to the end sign."""
    for word in english(source):
        model.learn_one({"word": word}, None)
    written = [MARK]
    while written[-1] != END and len(written) < longest:
        x = {"word": written[-1]}
        written.append(model.predict_one(x))
        model.learn_one(x, None)  # advances the state, trains nothing
    model.reset_state()
    return "".join(written[1:]).removesuffix(END)


def memory(pairs, source):
    """The translation of the phrase that shares the most words with this one."""
    words = set(tokens(source))
    return max(pairs, key=lambda pair: len(words & pair[2]) / len(words | pair[2]))[1]


def main(size=8_000, passes=3, hidden_size=128):
    """Learn, translate held-out phrases, and print scores and translations."""
    draw = random.Random(0)
    unique = dict(phrase(draw) for _ in range(size + 200))
    pairs = [(source, target, set(tokens(source))) for source, target in unique.items()]
    learned, held_out = pairs[:-200], pairs[-200:]
    model = LSTMClassifier(hidden_size, window=64, stride=64, embedding_size=64)
    steps = passes * len(learned)
    for step in range(steps):
        model.learning_rate = 0.004 * (1 - 0.95 * step / steps)
        learn(model, *learned[step % len(learned)][:2])

    truth = [[target for _, target, _ in held_out]]
    answers = {
        "English as it is": [source for source, _, _ in held_out],
        "translation memory": [memory(learned, source) for source, _, _ in held_out],
        "LSTM": [translate(model, source) for source, _, _ in held_out],
    }
    for name, texts in answers.items():
        right = sum(text == pair[1] for text, pair in zip(texts, held_out, strict=True))
        print(f"{name:<20} BLEU {corpus_bleu(texts, truth).score:5.1f}, exact {right} of 200")
    for pair, text in list(zip(held_out, answers["LSTM"], strict=True))[:12]:
        print(f"{pair[0]}  ->  {text}" + (f"  (should be: {pair[1]})" if text != pair[1] else ""))


if __name__ == "__main__":
    if "--full" in sys.argv:
        main(size=20_000, passes=8, hidden_size=256)
    else:
        main()
