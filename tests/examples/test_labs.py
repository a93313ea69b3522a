"""The labs run at small sizes, print their results and learn something."""

import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def lab(capsys):
    """Run an example and return what it printed; keyword arguments change its size."""

    def run(name, **size):
        names = runpy.run_path(str(EXAMPLES / f"{name}.py"))
        names["main"](**size)
        return capsys.readouterr().out

    return run


def numbers(line):
    return [float(number) for number in re.findall(r"\d+\.\d+", line)]


def row(shown, name):
    (line,) = [line for line in shown.splitlines() if line.strip().startswith(name)]
    return numbers(line)


def test_text_generator_learns_to_spell(lab):
    shown = lab("text_generator", size=40_000)
    lstm, ngram = row(shown, "all")
    assert lstm < 3.2, "character frequencies alone need 4.6 bits"
    assert ngram < 2.6, "the baseline must stay strong"
    written = shown.partition("written by the LSTM:\n")[2]
    assert len(written) > 400
    assert len(set(written) - set("etaoinshr_ \n")) > 5


def test_an_n_gram_model_predicts_repeated_text(lab):
    names = runpy.run_path(str(EXAMPLES / "text_generator.py"))
    bits = names["ngram_bits"]("abc" * 100, alphabet=3)
    assert bits[0] == pytest.approx(1.585, abs=1e-3), "one of three"
    assert bits[-1] < 0.05


def test_stock_prices_stay_near_the_last_value_within_calibrated_intervals(lab):
    shown = lab("stock_price")
    for market in ("oil", "AAPL", "XOM"):
        *_, ratio, held = row(shown, market)
        assert 0.97 < ratio < 1.02, "a better model has seen the future"
        assert 87 < held < 93


def test_sentiment_beats_guessing(lab):
    shown = lab("sentiment")
    assert "2,388 reviews learned from, 596 held out, " in shown
    _, bag = row(shown, "bag of words")
    _, lstm = row(shown, "LSTM")
    assert lstm > 0.64, "three in five are good"
    assert bag > 0.75, "the baseline must stay strong"


def test_translator_beats_the_translation_memory(lab):
    shown = lab("translator")
    (memory,) = row(shown, "translation memory")
    (lstm,) = row(shown, "LSTM")
    assert memory > 30, "the baseline must stay strong"
    assert lstm > 70
    assert " ->  " in shown


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(SystemExit, match=r"pip install 'streamlstm\[examples\]'"):
        runpy.run_path(str(EXAMPLES / "translator.py"))
