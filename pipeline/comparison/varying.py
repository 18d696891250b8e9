"""Say which parameters tell runs apart, beside model, dataset and recipe."""

from collections.abc import Sequence

from pipeline.comparison.differences import IDENTITY, RECIPE_GROUPS, SET_BY_GROUP, has_group
from pipeline.comparison.rows import Row
from pipeline.config.identity import GROUPS_WITHOUT_EFFECT, TRAINER_KEYS_WITHOUT_EFFECT

# The groups of parameters that each part of a run's identity stands for.
PARAMETER_GROUPS = dict(
    zip(IDENTITY, (("model.",), ("dataset.",), ("qat.", *RECIPE_GROUPS)), strict=True)
)
# Parameters that change no figure, so that they tell no runs apart.
WITHOUT_EFFECT = (
    *(f"trainer.{key}" for key in TRAINER_KEYS_WITHOUT_EFFECT),
    *GROUPS_WITHOUT_EFFECT,
    "benchmark.repetitions",
    "benchmark.seconds",
    "export.max_accuracy_loss",  # which run is refused, but not what it makes
)
# What a teacher or pruning is told apart by, where its options go together with it.
TELLING = ("distillation.teacher", "pruning.pruning_type")


def varying_parameters(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the parameters that differ between runs and do not follow from their identity.

    Args:
        rows: runs on one corpus.
    """
    keys = sorted({key for row in rows for key in row.params if not key.startswith(WITHOUT_EFFECT)})
    differing = [key for key in keys if len({row.params.get(key, "") for row in rows}) > 1]
    telling = [key for key in differing if not _follows_from_identity(key, rows)]
    return tuple(key for key in telling if not _goes_with_another(key, telling, rows))


def _goes_with_another(key: str, keys: Sequence[str], rows: Sequence[Row]) -> bool:
    """Say whether an option of a teacher or of pruning tells the runs apart as another one does."""
    group = key.partition(".")[0]
    if group not in RECIPE_GROUPS:
        return False
    rivals = [other for other in keys if other.partition(".")[0] == group]
    for other in sorted(rivals, key=lambda each: each not in TELLING):
        if other == key:
            return False
        pairs = {(row.params.get(key, ""), row.params.get(other, "")) for row in rows}
        if len(pairs) == len({first for first, _ in pairs}) == len({second for _, second in pairs}):
            return True
    return False


def _follows_from_identity(key: str, rows: Sequence[Row]) -> bool:
    """Say whether a parameter is the same in all runs of its model, dataset or recipe.

    What a group of the recipe sets by itself is told by the recipe's name; runs without the group
    may still differ in it.
    """
    for group, keys in SET_BY_GROUP.items():
        if key in keys:
            others = [row for row in rows if not has_group(row.recipe, group)]
            return len({row.params.get(key, "") for row in others}) < 2
    for part, groups_of_part in PARAMETER_GROUPS.items():
        if key.startswith(groups_of_part):
            pairs = {(row.identity[part], row.params.get(key, "")) for row in rows}
            return len(pairs) == len({name for name, _ in pairs})
    return False
