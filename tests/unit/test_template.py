"""`avsbench new-method` makes a method of the template that builds under its new names."""

import pytest

from avsbench import cards, registry
from avsbench.contract_checks.batches import synthetic_batch
from avsbench.errors import AvsbenchError
from avsbench.scaffold import new_method


@pytest.mark.parametrize(("name", "variant"), [("wave", "wave-r50"), ("my_net2", "my-net2-r50")])
def test_names_are_replaced(tmp_path, name, variant):
    folder = new_method(name, tmp_path)
    text = "".join(file.read_text() for file in folder.iterdir() if file.is_file())
    assert "template" not in text.lower()
    card = cards.read_method_card(folder / "method.yaml")
    assert list(card.variants) == [variant]
    model = registry.build(card.variants[variant], "ms3", "mini", 64)
    assert type(model).__name__ in ("Wave", "MyNet2")
    batch = synthetic_batch(card.variants[variant], cards.dataset("ms3"), 64)
    loss = model.train().loss(model(batch), batch, 0)["segmentation"]
    loss.backward()
    assert model.modulation.weight.grad.any()


@pytest.mark.parametrize("name", ["tpavi", "My", "1st", "a-b"])
def test_names_that_cannot_be(tmp_path, name):
    with pytest.raises(AvsbenchError):
        new_method(name, tmp_path)
