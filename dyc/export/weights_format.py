"""The format ``weights``: a folder that timm and the Hugging Face Hub read."""

from dyc.export.formats import Format, Request, register_format
from dyc.export.weights import save_weights
from ops import ArgumentError


def _save(request: Request) -> str:
    if request.form != "auto":
        raise ArgumentError("--form", sentence="has no meaning for weights, which no form of the layers changes")
    request.progress("write the folder, and read it again")
    difference = save_weights(request.network, request.path, preparation=request.preparation, card=request.card)
    return (
        f'{request.path}: import dyc; timm.create_model("local-dir:{request.path}", pretrained=True); '
        f"outputs differ by {difference:.1e} of the largest"
    )


register_format("weights", Format(_save, "", "a folder that timm and the Hugging Face Hub read"))
