"""What computes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from timed_parts import Result

from gpu_parts.setting import GIB, Setting, measured, seconds


@measured
def facts(setting: Setting, _: float) -> Iterator[Result]:
    """Tell what computes, and make it ready: the first call of each library takes seconds."""
    some = torch.eye(64, device=setting.device)
    ready = seconds(setting, lambda: torch.linalg.cholesky(some @ some) @ some)
    yield {"torch": torch.__version__, "seconds_to_be_ready": round(ready, 2)}
    if setting.on_gpu:
        card = torch.cuda.get_device_properties(setting.device)
        yield {
            "name": card.name,
            "memory_gb": round(card.total_memory / GIB, 1),
            "compute_capability": f"{card.major}.{card.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "tf32_in_convolutions": torch.backends.cudnn.allow_tf32,
            "tf32_in_products": torch.backends.cuda.matmul.allow_tf32,
        }
