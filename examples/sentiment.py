"""Classify reviews as good or bad, word by word.

Each word is a tick with one feature, a text. All words of a review have its label, the prediction
at the last word counts, and the state is reset after each review. Two accuracies are printed: that
of the first pass, where each review is classified before it is learned, and that on held-out
reviews after all passes. The baseline is river's logistic regression on words and pairs of words.

The reviews are sentences about products with the mean of 20 people's ratings, from C. J. Hutto and
E. Gilbert, VADER, ICWSM 2014 (MIT licence, see `examples/data`). `--full FILE` uses the longer
list of film reviews from the source distribution of vaderSentiment; download it with
`pip download --no-deps --no-binary :all: vaderSentiment==3.3.2`.

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
    """Lines of the film reviews, which are in a tar file inside a tar file."""
    with tarfile.open(path) as outer:
        (inner,) = [name for name in outer.getnames() if name.endswith(INNER)]
        with tarfile.open(fileobj=outer.extractfile(inner)) as files:
            lines = files.extractfile(FILMS).read().decode("utf-8").splitlines()
    return [line.partition("\t")[2] for line in lines]  # without the line number


def reviews(lines):
    """Shuffled pairs (words, whether people liked it), without undecided reviews."""
    pairs = []
    for line in lines:
        rating, text = line.split("\t")
        words = re.findall(r"[a-z']+|[!?.,]", text.lower())
        if abs(float(rating)) >= 0.5 and words:
            pairs.append((words, float(rating) > 0))
    random.Random(0).shuffle(pairs)
    return pairs


def classify_lstm(model, words, liked=None):
    """Classify a review at its last word, then learn it in one update if it has a label."""
    probabilities = model.learn_many({"word": words}, [liked] * len(words))[-1]
    model.reset_state()
    return bool(len(probabilities)) and model.classes_[probabilities.argmax()]


def classify_bag(model, words, liked=None):
    """Do the same with a river classifier."""
    text = " ".join(words)
    prediction = model.predict_one(text)
    if liked is not None:
        model.learn_one(text, liked)
    return prediction


def main(lines=None, passes=5):
    """Learn four fifths of the reviews, and print the accuracies of both models."""
    pairs = reviews(lines or DATA.read_text(encoding="utf-8").splitlines())
    learned, held_out = pairs[len(pairs) // 5 :], pairs[: len(pairs) // 5]
    bag = feature_extraction.BagOfWords(ngram_range=(1, 2))
    models = {
        "bag of words": (bag | linear_model.LogisticRegression(optim.SGD(0.1)), classify_bag),
        "LSTM": (LSTMClassifier(32, window=256, stride=256, embedding_size=64), classify_lstm),
    }
    good = sum(liked for _, liked in held_out) / len(held_out)
    print(f"{len(learned):,} reviews learned from, {len(held_out):,} held out, {good:.1%} good")
    print("accuracy      first pass  held out")
    for name, (model, classify) in models.items():
        first = [classify(model, words, liked) == liked for words, liked in learned]
        for _ in range(passes - 1):
            for words, liked in learned:
                classify(model, words, liked)
        held = [classify(model, words) == liked for words, liked in held_out]
        print(f"{name:<14}{sum(first) / len(first):10.3f}{sum(held) / len(held):10.3f}")
    print("\njudged by the LSTM, held out:")
    for words, liked in held_out[:6]:
        prediction = "good" if classify_lstm(model, words) else "bad"  # model is the LSTM
        mark = "" if (prediction == "good") == liked else "  (wrong)"
        print(f"{prediction:<6}{shorten(' '.join(words), 80)}{mark}")


if __name__ == "__main__":
    main(film_reviews(sys.argv[2]) if "--full" in sys.argv else None)
