"""What to do where ``torchrun --max-restarts`` starts killed processes again, and they do not find each other."""

import os
import sys

VARIABLE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"


def note_restart() -> None:
    """Say on stderr what helps, if torchrun has started this process again in a way that often fails.

    By default torchrun keeps one store for all its attempts, in which the processes of the next one find the addresses
    of those that are dead.
    """
    again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    if again and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and os.environ.get("RANK") == "0":
        text = f"note: torchrun started this again; if its processes do not find each other, set {VARIABLE}=1 for it"
        print(text, file=sys.stderr, flush=True)
