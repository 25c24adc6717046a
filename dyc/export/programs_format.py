"""The formats ``pt2`` and ``aoti``: a program of PyTorch's own operators, and one that is compiled."""

import copy
from collections.abc import Callable
from functools import partial

from dyc.dynamic_model import set_mixing
from dyc.export.compiled_programs import save_aoti
from dyc.export.formats import Format, Request, register_format
from dyc.export.programs import SUFFIX, Program, save_pt2


def _save(save: Callable[..., Program], step: str, request: Request) -> str:
    request.progress(step)
    network = request.network
    if request.form != "auto":
        network = copy.deepcopy(network)
        set_mixing(network, request.form)
    written = save(network, request.path, image=request.input_size, preparation=request.preparation)
    return f"{request.path}: {written}"


PT2 = partial(_save, save_pt2, "write the program")
AOTI = partial(_save, save_aoti, "compile the program, which takes minutes")

register_format("pt2", Format(PT2, SUFFIX, "a program of torch.export"))
register_format("aoti", Format(AOTI, SUFFIX, "a program that AOTInductor compiled"))
