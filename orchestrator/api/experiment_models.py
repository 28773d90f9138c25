"""What REST clients send and receive about users' own experiments."""

from orchestrator.api.models import Model


class EstimateView(Model):
    """How much a run will be: rows of the table, trials (of a search, about as many), and seconds in all."""

    experiment: str
    combinations: int
    trials: int
    seconds: float
