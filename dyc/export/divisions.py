"""Makes a traced program one that can be stored: sizes that are divided and rounded up."""

import math
import operator

from torch.export import ExportedProgram


def store_ceilings(program: ExportedProgram) -> None:
    """Replace ``math.ceil(a / b)`` of sizes by ``-(-a // b)``, in place.

    Networks that pad to "same" compute it; ``torch.export.save`` knows the second alone.
    """
    graph = program.graph
    for ceiling in [node for node in graph.nodes if node.target is math.ceil]:
        (quotient,) = ceiling.args
        if getattr(quotient, "target", None) is not operator.truediv:
            continue
        number, by = quotient.args
        with graph.inserting_before(ceiling):
            negative = graph.call_function(operator.neg, (number,))
            lowered = graph.call_function(operator.floordiv, (negative, by))
            raised = graph.call_function(operator.neg, (lowered,))
        size = getattr(number, "meta", {}).get("val", number)
        divisor = getattr(by, "meta", {}).get("val", by)
        negative.meta["val"], lowered.meta["val"] = -size, -size // divisor
        raised.meta["val"] = -(-size // divisor)
        ceiling.replace_all_uses_with(raised)
        graph.erase_node(ceiling)
        if not quotient.users:
            graph.erase_node(quotient)
    program.graph_module.recompile()
