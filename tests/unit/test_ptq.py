"""The evaluator on the embedded demo: right at eight bits, independent of history, honest about its splits."""

import pytest
import torch

from quantloom import zoo
from quantloom.demo import load_demo
from quantloom.errors import DataError, QuantError
from quantloom.quant.ptq import PtqConfig, PtqEvaluator
from quantloom.quant.scheme import QuantScheme
from quantloom.quant.sensitivity import fisher_table
from quantloom.workload.from_torch import trace
from quantloom.workload.network import BitAssignment


@pytest.fixture(scope="module")
def demo():
    return load_demo()


@pytest.fixture(scope="module")
def traced(demo):
    return trace(demo.module, (1, 28, 28), name=demo.model)


@pytest.fixture(scope="module")
def evaluator(demo, traced):
    config = PtqConfig(validation_images=600, test_images=600)
    return PtqEvaluator(traced, demo.data, config=config, scheme=QuantScheme(bits=(2, 3, 4, 8)))


def assignments(network):
    generator = torch.Generator().manual_seed(0)
    layers, groups = len(network.layers), len(network.edge_groups)
    for _ in range(4):
        picks = torch.tensor([2, 3, 4, 8])[torch.randint(4, (layers + groups,), generator=generator)].tolist()
        yield BitAssignment(weights=tuple(picks[:layers]), groups=tuple(picks[layers:]))


def test_float_network_is_as_good_as_its_manifest_says(evaluator):
    assert evaluator.float_accuracy() > 0.88
    assert evaluator.float_accuracy_test() > 0.88
    assert evaluator.name == "ptq+bn"


def test_eight_bits_are_within_a_point_and_a_half_of_float(evaluator, traced):
    eight = BitAssignment.uniform(traced.network, 8)
    assert evaluator.accuracy(eight) == pytest.approx(evaluator.float_accuracy(), abs=0.015)
    assert evaluator.accuracy_test(eight) == pytest.approx(evaluator.float_accuracy_test(), abs=0.015)


def test_four_bits_beat_two(evaluator, traced):
    four, two = (evaluator.accuracy(BitAssignment.uniform(traced.network, bits)) for bits in (4, 2))
    assert 0.1 <= two < four - 0.02


def test_an_answer_depends_on_the_assignment_alone(evaluator, traced):
    candidates = list(assignments(traced.network))
    forwards = [evaluator.accuracy(candidate) for candidate in candidates]
    evaluator.accuracy_test(BitAssignment.uniform(traced.network, 2))
    evaluator.float_accuracy_test()
    backwards = [evaluator.accuracy(candidate) for candidate in reversed(candidates)]
    assert forwards == backwards[::-1]


def test_every_gene_of_the_demo_changes_the_logits(evaluator, demo, traced):
    images, _ = demo.data.validation.batch(slice(0, 16))
    network = traced.network
    base = BitAssignment.uniform(network, 8)

    def logits(assignment):
        evaluator.network.set_bits(assignment)
        with torch.inference_mode():
            return evaluator.network(images).clone()

    reference = logits(base)
    for index in range(len(network.layers)):
        weights = (*base.weights[:index], 2, *base.weights[index + 1 :])
        assert not torch.equal(logits(BitAssignment(weights=weights, groups=base.groups)), reference), index
    for index in range(len(network.edge_groups)):
        groups = (*base.groups[:index], 2, *base.groups[index + 1 :])
        assert not torch.equal(logits(BitAssignment(weights=base.weights, groups=groups)), reference), index


def test_search_never_touches_the_test_split(demo, traced):
    class Forbidden(torch.utils.data.Dataset):
        def __init__(self, inside):
            self.inside = inside
            self.seen = set()

        def __len__(self):
            return len(self.inside)

        def __getitem__(self, index):
            self.seen.add(index)
            return self.inside[index]

    data = demo.data
    test = Forbidden(data.test)
    splits = type(data)(
        name="demo",
        description="",
        classes=data.classes,
        train=data.train,
        validation=data.validation,
        test=test,
    )
    config = PtqConfig(calibration_images=32, statistics_images=32, validation_images=32, test_images=32)
    evaluator = PtqEvaluator(traced, splits, config=config, scheme=QuantScheme(bits=(8,)))
    evaluator.accuracy(BitAssignment.uniform(traced.network, 8))
    evaluator.float_accuracy()
    assert test.seen <= {0}  # the shape of the first image is checked before the search starts
    evaluator.accuracy_test(BitAssignment.uniform(traced.network, 8))
    assert len(test.seen) == 32


def test_fisher_table_of_the_demo_falls_with_every_bit(evaluator, demo):
    table = fisher_table(evaluator.network, *demo.data.train.batch(slice(0, 32)))
    assert (table.weights[:, 0] > table.weights[:, -1]).all()
    assert (table.groups[:, 0] > table.groups[:, -1]).all()


def test_data_and_network_must_fit(demo):
    for options, text in (
        ({"classes": 7, "channels": 1}, "demo has 10 classes; small has 7 outputs"),
        ({"classes": 10, "channels": 3}, r"train images have shape \(1, 28, 28\); small reads \(3, 28, 28\)"),
    ):
        spec = zoo.ModelSpec(name="mobilenet_v1", options={"width": 0.1, "input": 28, **options})
        traced = trace(zoo.build(spec.name, **spec.options), spec.input_shape, name="small")
        with pytest.raises(DataError, match=text):
            PtqEvaluator(traced, demo.data)


def test_impossible_requests_are_refused(evaluator, traced):
    with pytest.raises(QuantError, match="cannot quantize to 5 bits"):
        evaluator.accuracy(BitAssignment.uniform(traced.network, 5))
    with pytest.raises(DataError, match="batch is 0; expected at least 1"):
        PtqConfig(batch=0)
