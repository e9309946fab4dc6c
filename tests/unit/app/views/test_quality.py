"""Scores, counts and dead letters as the page Data draws them."""

from __future__ import annotations

from galenic.app.views.quality import dead, details, overview, score_html
from galenic.connect.tally import DeadLetter, Tally


def record(tag: str = "Oven.T") -> dict:
    tally = Tally()
    tally.note(tag, "mapped", 90)
    tally.note(tag, "rejected", 10, reason="is not a number", example="<b>x</b>", time=1)
    return {"plc": {"source": tally.to_dict(), "twins": {}}}


def test_a_score_has_a_word_beside_its_number():
    words = [score_html(value) for value in (None, 99.5, 95.0, 20.0)]

    assert [w.rpartition(">")[0].rpartition(">")[2].partition("<")[0] for w in words] == [
        "no data", "good", "fair", "poor",
    ]  # fmt: skip


def test_sources_tags_and_reasons_are_drawn_and_nothing_of_them_is_markup():
    drawn = overview(record()) + details(record("<i>tag</i>"))

    assert "90.0 %" in drawn
    assert "is not a number" in drawn
    assert "&lt;b&gt;x" in drawn
    assert "<i>tag" not in drawn
    assert "<b>x" not in drawn
    assert "Nothing has come" in overview({})


def test_dead_letters_show_how_they_begin():
    letters = [DeadLetter.of("plc", n, f"reason {n}\nmore", b"<script>\xff") for n in range(9)]

    drawn = dead(letters, 2)

    assert "Dead letters: 9, 2 more" in drawn
    assert "<script>" not in drawn
    assert "reason 8" in drawn
    assert "reason 3" not in drawn
    assert "No message" in dead([], 0)
