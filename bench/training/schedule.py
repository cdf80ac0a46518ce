"""The learning-rate schedule, as a pure function of the step."""

from bench.protocol.spec import RULES, Rules


def factor(step: int, total: int, rules: Rules = RULES) -> float:
    """Factor on the peak learning rate at optimiser step `step` of `total`.

    Rises linearly from 1e-5 over the first 5/120 of the steps and falls tenfold at 90/120 and
    again at 100/120 (Deng et al. 2022; Ghosal et al. 2024, supplement VII). Shorter budgets keep
    the proportions.
    """
    warmup = rules.warmup * total
    if step < warmup:
        part = step / warmup
        return rules.warmup_start * (1 - part) + part
    passed = sum(step >= round(milestone * total) for milestone in rules.milestones)
    return rules.decay**passed
