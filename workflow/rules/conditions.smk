# The weights of a run under sounds that do not belong to the pictures -> a prediction file and scores each. Pictures and
# what is derived of them are those of `predict`; front ends are computed within the job.


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


for NAME, DATASET, CONDITIONS in PLAN.condition_rules:

    rule:
        name:
            f"predict_conditions_{NAME}"
        input:
            weights=lambda w, d=DATASET: PLAN.weights(d, w.variant, w.seed),
            run=PATHS.run_json(DATASET, "{variant}", "{seed}"),
            data=lambda w, d=DATASET: PLAN.data(d, w.variant, ("test",)),
            complete=ancient(PATHS.complete(DATASET, "test")),
            encoders=lambda w, d=DATASET: PLAN.encoder_files(d, w.variant),
            negatives=PLAN.partners(DATASET, CONDITIONS),
        output:
            [
                PATHS.predictions(DATASET, "{variant}", "{seed}", condition)
                for condition in CONDITIONS
            ],
        log:
            PATHS.log("predict", DATASET, "{variant}", f"{{seed}}.{NAME}"),
        benchmark:
            PATHS.benchmark("predict", DATASET, "{variant}", f"{{seed}}.{NAME}")
        conda:
            "../../environment.yml"
        threads: of_card("threads")
        resources:
            gpu=lambda w: min(1, of_card("gpu")(w)),
            mem_mb=of_card("mem_mb"),
            runtime=120 * len(CONDITIONS),
        params:
            options=OPTIONS,
            dataset=DATASET,
            code=lambda w, d=DATASET: PLAN.conditions_code(d, w.variant),
            settings=lambda w, d=DATASET: PLAN.run_settings(d, w.variant),
            features=lambda w: PLAN.features_option(w.variant),
            conditions=" ".join(f"--condition {name}" for name in CONDITIONS),
        message:
            "predict {params.dataset} with {wildcards.variant}, seed {wildcards.seed}, under other sounds"
        shell:
            "avsbench predict --dataset {params.dataset} --variant {wildcards.variant} --seed {wildcards.seed} "
            "{params.conditions} {params.features:q} {params.options} --log {log}"

    rule:
        name:
            f"score_conditions_{NAME}"
        input:
            predictions=[
                PATHS.predictions(DATASET, "{variant}", "{seed}", condition)
                for condition in CONDITIONS
            ],
            index=PATHS.index(DATASET, "test"),
            truth=lambda w, d=DATASET: PLAN.truth(d, w.variant),
        output:
            [
                PATHS.frame_scores(DATASET, "{variant}", "{seed}", condition)
                for condition in CONDITIONS
            ],
            [
                PATHS.scores(DATASET, "{variant}", "{seed}", condition)
                for condition in CONDITIONS
            ],
        log:
            PATHS.log("score", DATASET, "{variant}", f"{{seed}}.{NAME}"),
        conda:
            "../../environment.yml"
        resources:
            mem_mb=2000,
            runtime=60,
        params:
            options=OPTIONS,
            dataset=DATASET,
            code=digest.stage("score"),
            fscore_batch=lambda w, d=DATASET: cards.variant(w.variant).fscore_batch_on(
                d
            ),
            conditions=" ".join(f"--condition {name}" for name in CONDITIONS),
        message:
            "score {wildcards.variant} on {params.dataset}, seed {wildcards.seed}, under other sounds"
        shell:
            "avsbench score --dataset {params.dataset} --variant {wildcards.variant} --seed {wildcards.seed} "
            "{params.conditions} {params.options} --log {log}"
