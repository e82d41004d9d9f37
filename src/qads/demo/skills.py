"""The skills of the demo: each is a few scenarios, and a scenario draws one problem."""

from collections.abc import Callable, Mapping

from qads.demo import skills_algebra as algebra
from qads.demo import skills_everyday as everyday
from qads.demo import skills_figures as figures
from qads.demo import skills_rates as rates
from qads.demo.task import Draw, Problem

Scenario = Callable[[Draw], Problem]

SCENARIOS: Mapping[str, tuple[Scenario, ...]] = {
    "arithmetic": (everyday.boxes, everyday.change, everyday.savings),
    "fractions": (everyday.pages, everyday.rest_of_rest),
    "percentages": (rates.discount, rates.growth),
    "unit_rates": (rates.output, rates.by_weight),
    "travel": (rates.two_legs, rates.travel_time, rates.meeting),
    "linear_equations": (algebra.equation, algebra.both_sides, algebra.guessed_number),
    "two_unknowns": (algebra.sum_and_difference, algebra.tickets),
    "sequences": (algebra.nth_term, algebra.seats),
    "geometry": (figures.fence, figures.cut_out),
    "averages": (everyday.mean, everyday.next_score),
    "ratios": (everyday.sharing, everyday.mixture),
    "divisors": (figures.kits, figures.flashes),
    "probability": (figures.one_draw, figures.two_draws),
    "interest": (rates.balance, rates.years_needed),
}
SKILLS: tuple[str, ...] = tuple(SCENARIOS)


def draw_problem(draw: Draw, skill: str) -> Problem:
    """A problem of the skill, from one of its scenarios."""
    return draw.one_of(SCENARIOS[skill])(draw)
