"""What a backend is: data that says which operators it has, what each can run, and what must be made ready first."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ops.dispatch.operators import OPERATORS, with_parts
from ops.dispatch.problem import Problem
from ops.errors import ArgumentError, BackendUnavailable, unknown_name


class Preparation:
    """Work that is done once, before the first run, such as compiling.

    Several implementations may share one; it is done for all of them at once.

    Args:
        action: Does it; raises :class:`ops.BackendUnavailable` if it fails.
    """

    def __init__(self, action: Callable[[], None]) -> None:
        self.action = action
        self.done = False
        self.failure: str | None = None
        self._lock = threading.Lock()

    def make(self, again: bool = False) -> bool:
        """Do the work unless it was tried, or failed and ``again`` is False; return whether it was tried and failed."""
        with self._lock:
            if self.done or (self.failure is not None and not again):
                return False
            try:
                self.action()
            except BackendUnavailable as error:
                self.failure = str(error)
                return True
            self.done, self.failure = True, None
            return False


def _meets_all(problem: Problem) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Implementation:
    """How a backend runs one operator.

    Args:
        run: Called with checked arguments, see :data:`ops.dispatch.operators.OPERATORS`; differentiable.
        unmet: Returns the reasons why it cannot run a :class:`ops.Problem`, each as "got ..., need ..."; empty if it
            can. They must follow from the problem alone: the answer is kept for equal problems, and asked while
            tracing, so that the machine cannot be probed.
        prepare: Work before the first run: a function that raises :class:`ops.BackendUnavailable` if it fails, or a
            :class:`ops.Preparation` that several operators share.
    """

    run: Callable[..., Tensor]
    unmet: Callable[[Problem], tuple[str, ...]] = _meets_all
    prepare: Preparation | Callable[[], None] | None = None

    def __post_init__(self) -> None:
        if callable(self.prepare):
            object.__setattr__(self, "prepare", Preparation(self.prepare))

    @property
    def failure(self) -> tuple[str, ...]:
        """Why the preparation failed; empty if it did not, or was not tried yet."""
        failed = None if self.prepare is None else self.prepare.failure
        return () if failed is None else (failed,)


@dataclass(frozen=True)
class Backend:
    """Implementations of some or all operators.

    Args:
        name: What users pass as ``backend=``.
        operators: Its implementations by the names of :data:`ops.dispatch.operators.OPERATORS`. Where the whole of a
            layer is missing but its part is there, the part runs and PyTorch does the rest.
        summary: One line for listings.
        missing: The reasons why it cannot run anything on this machine, probed once before registration, with
            the install command where one helps.
        build: Compiles ahead of the first use all that is compiled then; None where nothing is.

    Raises:
        ArgumentError: No operators, an unknown one, or one that is no :class:`Implementation`.

    Example:
        >>> from ops import depthwise_conv2d
        >>> def run(x, weight, window):
        ...     return depthwise_conv2d(x, weight, **window._asdict(), backend="eager")
        >>> Backend("mine", {"depthwise_conv2d": Implementation(run)}).has("attended_depthwise")
        True
    """

    name: str
    operators: Mapping[str, Implementation] = field(hash=False)
    summary: str = ""
    missing: tuple[str, ...] = ()
    build: Callable[[], object] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.operators, Mapping) or not self.operators:
            raise ArgumentError("operators", repr(self.operators), "implementations by operator, at least one")
        for name, implementation in self.operators.items():
            if name not in OPERATORS:
                raise unknown_name("operators", name, OPERATORS)
            if not isinstance(implementation, Implementation):
                raise ArgumentError(f"operators[{name!r}]", repr(implementation), "an ops.Implementation")
        object.__setattr__(self, "operators", dict(self.operators))

    def has(self, operator: str) -> bool:
        """Tell whether it has an operator, or the part that may stand for it."""
        return any(name in self.operators for name in with_parts(operator))

    def lacking(self, operator: str) -> tuple[str, ...]:
        """Return why this backend cannot run an operator on this machine, whatever the call; empty if it can."""
        found = [self.operators[name].failure for name in with_parts(operator) if name in self.operators]
        return self.missing or min(found, key=len, default=())

    def stage(self, problem: Problem) -> tuple[str, tuple[str, ...]]:
        """Return what of ``problem`` this backend runs, and the reasons why it cannot; no reasons if it can.

        The first is the operator itself or the part that stands for it (``Operator.part``).
        """
        found, reasons = "", self.missing
        for name in with_parts(problem.operator):
            implementation = self.operators.get(name)
            if implementation is None:
                continue
            found = name
            reasons = self.missing or implementation.failure or tuple(implementation.unmet(problem))
            if not reasons:
                break
        return found, reasons
