"""The model card of a folder of weights: ``README.md`` with the front matter that the Hugging Face Hub reads."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_LICENSES = (
    "afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear "
    "bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 "
    "cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 "
    "cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 "
    "eupl-1.1 eupl-1.2 gfdl gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr lppl-1.3c mit mpl-2.0 ms-pl ncsa "
    "odbl odc-by ofl-1.1 openrail openrail++ osl-3.0 pddl postgresql unknown unlicense wtfpl zlib"
)
"""The licences that the Hub knows by a name of its own; any other is named in words."""

CLASSIFICATION, SEGMENTATION = "image-classification", "image-segmentation"
"""What the Hub calls the tasks."""

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


@dataclass(frozen=True)
class ModelCard:
    """What a model card says beside what the network itself shows; whatever is left out is said to be unknown.

    Args:
        title: Name of the model; by default that of its architecture.
        license: A licence that the Hub knows, such as ``mit``, or any other in words.
        dataset: The data that it was trained on, in words.
        hub_dataset: Name of that data on the Hub, such as ``uoft-cs/cifar10``.
        recipe: Settings of the training, by name.
        metrics: Results, by name, such as ``{"test/top1": 0.93}``: shares from 0 to 1, or losses.
        tags: Further tags.
        description: A paragraph of your own.
    """

    title: str = ""
    license: str = ""
    dataset: str = ""
    hub_dataset: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    description: str = ""


def card_text(
    card: ModelCard,
    facts: Mapping[str, str],
    *,
    imports_dyc: bool,
    tags: tuple[str, ...] = (),
    task: str = CLASSIFICATION,
) -> str:
    """Return the text of ``README.md``.

    Args:
        card: What the user says.
        facts: What the network shows, such as its number of parameters, by name; the first is its architecture.
        imports_dyc: Whether ``import dyc`` must come before the network can be created.
        tags: What the network is.
        task: :data:`CLASSIFICATION` or :data:`SEGMENTATION`.
    """
    title = card.title or next(iter(facts.values()))
    imports = "import dyc  # registers the network with timm\n" if imports_dyc else ""
    sections = [
        f"# {title}",
        card.description,
        "## Use",
        f'```python\n{imports}import timm\n\nmodel = timm.create_model("hf-hub:OWNER/NAME", pretrained=True).eval()\n'
        '```\n\nFrom a folder on disk: `"local-dir:FOLDER"`. `timm.data.resolve_model_data_config(model)` says how its '
        "images are prepared." + _where_dyc_is(imports_dyc),
        "## Network",
        _table(facts),
        "## Data",
        card.dataset or card.hub_dataset or "Not stated.",
        "## Training",
        _table(card.recipe) if card.recipe else "Not stated.",
        "## Results",
        _table(card.metrics) if card.metrics else "Not stated.",
        "## Licence",
        card.license or "Not stated.",
    ]
    return f"---\n{_front_matter(card, title, tags, task)}\n---\n\n" + "\n\n".join(filter(None, sections)) + "\n"


def _where_dyc_is(needed: bool) -> str:
    return "\n\nThe network needs the package `dyc`: dynamic convolution for PyTorch." if needed else ""


def _table(rows: Mapping[str, Any]) -> str:
    def shown(value: Any) -> str:
        return (f"{value:.4g}" if isinstance(value, float) else str(value)).replace("|", "\\|").replace("\n", " ")

    return "\n".join(["| | |", "|---|---|", *(f"| {shown(name)} | {shown(value)} |" for name, value in rows.items())])


def _metric(name: str) -> str | None:
    """Return what the Hub calls a result; None for losses and figures of single classes."""
    if "iou/" in name:  # test/iou/CLASS, whatever the class is called
        return None
    return "mean_iou" if "miou" in name else "accuracy" if "top" in name or "acc" in name else None


def _front_matter(card: ModelCard, title: str, tags: tuple[str, ...], task: str) -> str:
    from huggingface_hub import EvalResult, ModelCardData  # timm needs it, too

    known = card.license.lower() in _LICENSES.split()
    data = card.hub_dataset or card.dataset
    shares = {name: (kind, value) for name, value in card.metrics.items() if (kind := _metric(name))}
    results = [
        EvalResult(
            task_type=task,
            dataset_type=card.hub_dataset or "other",
            dataset_name=data,
            metric_type=kind,
            metric_name=name,
            metric_value=value,
        )
        for name, (kind, value) in shares.items()
    ]
    return ModelCardData(
        license=(card.license.lower() if known else "other") if card.license else None,
        license_name=None if known or not card.license else _slug(card.license),
        library_name="timm",
        pipeline_tag=task,
        tags=list(dict.fromkeys((task, "timm", *tags, *card.tags))),
        datasets=[card.hub_dataset] if _HUB_ID.fullmatch(card.hub_dataset) else None,
        metrics=list(dict.fromkeys(kind for kind, _ in shares.values())) or None,
        eval_results=results if results and data else None,
        model_name=title,
    ).to_yaml()


def _slug(text: str) -> str:
    """Return words as the Hub takes the name of a licence: lower case, digits, points and hyphens."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-") or "other"
