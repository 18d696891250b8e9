"""Whether a candidate becomes the champion."""
