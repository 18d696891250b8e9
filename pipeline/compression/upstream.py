"""Run INCTrainer on today's transformers: the workarounds for what it and its stack left behind.

optimum-intel 1.27.0 is the last release with INCTrainer, and neural-compressor 3.7.1 the last that
it imports; neither is maintained. Each workaround here names the version that forces it.
tests/compression/test_upstream.py shows each fault by itself, so that a test fails when one can go.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from neural_compressor.adaptor.pytorch import PyTorch_FXAdaptor
from neural_compressor.adaptor.torch_utils.util import get_embedding_contiguous
from neural_compressor.training import CallBacks
from neural_compressor.utils.pytorch import load
from optimum.intel import INCTrainer
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    set_seed,
)
from transformers.utils import WEIGHTS_NAME

TRAINING_ARGUMENTS = "training_args.bin"


class CompressionTrainer(INCTrainer):
    """Train with transformers' own loop, and compress with Neural Compressor's hooks.

    optimum-intel 1.27.0 carries a copy of the training loop of transformers 4.46, which fails on
    4.54 and later ('INCTrainer' object has no attribute 'current_gradient_accumulation_steps').

    Args:
        options: INCTrainer's arguments.
    """

    _inner_training_loop = Trainer._inner_training_loop
    _maybe_log_save_evaluate = Trainer._maybe_log_save_evaluate

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # INCTrainer's compute_loss (optimum-intel 1.27.0) returns the mean of a batch, which the
        # Trainer of transformers 4.46 and later would not divide by the accumulated batches.
        self.model_accepts_loss_kwargs = False
        # neural-compressor 3.7.1 sets torch's seed to 1978 while INCTrainer is made: data order and
        # dropout would not follow TrainingArguments.seed.
        set_seed(self.args.seed)
        adaptor = getattr(self._compression_manager, "adaptor", None)
        if adaptor is not None:
            # neural-compressor 3.7.1 heeds excluded_precisions in post-training quantization only;
            # in training, the ops left in FP32 would become BF16 on a CPU that has it.
            adaptor.use_bf16 = False

    def train(self, *args: Any, **options: Any) -> Any:
        """Train; Neural Compressor's hooks come after all other callbacks."""
        if self._compression_manager is not None:
            self.add_callback(_CompressionHooks(self._compression_manager.callbacks))
        return super().train(*args, **options)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write a model as INCTrainer does, without its pickle of TrainingArguments.

        Nothing reads that file (optimum-intel 1.27.0) back, and it names the machine that trained.
        """
        super().save_model(output_dir, _internal_call)
        (Path(output_dir or self.args.output_dir) / TRAINING_ARGUMENTS).unlink()


class _CompressionHooks(TrainerCallback):
    """Call Neural Compressor's hooks where INCTrainer's own loop (optimum-intel 1.27.0) does.

    Args:
        hooks: hooks of quantization, pruning and distillation.
    """

    def __init__(self, hooks: CallBacks) -> None:
        self._hooks = hooks

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        with traced_by_descendants():
            self._hooks.on_train_begin()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._hooks.on_epoch_begin(int(state.epoch))

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._hooks.on_step_begin(state.global_step)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._hooks.on_before_optimizer_step()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._hooks.on_after_optimizer_step()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._hooks.on_step_end()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._hooks.on_epoch_end()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._hooks.on_train_end()


@contextlib.contextmanager
def traced_by_descendants() -> Iterator[None]:
    """Let Neural Compressor trace what it can trace, while the block prepares a model.

    neural-compressor 3.7.1 leaves a module whose forward asks "is None" untraced, but does not look
    into the modules within. Since transformers 4.57 it would take BertAttention for traceable,
    whose trace then fails on the first batch: argument 'input' must be Tensor, not NoneType.
    """
    original = PyTorch_FXAdaptor._check_dynamic_control

    def check(module: torch.nn.Module) -> bool:
        return any(original(each) for each in module.modules())

    PyTorch_FXAdaptor._check_dynamic_control = staticmethod(check)
    try:
        yield
    finally:
        PyTorch_FXAdaptor._check_dynamic_control = staticmethod(original)


def load_int8(folder: Path) -> PreTrainedModel:
    """Load a model that INCTrainer or INCQuantizer saved.

    INCModelForSequenceClassification (optimum-intel 1.27.0) fails on transformers 4.51 and later:
    no_init_weights() got an unexpected keyword argument '_enable'. This does what it would do.

    Args:
        folder: directory with config.json and pytorch_model.bin, which is read with torch's
            restricted unpickler.

    Raises:
        OSError: a file is missing.
        RuntimeError, ValueError: a file does not hold such a model.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    config.dtype = torch.float32  # INCTrainer stores int8, which no model can be built in
    model = AutoModelForSequenceClassification.from_config(
        config, trust_remote_code=False, attn_implementation="eager"
    )
    try:
        state = torch.load(folder / WEIGHTS_NAME, map_location="cpu", weights_only=True)
    except (UnpicklingError, EOFError, RuntimeError) as error:  # RuntimeError: a zip that was cut
        raise ValueError(f"{WEIGHTS_NAME} holds no weights that torch loads safely") from error
    if "best_configure" not in state:
        raise ValueError(f"{WEIGHTS_NAME} holds no config of Neural Compressor")
    int8_model = load(state, model).eval()
    # neural-compressor 3.7.1 does this for the model that it converts, not for one that it loads:
    # RoBERTa's token types would be refused.
    get_embedding_contiguous(int8_model)
    return int8_model
