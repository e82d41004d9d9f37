"""What a configuration would compute: the plan and the fingerprint of every stage, before anything runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

from qads.config import ConstraintsConfig, QualityConfig, RunConfig, SavedScorer, Tokens, suffix_settings
from qads.datasets import expand_sources, source_identity
from qads.datasets.benchmarks import evaluation_contents
from qads.embed import Embedder, LMEmbedder, SentenceEmbedder
from qads.errors import ConfigError, CorruptError, DriftError, InputError
from qads.models import find_tokenizer
from qads.quality import (
    AnswerLikelihoods,
    Engine,
    EveryAnchor,
    LocalEngine,
    OneShotInfluence,
    RetrievalScorer,
    load_scorer,
)
from qads.run.directory import StagePlan
from qads.run.limits import ROLES
from qads.run.measured import evaluated_model, evaluates_trained, evaluation_plan
from qads.run.sealed import ON_DEMAND, read_json
from qads.run.shards import file_sha256

__all__ = [
    "check_unmoved",
    "computed_names",
    "file_contents",
    "method_identity",
    "names_until",
    "plan_stages",
    "stage_names",
    "stage_reads",
    "with_dependents",
]

_NEEDED = ("quality", "tokens", "targets", "likelihoods", "given")
"""Stages that some selections read."""
_NAMED_BY = {"select": ("exclude", "include"), "given": ("given",)}
"""Stages that read files of `constraints`."""


def stage_reads(config: RunConfig) -> dict[str, tuple[str, ...]]:
    """The stages that this configuration has, in order, each with those that it reads."""
    reads: dict[str, tuple[str, ...]] = {"pool": ()}
    if config.clean is not None:
        reads["clean"] = ("pool",)
    rows = "pool" if config.clean is None else "clean"
    if config.counts_tokens:
        reads["tokens"] = (rows,)  # Before hours of other stages: it may find that no row fits the budget.
    reads["embed"] = (rows,)
    if config.uses_anchors:
        reads["anchors"] = (rows,) if config.anchors.sources else (rows, "embed")
    if config.scores:
        in_rounds = config.quality is not None and config.quality.labelling is not None
        reads |= {"influence": ("anchors", "embed") if in_rounds else ("anchors",), "scorer": ("embed", "influence")}
    if config.quality is not None:
        reads["quality"] = ("embed", "influence", "scorer") if config.scores else ("embed",)
    if "targets" in config.needs:
        reads["targets"] = ("anchors",)
    if "likelihoods" in config.needs:
        reads["likelihoods"] = (rows,)
    if config.constraints.given:
        reads["given"] = (rows, "embed")
    reads["select"] = ("embed", *(name for name in _NEEDED if name in reads))
    reads["mixture"] = (rows, "select")
    if config.train is not None:
        reads["train"] = ("mixture",)
    if config.evaluate is not None:
        reads["evaluate"] = ("train",) if evaluates_trained(config) else ()
    reads["coverage"] = (*(name for name in reads["select"] if name in ("embed", "quality", "tokens")), "select")
    if config.report.projection is not None:
        reads["projection"] = ("embed",)
    return reads | {"report": tuple(reads)}


def stage_names(config: RunConfig) -> tuple[str, ...]:
    """The stages that this configuration has, in order."""
    return tuple(stage_reads(config))


def computed_names(config: RunConfig) -> tuple[str, ...]:
    """The stages that a run of this configuration computes, in order: all that `--until` and `--redo` can name."""
    return tuple(name for name in stage_names(config) if name not in ON_DEMAND)


def with_dependents(config: RunConfig, stages: Collection[str]) -> list[str]:
    """These stages and all that read them or what is made from them, in order."""
    found: list[str] = []
    for name, reads in stage_reads(config).items():
        if name in stages or not set(reads).isdisjoint(found):
            found.append(name)
    return found


def plan_stages(
    config: RunConfig, sources: tuple[str, ...], anchor_sources: tuple[str, ...], *, until: str = "report"
) -> dict[str, StagePlan]:
    """The plan of every stage up to `until`, in order; each names the fingerprints of those it reads.

    Raises:
        PoolError: a source is missing.
        ModelError: a model cannot be found.
    """
    plans: dict[str, StagePlan] = {}
    for name, reads in stage_reads(config).items():
        inputs = {stage: plans[stage].fingerprint for stage in reads}
        plans[name] = _plan_stage(config, name, inputs, {"pool": sources, "anchors": anchor_sources}.get(name, ()))
        if name == until:
            break
    return plans


def names_until(names: Sequence[str], until: str | None) -> list[str]:
    """The stages up to one; all of them where none is named.

    Raises:
        ConfigError: there is no such stage.
    """
    if until is not None and until not in names:
        raise ConfigError(f"unknown stage {until!r}; this run has {', '.join(names)}.")
    return list(names if until is None else names[: names.index(until) + 1])


def check_unmoved(config: RunConfig, plan: StagePlan, sources: tuple[str, ...]) -> None:
    """Refuse to compute, or to finish, a stage when its models and files are not what they were when it was planned.

    Args:
        config: of the run.
        plan: of the stage.
        sources: the files of its own that it reads, if it is one of those that do.

    Raises:
        DriftError: names what has changed since.
    """
    inputs = {name: plan.inputs[name] for name in stage_reads(config)[plan.name]}
    changed = list(plan.differences(_plan_stage(config, plan.name, inputs, sources)))
    if changed:
        raise DriftError(
            f"stage {plan.name!r}: what it reads was changed while the run was on, so nothing is made of it:\n"
            + "\n".join(f"  {line}" for line in changed[:12])
            + "\nPut it back, or let it be as it is now, and start the same command again."
        )


def _plan_stage(config: RunConfig, name: str, inputs: dict[str, str], sources: tuple[str, ...]) -> StagePlan:
    """The plan of one stage; `inputs` has the fingerprints of the stages that it reads."""
    # What the files hold is an input, where they are is not; their names, in order, become those of sources.
    contents = file_contents(sources)
    if name == "clean" and config.clean is not None:
        against = evaluation_contents(config.clean.against)
        inputs |= {f"against {set_}": content for set_, content in against.items()}
    inputs |= {f"file {source}": content for source, content in contents.items()}
    if name == "quality" and config.quality and isinstance(saved := config.quality.scorer, SavedScorer):
        inputs |= {f"scorer {file}": sha256 for file, sha256 in _scorer_files(saved).items()}
    for role in _NAMED_BY.get(name, ()):
        named = file_contents(getattr(config.constraints, role))
        inputs |= {f"{role} {source}": content for source, content in named.items()}
    if name == "evaluate" and config.evaluate is not None:
        trained = inputs.get("train")
        return evaluation_plan(config.evaluate, evaluated_model(config), config.execution, trained=trained)
    return StagePlan(name, _settings(config, name, list(contents)), inputs, _execution(config, name))


def _settings(config: RunConfig, name: str, sources: list[str]) -> dict[str, Any]:
    """Everything that changes the result of a stage."""
    quality, anchors = config.quality, config.anchors
    if name in (*_NEEDED[1:], "select", "coverage"):
        return _selection_settings(config, name)
    if name == "projection" and config.report.projection is not None:
        return {"projection": dataclasses.asdict(config.report.projection)}
    if name == "pool":
        return {"pool": dataclasses.asdict(config.pool) | {"sources": sources}}
    if name == "clean" and config.clean is not None:
        # Which evaluation sets there are says their content, among the inputs.
        settings = {key: value for key, value in dataclasses.asdict(config.clean).items() if key != "against"}
        embedded = {"embedding": method_identity(config.embedding, config), **_foreign_code(config)}
        return {"clean": settings} | (embedded if config.clean.is_semantic else {})
    if name == "embed":
        return {"embedding": method_identity(config.embedding, config), **_foreign_code(config)}
    if name == "anchors":
        own = {"columns": anchors.columns, "on_bad_row": anchors.on_bad_row, "sources": sources}
        chosen = own if sources else {"n": anchors.n_chosen}
        drawn = {"quality": _draw(quality), "seed": config.seed} if quality else {}
        return {"anchors": chosen, **drawn}
    if name in ("influence", "scorer", "quality") and quality is not None:
        return _quality_settings(config, quality, name)
    if name == "train" and config.train is not None:
        return {"train": config.train.identity(config.execution), **_foreign_code(config)}
    return {"output": dataclasses.asdict(config.output)} if name == "mixture" else {}


def _quality_settings(config: RunConfig, quality: QualityConfig, name: str) -> dict[str, Any]:
    """Everything that changes the scores, the scorer, or the qualities."""
    if name == "influence":
        method = method_identity(quality.influence, config)
        if isinstance(quality.influence.stopping, EveryAnchor):
            # The aggregate is applied to the scores afterwards, by the stage `quality`.
            del method["aggregate"], method["stopping"]
        return {"quality": {"influence": method, **_in_rounds(config, quality)}, **_foreign_code(config)}
    if name == "quality" and isinstance(saved := quality.scorer, SavedScorer):
        # Another reader than it was fitted with may be allowed.
        reader = load_scorer(saved.folder).reader_now(config.execution)
        return {
            "quality": {"scorer": {"allow": list(saved.allow)} | ({"reader": reader} if reader else {})},
            **(_foreign_code(config) if reader else {}),
        }
    aggregate = {"aggregate": quality.influence.aggregate}
    style = {} if quality.style is None else {"style": dataclasses.asdict(quality.style)}
    fitted = {"scorer": _scorer_settings(config, quality)} if name == "scorer" else {}
    return {"quality": {"influence": aggregate, **style, **fitted}, **(_foreign_code(config) if fitted else {})}


def _selection_settings(config: RunConfig, name: str) -> dict[str, Any]:
    """Everything that changes the selection, or what it needs."""
    if name == "tokens":
        scorer = config.quality.influence if config.quality else OneShotInfluence()
        revision = None if config.tokenizer else scorer.revision
        identity = find_tokenizer(config.tokenizer or scorer.model, revision=revision).identity
        return {
            "tokenizer": identity, "template": dataclasses.asdict(scorer.template), **suffix_settings(config.train),
            **_foreign_code(config),
        }  # fmt: skip
    if name == "likelihoods":
        return {"likelihoods": method_identity(config.answer_likelihoods, config), **_foreign_code(config)}
    if name in ("targets", "given"):
        return {"embedding": method_identity(config.embedding, config), **_foreign_code(config)}
    if name == "coverage":
        return {"metric": getattr(config.selection, "metric", "euclidean")}
    budgets = [str(amount) if isinstance(amount, Tokens) else amount for amount in config.budgets]
    settings = {
        "selection": dataclasses.asdict(config.selection),
        "budget": budgets[0] if len(budgets) == 1 else budgets,
    }
    if config.constraints != ConstraintsConfig():
        # Which files they are says their content, among the inputs.
        kept = dataclasses.asdict(config.constraints)
        settings["constraints"] = {name: value for name, value in kept.items() if name not in ROLES}
    return settings


def _draw(quality: QualityConfig) -> dict[str, int]:
    """How many rows are drawn, and in how many of them labelling begins."""
    plan = quality.labelling
    return {"sample": quality.n_watched} | ({} if plan is None else {"first": plan.n_first(quality.sample)})


def _in_rounds(config: RunConfig, quality: QualityConfig) -> dict[str, Any]:
    """What decides which rows are labelled, where the scorer does."""
    if quality.labelling is None:
        return {}
    style = None if quality.style is None else dataclasses.asdict(quality.style)
    return {
        "labelling": dataclasses.asdict(quality.labelling), "sample": quality.sample, "style": style,
        "aggregate": quality.influence.aggregate, "scorer": _scorer_settings(config, quality),
    }  # fmt: skip


def _scorer_settings(config: RunConfig, quality: QualityConfig) -> dict[str, Any]:
    """Its settings, the model that reads the rows by its weights."""
    method = quality.scorer_method
    reader = {} if isinstance(method, RetrievalScorer) else method.reader_identity(config.execution)
    return dataclasses.asdict(method) | reader


def _scorer_files(saved: SavedScorer) -> dict[str, str]:
    """The files of a scorer and what they hold; where they are is not part of it."""
    folder = saved.folder
    if not (folder / "scorer.json").is_file():
        raise InputError(
            f"quality.scorer.path: {saved.path} holds no scorer. Give the run that fitted one (qads fit-scorer POOL "
            "--out RUN), or the folder with its scorer.json."
        )
    files = [folder / name for name in ("scorer.json", "scorer.safetensors")]
    files += sorted(path for path in (*folder.glob("adapter/*"), *folder.glob("model/*")) if path.is_file())
    found = {str(path.relative_to(folder)): file_sha256(path) for path in files if path.is_file()}
    stated = (read_json(folder / "manifest.json") or {}).get("files", {})  # Of a scorer that was copied there is none.
    for name, facts in stated.items():
        if name in found and found[name] != facts["sha256"]:
            raise CorruptError(
                f"{folder / name}: has SHA-256 {found[name]}, but the manifest beside it says {facts['sha256']}; the "
                "file was changed or damaged, so that nothing is predicted with it. Fit the scorer again."
            )
    return found


def method_identity(method: Embedder | OneShotInfluence | AnswerLikelihoods, config: RunConfig) -> dict[str, Any]:
    """Its settings, with what `model` and `dtype` stand for here: those weights and that precision make the result."""
    settings = dataclasses.asdict(method)
    found = _engine(method).identity(
        method.model, revision=method.revision, dtype=method.dtype, execution=config.execution
    )
    return settings | {name: value for name, value in found.items() if name in settings}


def _engine(method: Embedder | OneShotInfluence | AnswerLikelihoods) -> Engine:
    """What runs its model; that of an embedder runs here."""
    return LocalEngine() if isinstance(method, SentenceEmbedder | LMEmbedder) else method.engine


def _foreign_code(config: RunConfig) -> dict[str, Any]:
    """Code that comes with a model is part of the model."""
    return {"trust_remote_code": True} if config.execution.trust_remote_code else {}


def _execution(config: RunConfig, name: str) -> dict[str, Any]:
    """What moves the results of a model within floating-point rounding."""
    embeds_early = name == "clean" and config.clean is not None and config.clean.is_semantic
    reads_rows = ("embed", "influence", "scorer", "quality", "targets", "likelihoods", "given", "train")
    if not embeds_early and name not in reads_rows:
        return {}
    how = config.execution
    scoring = {"influence": config.quality and config.quality.influence, "likelihoods": config.answer_likelihoods}
    if (method := scoring.get(name)) and not isinstance(method.engine, LocalEngine):
        return {"device": "served"}
    device = how.found_device
    return {"device": device, "max_tokens_per_batch": how.pass_size(device) or "auto"}


def file_contents(sources: tuple[str, ...]) -> dict[str, str]:
    """Name of a source -> hash of its content; a hub dataset's is its commit."""
    return {file.name: source_identity(file.location) for file in (expand_sources(list(sources)) if sources else [])}
