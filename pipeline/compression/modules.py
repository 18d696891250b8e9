"""Name the modules of a classifier that are quantized, in the float model and in the INT8 one."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from pipeline.config.schema import QUANTIZABLE_OP_TYPES
from pipeline.errors import PipelineError, nearest

# Neural Compressor 3.7 puts some modules into a wrapper, and knows them by this name alone.
_WRAPPED = ".module"


def quantizable_modules(
    model: nn.Module, op_types: Sequence[str] = QUANTIZABLE_OP_TYPES
) -> list[str]:
    """Name the modules of some op types, in the order of the model.

    Args:
        model: float classifier.
        op_types: names of module classes.
    """
    return [name for name, module in model.named_modules() if type(module).__name__ in op_types]


def matching_modules(model: nn.Module, patterns: Sequence[str]) -> tuple[str, ...]:
    """Find the quantizable modules that patterns match.

    Args:
        model: float classifier.
        patterns: name or shell pattern of a module, or of a module that it lies in.

    Raises:
        PipelineError: a pattern matches none.
    """
    names = quantizable_modules(model)
    matches: set[str] = set()
    for pattern in patterns:
        matched = {
            name
            for name in names
            if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
        }
        if not matched:
            raise PipelineError(
                f"qat.fp32_modules: {pattern} names no module that can be quantized; "
                f"{nearest(pattern, names)}"
            )
        matches |= matched
    return tuple(name for name in names if name in matches)


def possible_names(module: str) -> tuple[str, str]:
    """Return the names that Neural Compressor may know a module by: as it is, and wrapped."""
    return module, f"{module}{_WRAPPED}"


def names_in_int8_model(int8_model: nn.Module, names: Sequence[str]) -> Mapping[str, str]:
    """Map the float model's names of modules to the INT8 model's, for those that it has.

    Args:
        int8_model: converted classifier.
        names: names of modules in the float model.
    """
    modules = dict(int8_model.named_modules())
    return {
        name: next(
            candidate for candidate in reversed(possible_names(name)) if candidate in modules
        )
        for name in names
        if any(candidate in modules for candidate in possible_names(name))
    }


def int8_modules(model: nn.Module) -> frozenset[str]:
    """Name the modules of a converted model that hold INT8 weights, as in the float model.

    Args:
        model: converted classifier.
    """
    return frozenset(
        name.removesuffix(_WRAPPED)
        for name, module in model.named_modules()
        if "quantized" in type(module).__module__ and hasattr(module, "weight")
    )
