"""Every promise of the contract, for every discovered method, variant and data set, and for the template.

Learning two clips by heart takes longer than all else together. Each variant does it on one data set, and each data set
sees one variant of each method do it; `avsbench check-method` leaves nothing out.
"""

import pytest

from avsbench import cards
from avsbench.contract_checks import FAILED, SKIPPED, run_check, subjects
from avsbench.contract_checks.checks import CHECKS

TEMPLATE = cards.PROJECT / "models" / "_template" / "method.yaml"


LONG = "overfits"


def learners(card):
    """(variant, data set) for the check that takes long."""
    variants = list(card.variants.values())
    found = {(variant.name, variant.datasets[i % len(variant.datasets)]) for i, variant in enumerate(variants)}
    for variant in variants:
        done = {dataset for _, dataset in found}
        found |= {(variant.name, dataset) for dataset in variant.datasets if dataset not in done}
    return found


def pairs():
    for card in [*cards.method_cards().values(), cards.read_method_card(TEMPLATE)]:
        chosen = learners(card)
        for subject in subjects(card):
            for check in CHECKS:
                if check == LONG and (subject.variant.name, subject.dataset.name) not in chosen:
                    continue
                yield pytest.param(subject, check, id=f"{subject.variant.name}-{subject.dataset.name}-{check}")


@pytest.mark.parametrize(("subject", "check"), pairs())
def test_promise(subject, check):
    result = run_check(subject, check)
    if result.status == SKIPPED:
        pytest.skip(result.message)
    assert result.status != FAILED, result.message
