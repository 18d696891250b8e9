"""What a deployed model needs: no torch, no transformers, no pickle."""
