"""The format ``pt2``: a program of PyTorch's own operators."""

import copy

from dyc.dynamic_model import set_mixing
from dyc.export.formats import Format, Request, register_format
from dyc.export.programs import SUFFIX, save_pt2


def _save(request: Request) -> str:
    request.progress("write the program")
    network = request.network
    if request.form != "auto":
        network = copy.deepcopy(network)
        set_mixing(network, request.form)
    written = save_pt2(network, request.path, image=request.input_size, preparation=request.preparation)
    return f"{request.path}: {written}"


register_format("pt2", Format(_save, SUFFIX, "a program of torch.export"))
