# Sound of a shard -> front ends (log-mel and others), one file each.


rule audio:
    input:
        PATHS.shard("{dataset}", "{split}", "{shard}", "{shards}"),
    output:
        PATHS.audio("{dataset}", "{front_end}", "{split}", "{shard}", "{shards}"),
    log:
        PATHS.log("audio", "{front_end}", "{dataset}", "{split}.{shard}of{shards}"),
    benchmark:
        PATHS.benchmark(
            "audio", "{front_end}", "{dataset}", "{split}.{shard}of{shards}"
        )
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1500,
        runtime=60,
    params:
        options=OPTIONS,
        code=digest.stage("audio"),
        settings=lambda w: PLAN.audio_settings(w.dataset),
    message:
        "{wildcards.front_end} of {wildcards.dataset} {wildcards.split}, shard {wildcards.shard} of {wildcards.shards}"
    shell:
        "avsbench audio --dataset {wildcards.dataset} --split {wildcards.split} --shard {wildcards.shard} "
        "--front-end {wildcards.front_end} {params.options} --log {log}"
