"""ChannelRewiring: what a change means for momentum, the moving average and a compiled network."""

import copy

import pytest
import torch
from support.selective_training import GAMMA, History, channels, fit

import dyc
from lightning_modules import ChannelRewiring, ImageClassifier


class Watch(ChannelRewiring):
    """Keep momentum and outputs around the last change."""

    def _rewire(self, trainer, pl_module):
        net, optimizer = pl_module.net, trainer.optimizers[0]

        def momentum():
            return {n: optimizer.state[p]["momentum_buffer"].clone() for n, p in net.named_parameters()}

        self.before = momentum()
        found = super()._rewire(trainer, pl_module)
        self.after, self.slots = momentum(), {name: layer.slots for name, layer in dyc.iter_selective(net)}
        self.averages = {name: value.clone() for name, value in self.average(pl_module).items()}
        return found

    @staticmethod
    def average(pl_module):
        return {} if pl_module.ema is None else pl_module.ema.module.state_dict()


@pytest.mark.parametrize("reset", [True, False])
def test_momentum_of_re_used_channels(reset):
    watch = Watch(gamma=GAMMA, reset_momentum=reset)
    fit(watch, epochs=2)
    assert len(watch.slots["a"]) > 0
    for name, after in watch.after.items():
        layer, _, parameter = name.partition(".")
        expected = watch.before[name].clone()
        if reset and layer in ("a", "c"):
            expected.index_fill_(1 if parameter == "conv.weight" else 0, watch.slots[layer], 0)
            # The shifts had no momentum yet.
            assert parameter == "shift" or not torch.equal(expected, watch.before[name])
        assert torch.equal(after, expected), name


def test_moving_average_changes_alike():
    classifier = ImageClassifier("tiny_selective", ema_decay=0.9)
    watch = Watch(gamma=GAMMA)
    fit(watch, classifier=classifier)
    average = classifier.ema.module
    assert channels(average) == channels(classifier.net)
    for (_, own), (_, averaged) in zip(dyc.iter_selective(classifier.net), dyc.iter_selective(average)):
        assert torch.equal(own.slots, averaged.slots)
        assert torch.equal(own.sources, averaged.sources)
        assert own.conv.has_closed == averaged.conv.has_closed
    # Just after the change new copies have the new shift and no weight, in the average too.
    slots = watch.slots["a"]
    assert not watch.averages["a.conv.weight"][:, slots].any()
    assert watch.averages["a.shift"][slots].all()
    assert not torch.equal(average.a.conv.weight, classifier.net.a.conv.weight)


def test_moving_average_starts_at_the_shifts_that_were_drawn():
    class Spy(Watch):
        def _rewire(self, trainer, pl_module):
            found = super()._rewire(trainer, pl_module)
            self.shifts = [layer.shift[layer.slots].clone() for layer in (pl_module.net.a, pl_module.ema.module.a)]
            return found

    spy = Spy(gamma=GAMMA)
    fit(spy, classifier=ImageClassifier("tiny_selective", ema_decay=0.9), epochs=2)
    assert len(spy.shifts[0]) > 0
    assert torch.equal(*spy.shifts)


def test_closed_channels_act_neither_in_training_nor_in_evaluation():
    classifier, _ = fit(ChannelRewiring("compression", gamma=GAMMA))
    net, x = classifier.net, torch.randn(8, 1, 8, 8)
    outputs = {}
    for spoilt in (False, True):
        for _, layer in dyc.iter_selective(net):
            assert not layer.mask.all()
            if spoilt:
                layer.conv.weight.data[:, ~layer.mask] = float("nan")
        for mode in (True, False):
            outputs[spoilt, mode] = copy.deepcopy(net).train(mode)(x)
    for mode in (True, False):
        assert torch.equal(outputs[False, mode], outputs[True, mode])


def test_compiled_network_stays_compiled():
    """Sizes that change with every epoch do not add up to the number of recompilations that PyTorch allows."""
    counters = torch._dynamo.utils.counters

    class Graphs(History):
        def on_train_epoch_end(self, trainer, pl_module):
            super().on_train_epoch_end(trainer, pl_module)
            self.logged.append(dict(counters["frames"]))

    def run(compiled):
        torch.manual_seed(0)
        classifier = ImageClassifier("tiny_selective", num_classes=10, model_kwargs={"in_chans": 1})
        if compiled:
            classifier.net.compile(backend="eager")  # what is traced matters here, not the code that is made of it
        history = Graphs()
        fit(ChannelRewiring(gamma=GAMMA, until=1.0), history, epochs=4, batches=1, classifier=classifier)
        return classifier.net, history

    torch.compiler.reset()
    counters.clear()
    with torch._dynamo.config.patch(recompile_limit=3):
        net, history = run(compiled=True)
    sizes = [tuple(row.reallocated for row in table) for table in history.tables]
    assert len(set(sizes)) == 4, "or the test would not reach the limit"
    frames = history.logged[-1]
    assert frames["total"] == frames["ok"] == 2 * len(sizes), "training and evaluation of each size"
    plain, _ = run(compiled=False)
    assert channels(plain) == channels(net)
    torch.testing.assert_close(plain.a.shift, net.a.shift, rtol=1e-4, atol=1e-5)
