"""The written-out passes are those of autograd, and the exported actor is the trained one."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from regimen.agents.rlpd.networks import NORM_EPS, Pass, Perceptron, Weights, squashed_sample
from regimen.agents.rlpd.policy import MeanAction

CPU = torch.device("cpu")


def by_autograd(shape: Perceptron, values: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """The output (E, B, out) by PyTorch's own layers."""
    layers, x = shape.layers(values), inputs.expand(len(values), *inputs.shape)
    for layer in layers[:-1]:
        x = functional.layer_norm(torch.baddbmm(layer.bias, x, layer.weight), (layer.bias.shape[-1],), eps=NORM_EPS)
        x = functional.relu(x * layer.gain + layer.shift)
    return torch.baddbmm(layers[-1].bias, x, layers[-1].weight)


@pytest.mark.parametrize(("members", "hidden", "outputs"), [(1, (8,), 6), (3, (16, 8), 1), (4, (8, 8, 8), 2)])
def test_output_and_gradients_are_those_of_autograd(members, hidden, outputs):
    torch.manual_seed(0)
    shape = Perceptron(5, hidden, outputs)
    values = shape.initial(members, CPU) + 0.1 * torch.randn(members, shape.num_weights)
    weights, run = Weights(shape, values.clone()), Pass(shape, members, 32, CPU)
    inputs, slope = torch.randn(32, 5), torch.randn(members, 32, outputs)
    free, x = values.clone().requires_grad_(), inputs.clone().requires_grad_()
    wanted = by_autograd(shape, free, x)
    wanted.backward(slope)
    for _ in range(2):  # the second pass finds buffers and gradients of the first
        output = run.forward(weights.layers, inputs)
        assert torch.allclose(output, wanted, atol=1e-5)
        run.backward(weights.layers, slope, weights.gradients)
        assert torch.allclose(weights.values.grad, free.grad, atol=1e-4)
    run.forward(weights.layers, inputs)
    grad = run.input_gradient(weights.layers, run.backward(weights.layers, slope, None), 2)
    assert torch.allclose(grad, x.grad[:, 2:], atol=1e-4)


def test_a_subset_of_members_is_computed_alone():
    shape = Perceptron(4, (8, 8), 1)
    values, inputs = shape.initial(5, CPU), torch.randn(16, 4)
    whole = Pass(shape, 5, 16, CPU).forward(shape.layers(values), inputs)
    part = Pass(shape, 2, 16, CPU).forward(shape.layers(values[torch.tensor([3, 1])]), inputs)
    assert torch.allclose(part, whole[[3, 1]], atol=1e-6)


def test_the_module_of_an_actor_returns_its_mean_action():
    shape = Perceptron(6, (8, 8), 2 * 3)
    values = shape.initial(1, CPU) + 0.1 * torch.randn(1, shape.num_weights)
    inputs = torch.randn(10, 6)
    output = Pass(shape, 1, 10, CPU).forward(shape.layers(values), inputs)[0]
    action = MeanAction(shape, values, 3)(inputs[:, :2], inputs[:, 2:])
    assert torch.allclose(action, torch.tanh(output[:, :3]), atol=1e-6)


def test_the_log_density_is_that_of_the_squashed_gaussian():
    torch.manual_seed(0)
    output = torch.cat((torch.randn(2000, 3), 0.3 * torch.randn(2000, 3)), dim=1)
    action, log_prob = squashed_sample(output.double())
    gauss = torch.distributions.Normal(output[:, :3].double(), output[:, 3:].double().exp())
    squashed = torch.distributions.TransformedDistribution(gauss, torch.distributions.TanhTransform())
    assert torch.allclose(log_prob, squashed.log_prob(action).sum(-1), atol=1e-6)
    assert action.abs().max() <= 1.0
