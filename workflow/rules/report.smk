# Complete runs -> results/leaderboard.{html,md,parquet}, or the page of the study that the configuration names, which
# wants other runs. When the workflow fails, `onerror` writes leaderboard.partial.{html,md}, or that of the study.


rule:
    name:
        "study" if PLAN.study else "leaderboard"
    input:
        runs=[PATHS.run_json(r.dataset, r.variant, r.seed) for r in PLAN.runs],
        scores=[
            PATHS.scores(r.dataset, r.variant, r.seed, ensemble=r.ensemble)
            for r in PLAN.rows
        ],
        draws=[
            PATHS.draws(r.dataset, r.variant, r.seed, ensemble=r.ensemble)
            for r in PLAN.rows
        ],
        conditions=PLAN.condition_scores,
        submissions=[
            file(r.dataset, r.variant, r.seed)
            for r in PLAN.submissions
            for file in (PATHS.run_json, PATHS.draws, PATHS.scores)
        ],
        complete=[PATHS.complete(dataset, "test") for dataset in PLAN.datasets],
    output:
        **({"robustness": PATHS.robustness()} if PLAN.condition_scores else {}),
        **{
            name: report(
                PLAN.page(extension),
                caption=f"../report/{'study' if PLAN.study else 'leaderboard'}.rst",
                category="Studies" if PLAN.study else "Leaderboard",
                labels={"page": {"md": "Markdown", "html": "web page"}[extension]},
            )
            for name, extension in PLAN.pages.items()
        },
        table=PLAN.page("parquet"),
    log:
        PATHS.log("study", PLAN.study.name) if PLAN.study else PATHS.log("leaderboard"),
    localrule: True
    conda:
        "../../environment.yml"
    params:
        options=OPTIONS,
        code=digest.stage("study" if PLAN.study else "report"),
        runs=[str(r) for r in PLAN.rows],
        skips=[f"{s.run}: {s.reason}" for s in PLAN.skips],
        accepted=house.accepted(PLAN),
        config=house.config_argument(PLAN),
    message:
        "write {output.markdown}"
    shell:
        "avsbench leaderboard --config-json {params.config:q} {params.options} --log {log}"


if PLAN.figures:

    rule figures:
        input:
            PLAN.page("parquet"),
            [PATHS.robustness()] if PLAN.condition_scores else [],
        output:
            [
                report(
                    PATHS.figure(kind, dataset, "svg"),
                    caption=f"../report/figure.{kind}.rst",
                    category="Figures",
                    subcategory=dataset or "who listens",
                    labels={"figure": kind},
                )
                for kind, dataset in PLAN.figures
            ],
            [PATHS.figure(*figure, "png") for figure in PLAN.figures],
        log:
            PATHS.log("figures"),
        localrule: True
        conda:
            "../../environment.yml"
        params:
            options=OPTIONS,
            code=digest.stage("figures"),
            config=house.config_argument(PLAN),
        message:
            "draw the leaderboard"
        shell:
            "avsbench figures --config-json {params.config:q} {params.options} --log {log}"
