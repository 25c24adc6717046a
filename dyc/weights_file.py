"""Where the weights are in a folder as :func:`dyc.export.weights.save_weights` and the Hugging Face Hub have it."""

from pathlib import Path

WEIGHTS = "model.safetensors"


def weights_file(path: str | Path) -> Path:
    """Return the file of weights that is meant by a file, or by a folder that holds it."""
    path = Path(path)
    return path / WEIGHTS if path.is_dir() else path
