# Frames of a shard -> what a mask generator derives of them, where a selected card asks for it. Generator, options and
# weights stand in the name of the folder, so another choice computes anew and leaves what is there.


rule features:
    input:
        lambda w: PLAN.feature_inputs(w.stored, w.dataset, w.split, w.shard, w.shards),
    output:
        arrays=PATHS.features("{dataset}", "{stored}", "{split}", "{shard}", "{shards}"),
        report=PATHS.feature_report(
            "{dataset}", "{stored}", "{split}", "{shard}", "{shards}"
        ),
    log:
        PATHS.log("features", "{dataset}", "{stored}", "{split}.{shard}of{shards}"),
    benchmark:
        PATHS.benchmark(
            "features", "{dataset}", "{stored}", "{split}.{shard}of{shards}"
        )
    wildcard_constraints:
        stored=r"[a-z]+-[a-z0-9_]+-[0-9a-f]{8}",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=lambda w: PLAN.feature_gpus(w.stored),
        mem_mb=lambda w: 16000 if PLAN.feature_setting(w.stored).weights else 2000,
        runtime=lambda w: 720 if PLAN.feature_setting(w.stored).weights else 120,
    params:
        options=OPTIONS,
        code=lambda w: PLAN.feature_code(w.stored),
        settings=lambda w: PLAN.feature_option(w.stored),
        data=lambda w: PLAN.data_settings(w.dataset),
    message:
        "{wildcards.stored} of {wildcards.dataset} {wildcards.split}, shard {wildcards.shard} of {wildcards.shards}"
    shell:
        "avsbench features --dataset {wildcards.dataset} --split {wildcards.split} --shard {wildcards.shard} "
        "{params.settings:q} {params.options} --log {log}"
