"""A trial's share of a GPU's memory."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, Optional

from hpo._environment import whole


#: Of a trial's memory, what the CUDA context and libraries take: no framework's allocator counts it.
CONTEXT_MIB = 512


def limit_gpu_memory() -> Optional[float]:
    """Keeps this process to the GPU memory that `hpo` gave the trial (HPO_GPU_MEMORY_MIB).

    PyTorch is limited when it is imported already and sees a GPU
    (``torch.cuda.set_per_process_memory_fraction``); JAX and TensorFlow by variables of the
    environment, which they read when they start: call it before importing them.

    Returns:
        The fraction of the GPU's memory that its allocator may take; None when there is no limit or no GPU: nothing has happened.
    """
    share = whole("HPO_GPU_MEMORY_MIB")
    if share is None or share <= 0:
        return None
    share = max(share - CONTEXT_MIB, share // 2)
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory / 2**20
        fraction = min(1.0, share / total)
        torch.cuda.set_per_process_memory_fraction(fraction)
    else:
        found = _total_mib()
        if found is None:
            return None
        fraction = min(1.0, share / found)
    # The newer of the two names beside the older one is an error to JAX.
    if "XLA_CLIENT_MEM_FRACTION" not in os.environ:
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{fraction:.4f}")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    return float(fraction)


def _total_mib() -> Optional[float]:
    """Memory of the first GPU that this process may see, in MiB, from the driver's own tool."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible:
        command.append(f"--id={visible.split(',')[0]}")
    elif visible == "":
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return float(done.stdout.splitlines()[0])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
