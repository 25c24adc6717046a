"""The formats ``pt2`` and ``aoti``: programs of PyTorch, to be interpreted or compiled."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from dyc.dynamic_model import set_mixing
from dyc.export.formats import Format, Request, register_format
from dyc.export.programs import SUFFIX, save_aoti, save_pt2


def _save(save: Callable[..., Any], doing: str, request: Request) -> str:
    request.progress(doing)
    network = request.network
    if request.form != "auto":
        network = copy.deepcopy(network)
        set_mixing(network, request.form)
    return f"{request.path}: {save(network, Path(request.path), image=request.input_size)}"


register_format("pt2", Format(partial(_save, save_pt2, "write the program"), SUFFIX, "a program of torch.export"))
register_format(
    "aoti", Format(partial(_save, save_aoti, "compile the program"), SUFFIX, "a library that AOTInductor compiled")
)
