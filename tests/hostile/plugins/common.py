"""What the misbehaving plugins share: a method that trains the last block, and no harm in it."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from bench.contract import Adapted, Config, Method, ParameterGroup, Traits


def head(model: nn.Module, config: Config | None = None, **more: Any) -> Adapted:
    parameters = tuple(model.get_submodule("deconv6").parameters())
    group = ParameterGroup(name="head", parameters=parameters)
    return Adapted(model=model, groups=(group,), **more)


def calling(act: Callable[[nn.Module], object], **more: Any) -> Callable[..., Adapted]:
    """An `adapt` whose network calls `act` in each forward pass; arguments are for `head`."""

    def adapt(model: nn.Module, config: Config) -> Adapted:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            act(module)

        model.register_forward_pre_hook(hook)
        return head(model, **more)

    return adapt


def make(module: str, adapt: Callable[..., Any] = head, **traits: Any) -> Method:
    """A method that is called like its file."""
    return Method(
        name=module.rpartition(".")[2],
        summary="Misbehaves.",
        source="The tests",
        traits=Traits(category="selective", batchnorm="affine", **traits),
        adapt=adapt,
    )
