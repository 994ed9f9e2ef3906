"""Every promise of the contract, for every discovered method, variant and data set, and for the template."""

import pytest

from avsbench import cards
from avsbench.contract_checks import FAILED, SKIPPED, run_check, subjects
from avsbench.contract_checks.checks import CHECKS

TEMPLATE = cards.PROJECT / "models" / "_template" / "method.yaml"


def pairs():
    for card in [*cards.method_cards().values(), cards.read_method_card(TEMPLATE)]:
        for subject in subjects(card):
            for check in CHECKS:
                yield pytest.param(subject, check, id=f"{subject.variant.name}-{subject.dataset.name}-{check}")


@pytest.mark.parametrize(("subject", "check"), pairs())
def test_promise(subject, check):
    result = run_check(subject, check)
    if result.status == SKIPPED:
        pytest.skip(result.message)
    assert result.status != FAILED, result.message
