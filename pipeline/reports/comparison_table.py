"""A comparison on the terminal."""

from math import isnan

from rich.console import Console
from rich.text import Text

from pipeline.comparison.comparison import FIGURES, Comparison
from pipeline.console.tables import rich_table

PIPED_WIDTH = 160  # columns, where no terminal says how many it has
SPARE = (
    "training_s",
    "loss",
    "f1_macro",
    "size_mb",
    "dataset",
)  # given up first where there is little room
DECIMALS = {"size_mb": 1, "latency_p50_ms": 2, "speedup": 1, "training_s": 0}
HEADINGS = {
    "pareto": " ",
    "accuracy_drop": "drop",
    "f1_macro": "macro F1",
    "size_mb": "MB",
    "latency_p50_ms": "p50 (ms)",
    "training_s": "train (s)",
    "learning_rate": "lr",
}


def show(comparison: Comparison, title: str) -> None:
    """Print a comparison; on a narrow terminal without the columns that matter least.

    Args:
        comparison: what to show.
        title: above the table.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_WIDTH)
    frame = comparison.table().drop(columns="run_id")
    names = ("model", "dataset", "recipe")
    constant = [name for name in names if frame[name].nunique() == 1]
    told_by_columns = comparison.varying or len(constant) < len(names)
    frame = frame.drop(columns=[*constant, "run"] if told_by_columns else constant)
    title += "".join(f", {name} {getattr(comparison.rows[0], name)}" for name in constant)
    if (frame["status"] == "FINISHED").all():
        frame = frame.drop(columns="status")
    spare = [name for name in SPARE if name in frame.columns and name not in comparison.objectives]
    while (
        console.measure(table := rich_table(frame, title, cell, heading)).maximum > console.width
        and spare
    ):
        frame = frame.drop(columns=spare.pop(0))
    console.print(table)
    console.print(Text(f"* Pareto-optimal in {' and '.join(comparison.objectives)}"))
    for line in comparison.lines:
        console.print(Text(line), soft_wrap=True)


def heading(name: str) -> str:
    """Name a column shortly: trainer.learning_rate is lr, onnx_int8/size_mb is onnx_int8/MB."""
    variant, slash, figure = name.removeprefix("trainer.").rpartition("/")
    return f"{variant}{slash}{HEADINGS.get(figure, figure)}"


def cell(name: str, value: object) -> str:
    """Write a value with as many decimals as its column tells apart."""
    if not isinstance(value, float):
        return str(value)
    if isnan(value):
        return ""
    figure = name.rpartition("/")[2]
    return f"{value:.{DECIMALS.get(figure, 4)}f}" if figure in FIGURES else f"{value:.4g}"
