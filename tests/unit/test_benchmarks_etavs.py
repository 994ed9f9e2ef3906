"""Benchmark of ETAVS's step, smallest form: every form steps, and differs from the frozen one where it says so."""

import torch

from benchmarks import etavs_step


def step(form):
    return etavs_step.Step("etavs-r50", form, 1, "mini", 64)


def test_every_form_steps():
    for form in etavs_step.FORMS:
        assert step(form).run() >= 0


def test_forms_are_what_they_say():
    frozen, every, full = (step(form) for form in (etavs_step.FROZEN, "every frame decoded", etavs_step.FULL))
    before = {key: value.clone() for key, value in full.model.visual.state_dict().items()}
    assert len(frozen.model(frozen.batch)["logits"]) == 1
    assert len(every.model(every.batch)["logits"]) == 5
    frozen.run()
    full.run()
    assert all(torch.equal(value, before[key]) for key, value in frozen.model.visual.state_dict().items())
    assert not torch.equal(full.model.visual.conv1[0].weight, before["conv1.0.weight"])
    layer = step("direct last layer").model.decoder.mask
    assert layer.forward.__func__ is type(layer).direct


def test_rows_compare_round_by_round(monkeypatch):
    class Fake:
        def __init__(self, factory, variant, form, threads):
            self.form = form

        def call(self, name):
            return {"run": 2.0 if self.form == etavs_step.FULL else 1.0, "growth": 7.0}[name]

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(etavs_step, "Alone", Fake)
    frozen, full = etavs_step.rows(quick=True, rounds=2)
    assert (frozen.value, full.value) == (1.0, 2.0)
    assert full.note.startswith("2.00× the CPU time of frozen (2.00× at least)")
