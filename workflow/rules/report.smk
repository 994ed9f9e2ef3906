# Complete runs -> results/leaderboard.{md,parquet}. When the workflow fails, `onerror` writes leaderboard.partial.md.


rule leaderboard:
    input:
        runs=[PATHS.run_json(r.dataset, r.variant, r.seed) for r in PLAN.runs],
        scores=[
            PATHS.scores(r.dataset, r.variant, r.seed, ensemble=r.ensemble)
            for r in PLAN.rows
        ],
        complete=[PATHS.complete(dataset, "test") for dataset in PLAN.datasets],
    output:
        markdown=report(
            PATHS.leaderboard("md"),
            caption="../report/leaderboard.rst",
            category="Leaderboard",
        ),
        table=PATHS.leaderboard("parquet"),
    log:
        PATHS.log("leaderboard"),
    conda:
        "../../environment.yml"
    params:
        options=OPTIONS,
        code=digest.stage("report"),
        runs=[str(r) for r in PLAN.rows],
        skips=[f"{s.run}: {s.reason}" for s in PLAN.skips],
        config=house.config_argument(PLAN),
    message:
        "write {output.markdown}"
    shell:
        "avsbench leaderboard --config-json {params.config:q} {params.options} --log {log}"
