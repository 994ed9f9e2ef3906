# Frames of a shard, and where its card asks for it their sound -> what a generator derives of them, where a selected card
# wants that. Generator, options and weights stand in the name of the folder, so another choice computes anew and leaves
# what is there. The arrays of `temporary` features go when nothing that was asked for needs them any more.
for NAME, FEATURES, GOES in PLAN.feature_rules:

    rule:
        name:
            NAME
        input:
            lambda w: PLAN.feature_inputs(
                w.stored, w.dataset, w.split, w.shard, w.shards
            ),
        output:
            arrays=(temp if GOES else str)(
                PATHS.features(
                    "{dataset}", "{stored}", "{split}", "{shard}", "{shards}"
                )
            ),
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
            stored=rf"({FEATURES})-[a-z0-9_]+-[0-9a-f]{{8}}",
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            gpu=lambda w: PLAN.feature_gpus(w.stored),
            mem_mb=lambda w: (
                16000 if PLAN.feature_setting(w.stored).gpu(PLAN.scale) else 2000
            ),
            runtime=lambda w: (
                720 if PLAN.feature_setting(w.stored).gpu(PLAN.scale) else 120
            ),
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
