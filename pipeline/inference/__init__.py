"""Run a deployed model without torch, transformers or a pickle."""
