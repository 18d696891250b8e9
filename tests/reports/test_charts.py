import os
import time

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from pipeline.reports.charts import MAX_NAMED_CLASSES, confusion_chart


def chart_of(classes: int) -> plt.Figure:
    counts = np.random.default_rng(0).integers(0, 9, (classes, classes))
    names = [f"class {number}" for number in range(classes)]
    return confusion_chart(pd.DataFrame(counts, index=names, columns=names), "fp32")


def test_a_confusion_matrix_of_few_classes_has_names_and_counts() -> None:
    (axes, _) = chart_of(3).axes
    assert len(axes.texts) == 9
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        *("class 0", "class 1", "class 2")
    ]


def test_a_confusion_matrix_of_many_classes_stays_small() -> None:
    started = time.perf_counter()
    figure = chart_of(5 * MAX_NAMED_CLASSES)
    figure.savefig(os.devnull, format="png", dpi=120)
    assert time.perf_counter() - started < 5
    assert not figure.axes[0].texts
    assert max(figure.get_size_inches()) < 10
