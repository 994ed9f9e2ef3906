"""The list of checks."""

from collections.abc import Callable

from avsbench import cards
from avsbench.contract_checks.dividing import check_divides
from avsbench.contract_checks.official import check_official
from avsbench.contract_checks.predicting import (
    check_batch_independent,
    check_determinism,
    check_padding,
    check_round_trip,
    check_scores,
)
from avsbench.contract_checks.subject import Subject
from avsbench.contract_checks.training import (
    check_frozen,
    check_gradients,
    check_groups,
    check_ignored,
    check_overfits,
)


def check_card(subject: Subject) -> None:
    """the card's inputs and recipe exist"""
    from avsbench.engine.train import check_spec
    from avsbench.media.front_ends import FRONT_ENDS
    from avsbench.paths import Paths
    from avsbench.spec import RunSpec

    card = subject.variant.method
    for name in subject.variant.front_ends_on(subject.dataset.name):
        cards.known(name, FRONT_ENDS, f"{card.path}: inputs.front_ends", "front end")
    roles = set(subject.build().encoders())
    if set(subject.variant.loaded_on(subject.dataset.name, subject.scale)) - roles:
        subject.fail(
            f"the card gives encoders for {', '.join(sorted(subject.variant.encoders))}, the network has "
            f"{', '.join(sorted(roles)) or 'none'}",
            f"return them from encoders() in {subject.file}, or change variants.{subject.variant.name}.encoders",
        )
    for scale in cards.SCALES if card.trainable else ():
        spec = RunSpec(
            scale=scale,
            dataset=subject.dataset.name,
            variant=subject.variant.name,
            seed="0",
            recipe=subject.variant.recipe(scale, subject.dataset.name),
            image_size=subject.image_size,
            paths=Paths(scale),
        )
        check_spec(spec, subject.variant, subject.dataset)


CHECKS: dict[str, Callable[[Subject], None]] = {
    check.__name__.removeprefix("check_"): check
    for check in (
        check_card,
        check_scores,
        check_padding,
        check_batch_independent,
        check_determinism,
        check_round_trip,
        check_official,
        check_groups,
        check_gradients,
        check_frozen,
        check_ignored,
        check_divides,
        check_overfits,
    )
}
"""Name -> check, cheap ones first; the first line of its docstring is its title."""
