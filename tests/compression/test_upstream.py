"""Show that upstream still needs each workaround; a test that fails here means that one can go."""

import inspect
from pathlib import Path

import cpuinfo
import pytest
import torch
from neural_compressor import QuantizationAwareTrainingConfig
from neural_compressor.adaptor.pytorch import PyTorch_FXAdaptor
from neural_compressor.common.utils import utility as common_utility
from neural_compressor.utils import utility
from optimum.intel import INCModelForSequenceClassification, INCTrainer
from transformers import (
    AutoConfig,
    BertConfig,
    BertForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)
from transformers.models.bert.modeling_bert import BertAttention, BertSelfAttention

from pipeline.compression.upstream import CompressionTrainer, load_int8, traced_by_descendants

SHAPE = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
    "pad_token_id": 0,
}


def bert() -> PreTrainedModel:
    return BertForSequenceClassification(BertConfig(attn_implementation="eager", **SHAPE))


def trainer(kind: type, folder: Path, model: PreTrainedModel, quantize: bool = True) -> INCTrainer:
    """Make a trainer of one step over two texts."""
    rows = [
        {"input_ids": [2, 7, 9, 3], "attention_mask": [1] * 4, "labels": label} for label in (0, 1)
    ]
    arguments = TrainingArguments(
        output_dir=str(folder),
        do_train=True,
        use_cpu=True,
        report_to=[],
        max_steps=1,
        seed=7,
        disable_tqdm=True,
        save_strategy="no",
    )
    return kind(
        model=model,
        args=arguments,
        train_dataset=rows,
        quantization_config=QuantizationAwareTrainingConfig() if quantize else None,
        task="text-classification",
    )


def test_neural_compressor_asks_twice_which_cpu_it_has() -> None:
    for module in (utility, common_utility):
        assert "cpuinfo.get_cpu_info()" in inspect.getsource(module)
    assert cpuinfo.get_cpu_info() is cpuinfo.get_cpu_info(), "another process each, otherwise"


def test_inctrainers_own_loop_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match="current_gradient_accumulation_steps"):
        trainer(INCTrainer, tmp_path, bert(), quantize=False).train()
    assert CompressionTrainer._inner_training_loop is Trainer._inner_training_loop


def test_inctrainer_would_take_its_loss_for_a_sum_over_the_accumulated_batches(
    tmp_path: Path,
) -> None:
    model = ModernBertForSequenceClassification(ModernBertConfig(**SHAPE))
    assert trainer(INCTrainer, tmp_path, model, quantize=False).model_accepts_loss_kwargs
    ours = trainer(CompressionTrainer, tmp_path, model, quantize=False)
    assert not ours.model_accepts_loss_kwargs


def test_inctrainer_changes_the_seed(tmp_path: Path) -> None:
    trainer(INCTrainer, tmp_path, bert())
    assert torch.initial_seed() == 1978
    trainer(CompressionTrainer, tmp_path, bert())
    assert torch.initial_seed() == 7


def test_bf16_is_taken_in_training_although_it_is_excluded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_BF16", "1")  # Neural Compressor's switch
    theirs = trainer(INCTrainer, tmp_path, bert())
    assert theirs._compression_manager.adaptor.use_bf16
    ours = trainer(CompressionTrainer, tmp_path, bert())
    assert not ours._compression_manager.adaptor.use_bf16


def test_the_check_for_what_can_be_traced_does_not_look_into_modules() -> None:
    attention = bert().bert.encoder.layer[0].attention
    assert isinstance(attention, BertAttention)
    assert isinstance(attention.self, BertSelfAttention)
    assert PyTorch_FXAdaptor._check_dynamic_control(attention.self)
    assert not PyTorch_FXAdaptor._check_dynamic_control(attention)
    with traced_by_descendants():
        assert PyTorch_FXAdaptor._check_dynamic_control(attention)
    assert not PyTorch_FXAdaptor._check_dynamic_control(attention)


def test_optimum_intel_cannot_load_what_it_saved(tmp_path: Path) -> None:
    trained = trainer(CompressionTrainer, tmp_path, bert())
    trained.train()
    trained.save_model(str(tmp_path))
    assert not (tmp_path / "training_args.bin").exists()
    with pytest.raises(TypeError, match="no_init_weights"):
        INCModelForSequenceClassification.from_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).dtype == torch.int8
    ids = torch.tensor([[2, 7, 9, 3]])
    with torch.no_grad():
        expected = trained.model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        loaded = load_int8(tmp_path)(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    assert torch.equal(loaded, expected)
    (tmp_path / "pytorch_model.bin").write_bytes(b"garbage")
    with pytest.raises(ValueError, match="holds no weights that torch loads safely"):
        load_int8(tmp_path)
