# Weights -> one stored prediction per run and audio condition -> per-frame integers -> every protocol.


def predict_resources(key):
    return lambda w: cards.variant(w.variant).resources(PLAN.scale)[key]


rule predict:
    input:
        weights=PATHS.run_weights("{dataset}", "{variant}", "{seed}"),
        run=PATHS.run_json("{dataset}", "{variant}", "{seed}"),
        data=lambda w: PLAN.data(w.dataset, w.variant, ("test",)),
        encoders=lambda w: PLAN.encoder_files(w.variant),
    output:
        PATHS.predictions("{dataset}", "{variant}", "{seed}", "{condition}"),
    wildcard_constraints:
        seed=r"\d+|official",
    params:
        code=lambda w: digest.stage("predict", cards.variant(w.variant).method.name),
        settings=lambda w: PLAN.run_settings(w.dataset, w.variant),
        device=config.get("device", "auto"),
    threads: predict_resources("threads")
    resources:
        gpu=predict_resources("gpu"),
        mem_mb=predict_resources("mem_mb"),
        runtime=120,
    log:
        PATHS.log("predict", "{dataset}", "{variant}", "{seed}.{condition}"),
    benchmark:
        PATHS.benchmark("predict", "{dataset}", "{variant}", "{seed}.{condition}")
    conda:
        "../../environment.yml"
    message:
        "predict {wildcards.dataset} with {wildcards.variant}, seed {wildcards.seed} ({wildcards.condition})"
    shell:
        "avsbench predict --dataset {wildcards.dataset} --variant {wildcards.variant} --seed {wildcards.seed} "
        "--condition {wildcards.condition} --device {params.device} --threads {threads} {OPTIONS} --log {log}"


# A method without training: no weights of its own; the job that predicts also writes run.json.
use rule predict as predict_untrained with:
    input:
        data=lambda w: PLAN.data(w.dataset, w.variant, ("test",)),
        encoders=lambda w: PLAN.encoder_files(w.variant),
    output:
        PATHS.predictions("{dataset}", "{variant}", plan.UNTRAINED, "{condition}"),
        run=PATHS.run_json("{dataset}", "{variant}", plan.UNTRAINED),
    wildcard_constraints:
        variant="|".join(PLAN.untrained_variants),
    log:
        PATHS.log("predict", "{dataset}", "{variant}", "none.{condition}"),
    benchmark:
        PATHS.benchmark("predict", "{dataset}", "{variant}", "none.{condition}")


rule score:
    input:
        predictions=PATHS.predictions("{dataset}", "{variant}", "{seed}", "{condition}"),
        index=PATHS.index("{dataset}", "test"),
        shards=lambda w: PLAN.shards(w.dataset, "test"),
    output:
        frames=PATHS.frame_scores("{dataset}", "{variant}", "{seed}", "{condition}"),
        scores=PATHS.scores("{dataset}", "{variant}", "{seed}", "{condition}"),
    params:
        code=digest.stage("score"),
        fscore_batch=lambda w: cards.variant(w.variant).method.fscore_batch,
    resources:
        mem_mb=2000,
        runtime=60,
    log:
        PATHS.log("score", "{dataset}", "{variant}", "{seed}.{condition}"),
    conda:
        "../../environment.yml"
    message:
        "score {wildcards.variant} on {wildcards.dataset}, seed {wildcards.seed} ({wildcards.condition})"
    shell:
        "avsbench score --dataset {wildcards.dataset} --variant {wildcards.variant} --seed {wildcards.seed} "
        "--condition {wildcards.condition} {OPTIONS} --log {log}"
