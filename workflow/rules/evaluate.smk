# Weights -> one stored prediction per run and audio condition -> per-frame integers -> every protocol.


rule predict:
    input:
        weights=lambda w: PLAN.weights(w.dataset, w.variant, w.seed),
        run=PATHS.run_json("{dataset}", "{variant}", "{seed}"),
        data=lambda w: PLAN.data(w.dataset, w.variant, ("test",)),
        complete=ancient(PATHS.complete("{dataset}", "test")),
        encoders=lambda w: PLAN.encoder_files(w.dataset, w.variant),
    output:
        PATHS.predictions("{dataset}", "{variant}", "{seed}", "{condition}"),
    log:
        PATHS.log("predict", "{dataset}", "{variant}", "{seed}.{condition}"),
    benchmark:
        PATHS.benchmark("predict", "{dataset}", "{variant}", "{seed}.{condition}")
    conda:
        "../../environment.yml"
    threads: of_card("threads")
    resources:
        gpu=lambda w: min(1, of_card("gpu")(w)),
        mem_mb=of_card("mem_mb"),
        runtime=120,
    params:
        options=OPTIONS,
        code=lambda w: digest.stage("predict", cards.variant(w.variant).method.name),
        settings=lambda w: PLAN.run_settings(w.dataset, w.variant),
        arrays=lambda w: PLAN.arrays_option(w.dataset, w.variant),
        features=lambda w: PLAN.features_option(w.variant),
        ensemble="",
    message:
        "predict {wildcards.dataset} with {wildcards.variant}, seed {wildcards.seed} ({wildcards.condition})"
    shell:
        "avsbench predict --dataset {wildcards.dataset} --variant {wildcards.variant} --seed {wildcards.seed} "
        "--condition {wildcards.condition} {params.arrays}{params.features:q} {params.options} "
        "{params.ensemble} --log {log}"


# The best epochs of a training together, where its recipe keeps several.
use rule predict as predict_ensemble with:
    input:
        weights=PATHS.weights_top("{dataset}", "{variant}", "{seed}"),
        run=PATHS.run_json("{dataset}", "{variant}", "{seed}"),
        data=lambda w: PLAN.data(w.dataset, w.variant, ("test",)),
        complete=ancient(PATHS.complete("{dataset}", "test")),
        encoders=lambda w: PLAN.encoder_files(w.dataset, w.variant),
    output:
        PATHS.predictions("{dataset}", "{variant}", "{seed}", "{condition}", True),
    log:
        PATHS.log("predict", "{dataset}", "{variant}", "{seed}.{condition}.ensemble"),
    benchmark:
        PATHS.benchmark(
            "predict", "{dataset}", "{variant}", "{seed}.{condition}.ensemble"
        )
    resources:
        gpu=lambda w: min(1, of_card("gpu")(w)),
        mem_mb=of_card("mem_mb"),
        runtime=lambda w: 120 * PLAN.keep_best(w.dataset, w.variant),
    params:
        ensemble="--ensemble",
        vote=lambda w: cards.variant(w.variant).method.vote,
    message:
        "predict {wildcards.dataset} with the best epochs of {wildcards.variant}, seed {wildcards.seed}"


rule score:
    input:
        predictions=PATHS.predictions("{dataset}", "{variant}", "{seed}", "{condition}"),
        index=PATHS.index("{dataset}", "test"),
        truth=lambda w: PLAN.truth(w.dataset, w.variant),
    output:
        frames=PATHS.frame_scores("{dataset}", "{variant}", "{seed}", "{condition}"),
        draws=PATHS.draws("{dataset}", "{variant}", "{seed}", "{condition}"),
        scores=PATHS.scores("{dataset}", "{variant}", "{seed}", "{condition}"),
    log:
        PATHS.log("score", "{dataset}", "{variant}", "{seed}.{condition}"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        options=OPTIONS,
        code=digest.stage("score"),
        fscore_batch=lambda w: cards.variant(w.variant).fscore_batch_on(w.dataset),
        ensemble="",
    message:
        "score {wildcards.variant} on {wildcards.dataset}, seed {wildcards.seed} ({wildcards.condition})"
    shell:
        "avsbench score --dataset {wildcards.dataset} --variant {wildcards.variant} --seed {wildcards.seed} "
        "--condition {wildcards.condition} {params.options} {params.ensemble} --log {log}"


use rule score as score_ensemble with:
    input:
        predictions=PATHS.predictions(
            "{dataset}", "{variant}", "{seed}", "{condition}", True
        ),
        index=PATHS.index("{dataset}", "test"),
        truth=lambda w: PLAN.truth(w.dataset, w.variant),
    output:
        frames=PATHS.frame_scores(
            "{dataset}", "{variant}", "{seed}", "{condition}", True
        ),
        draws=PATHS.draws("{dataset}", "{variant}", "{seed}", "{condition}", True),
        scores=PATHS.scores("{dataset}", "{variant}", "{seed}", "{condition}", True),
    log:
        PATHS.log("score", "{dataset}", "{variant}", "{seed}.{condition}.ensemble"),
    params:
        ensemble="--ensemble",
    message:
        "score the ensemble of {wildcards.variant} on {wildcards.dataset}, seed {wildcards.seed}"


# What others submitted (`avsbench submit`): stored and scored by the verb; again when data or the scores' code change.
rule score_external:
    input:
        predictions=PATHS.predictions("{dataset}", EXTERNAL, "{submission}"),
        index=PATHS.index("{dataset}", "test"),
        complete=ancient(PATHS.complete("{dataset}", "test")),
        truth=lambda w: PLAN.shards(w.dataset, "test"),
    output:
        frames=PATHS.frame_scores("{dataset}", EXTERNAL, "{submission}"),
        draws=PATHS.draws("{dataset}", EXTERNAL, "{submission}"),
        scores=PATHS.scores("{dataset}", EXTERNAL, "{submission}"),
    log:
        PATHS.log("score", "{dataset}", EXTERNAL, "{submission}"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        options=OPTIONS,
        code=digest.stage("score"),
        external=EXTERNAL,
    message:
        "score {wildcards.submission}, submitted to {wildcards.dataset}"
    shell:
        "avsbench score --dataset {wildcards.dataset} --variant {params.external} --seed {wildcards.submission} "
        "{params.options} --log {log}"
