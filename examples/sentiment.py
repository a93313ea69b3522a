"""Tell good reviews from bad ones, word by word.

Each word is a tick with one feature, a text; every word of a review is taught its label, the last
one's judgement counts, and the state starts anew with the next. Accuracy is that of the first pass,
each review being judged before it is learned from, and, after all passes, that on reviews held out.
Beside the LSTM stands river's logistic regression on a bag of words and pairs of words.

The reviews are sentences about products with the mean of 20 people's ratings, from C. J. Hutto and
E. Gilbert, VADER, ICWSM 2014 (MIT licence, see `examples/data`). `--full FILE` takes the longer
list, of films, from the source distribution of vaderSentiment, which
`pip download --no-deps --no-binary :all: vaderSentiment==3.3.2` brings.

Run with `python examples/sentiment.py [--full vaderSentiment-3.3.2.tar.gz]`.
"""

import random
import re
import sys
import tarfile
from pathlib import Path
from textwrap import shorten

from river import feature_extraction, linear_model, optim

from streamlstm import LSTMClassifier

DATA = Path(__file__).parent / "data" / "product_reviews.tsv"
INNER = "additional_resources/hutto_ICWSM_2014.tar.gz"
FILMS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"


def film_reviews(path):
    """Lines of the film reviews: a tar file in a tar file."""
    with tarfile.open(path) as outer:
        (inner,) = [name for name in outer.getnames() if name.endswith(INNER)]
        with tarfile.open(fileobj=outer.extractfile(inner)) as files:
            lines = files.extractfile(FILMS).read().decode("utf-8").splitlines()
    return [line.partition("\t")[2] for line in lines]  # without the number


def reviews(lines):
    """Shuffled pairs of words and whether people liked it; the undecided are left out."""
    pairs = []
    for line in lines:
        rating, text = line.split("\t")
        words = re.findall(r"[a-z']+|[!?.,]", text.lower())
        if abs(float(rating)) >= 0.5 and words:
            pairs.append((words, float(rating) > 0))
    random.Random(0).shuffle(pairs)
    return pairs


def lstm_judges(model, words, liked=None):
    """Judge a review at its last word, then learn from it, if there is a label, in one update."""
    chances = model.learn_many({"word": words}, [liked] * len(words))[-1]
    model.reset_state()
    return bool(len(chances)) and model.classes_[chances.argmax()]


def bag_judges(model, words, liked=None):
    """Do the same with a river classifier."""
    text = " ".join(words)
    judgement = model.predict_one(text)
    if liked is not None:
        model.learn_one(text, liked)
    return judgement


def main(lines=None, passes=5):
    """Score both on all but a fifth of the reviews, learn, and score on that fifth."""
    pairs = reviews(lines or DATA.read_text(encoding="utf-8").splitlines())
    learned, held_out = pairs[len(pairs) // 5 :], pairs[: len(pairs) // 5]
    bag = feature_extraction.BagOfWords(ngram_range=(1, 2))
    models = {
        "bag of words": (bag | linear_model.LogisticRegression(optim.SGD(0.1)), bag_judges),
        "LSTM": (LSTMClassifier(32, window=256, stride=256, embedding_size=64), lstm_judges),
    }
    good = sum(liked for _, liked in held_out) / len(held_out)
    print(f"{len(learned):,} reviews learned from, {len(held_out):,} held out, {good:.1%} good")
    print("accuracy      first pass  held out")
    for name, (model, judges) in models.items():
        first = [judges(model, words, liked) == liked for words, liked in learned]
        for _ in range(passes - 1):
            for words, liked in learned:
                judges(model, words, liked)
        held = [judges(model, words) == liked for words, liked in held_out]
        print(f"{name:<14}{sum(first) / len(first):10.3f}{sum(held) / len(held):10.3f}")
    print("\njudged by the LSTM, held out:")
    for words, liked in held_out[:6]:
        judgement = "good" if lstm_judges(model, words) else "bad"  # the last model
        truth = "" if (judgement == "good") == liked else "  (wrong)"
        print(f"{judgement:<6}{shorten(' '.join(words), 80)}{truth}")


if __name__ == "__main__":
    main(film_reviews(sys.argv[2]) if "--full" in sys.argv else None)
