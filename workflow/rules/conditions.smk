# The weights of a run under sounds that do not belong to the pictures -> a prediction file and scores each. Pictures,
# and what is derived of them alone, are those of `predict`; front ends, and features made from sound, are computed
# within the job. An ensemble is heard in the job of the best of its members, which saves two jobs a run.


rule negatives:
    input:
        lambda w: PLAN.negatives_inputs(w.dataset, w.split),
    output:
        PATHS.negatives("{dataset}", "{split}"),
    log:
        PATHS.log("negatives", "{dataset}", "{split}"),
    localrule: True
    conda:
        "../../environment.yml"
    params:
        options=OPTIONS,
        code=digest.stage("negatives"),
    message:
        "draw whose sound the clips of {wildcards.dataset} {wildcards.split} get from outside the picture"
    shell:
        "avsbench negatives --dataset {wildcards.dataset} --split {wildcards.split} {params.options} --log {log}"


for RULE in PLAN.condition_rules:

    rule:
        name:
            f"predict_conditions_{RULE.name}{'__top' if RULE.ensemble else ''}"
        input:
            weights=lambda w, r=RULE: PLAN.weights(r.dataset, w.variant, w.seed),
            top=(
                [PATHS.weights_top(RULE.dataset, "{variant}", "{seed}")]
                if RULE.ensemble
                else []
            ),
            run=PATHS.run_json(RULE.dataset, "{variant}", "{seed}"),
            data=lambda w, r=RULE: PLAN.data(r.dataset, w.variant, ("test",)),
            complete=ancient(PATHS.complete(RULE.dataset, "test")),
            encoders=lambda w, r=RULE: PLAN.encoder_files(r.dataset, w.variant),
            makers=lambda w: PLAN.makers(w.variant),
            negatives=PLAN.partners(RULE.dataset, RULE.conditions),
        output:
            [
                PATHS.predictions(RULE.dataset, "{variant}", "{seed}", *output)
                for output in RULE.outputs
            ],
        log:
            PATHS.log("predict", RULE.dataset, "{variant}", f"{{seed}}.{RULE.name}"),
        benchmark:
            PATHS.benchmark(
                "predict", RULE.dataset, "{variant}", f"{{seed}}.{RULE.name}"
            )
        wildcard_constraints:
            variant=RULE.variant,
        conda:
            "../../environment.yml"
        threads: of_card("threads")
        resources:
            gpu=lambda w: min(1, of_card("gpu")(w)),
            mem_mb=of_card("mem_mb"),
            runtime=lambda w, r=RULE: PLAN.conditions_minutes(r, w.variant),
        params:
            options=OPTIONS,
            dataset=RULE.dataset,
            code=lambda w, r=RULE: PLAN.conditions_code(r.dataset, w.variant),
            settings=lambda w, r=RULE: PLAN.run_settings(r.dataset, w.variant),
            features=lambda w: PLAN.features_option(w.variant),
            conditions=" ".join(f"--condition {name}" for name in RULE.conditions),
            ensemble="--ensemble too" if RULE.ensemble else "",
        message:
            "predict {params.dataset} with {wildcards.variant}, seed {wildcards.seed}, under other sounds"
        shell:
            "avsbench predict --dataset {params.dataset} --variant {wildcards.variant} --seed {wildcards.seed} "
            "{params.conditions} {params.ensemble} {params.features:q} {params.options} --log {log}"

    rule:
        name:
            f"score_conditions_{RULE.name}{'__top' if RULE.ensemble else ''}"
        input:
            predictions=[
                PATHS.predictions(RULE.dataset, "{variant}", "{seed}", *output)
                for output in RULE.outputs
            ],
            index=PATHS.index(RULE.dataset, "test"),
            truth=lambda w, r=RULE: PLAN.truth(r.dataset, w.variant),
        output:
            [
                PATHS.frame_scores(RULE.dataset, "{variant}", "{seed}", *output)
                for output in RULE.outputs
            ],
            [
                PATHS.scores(RULE.dataset, "{variant}", "{seed}", *output)
                for output in RULE.outputs
            ],
        log:
            PATHS.log("score", RULE.dataset, "{variant}", f"{{seed}}.{RULE.name}"),
        wildcard_constraints:
            variant=RULE.variant,
        conda:
            "../../environment.yml"
        resources:
            mem_mb=2000,
            runtime=60,
        params:
            options=OPTIONS,
            dataset=RULE.dataset,
            code=digest.stage("score"),
            fscore_batch=lambda w, r=RULE: cards.variant(w.variant).fscore_batch_on(
                r.dataset
            ),
            conditions=" ".join(f"--condition {name}" for name in RULE.conditions),
            ensemble="--ensemble too" if RULE.ensemble else "",
        message:
            "score {wildcards.variant} on {params.dataset}, seed {wildcards.seed}, under other sounds"
        shell:
            "avsbench score --dataset {params.dataset} --variant {wildcards.variant} --seed {wildcards.seed} "
            "{params.conditions} {params.ensemble} {params.options} --log {log}"
