# Official layout -> shards of frames, masks and sound, and an index a split.


rule extract:
    input:
        PATHS.manifest("{dataset}", "{split}", "{shard}", "{shards}"),
    output:
        shard=PATHS.shard("{dataset}", "{split}", "{shard}", "{shards}"),
        faults=PATHS.faults("{dataset}", "{split}", "{shard}", "{shards}"),
    log:
        PATHS.log("extract", "{dataset}", "{split}.{shard}of{shards}"),
    benchmark:
        PATHS.benchmark("extract", "{dataset}", "{split}.{shard}of{shards}")
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        options=OPTIONS,
        code=digest.stage("extract"),
        settings=lambda w: PLAN.data_settings(w.dataset),
    message:
        "extract {wildcards.dataset} {wildcards.split}, shard {wildcards.shard} of {wildcards.shards}"
    shell:
        "avsbench extract --dataset {wildcards.dataset} --split {wildcards.split} --shard {wildcards.shard} "
        "{params.options} --log {log}"


rule native:
    input:
        PATHS.manifest("{dataset}", "{split}", "{shard}", "{shards}"),
    output:
        PATHS.native("{dataset}", "{split}", "{shard}", "{shards}"),
    log:
        PATHS.log("native", "{dataset}", "{split}.{shard}of{shards}"),
    benchmark:
        PATHS.benchmark("native", "{dataset}", "{split}.{shard}of{shards}")
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        options=OPTIONS,
        code=digest.stage("native"),
    message:
        "original pictures of {wildcards.dataset} {wildcards.split}, shard {wildcards.shard} of {wildcards.shards}"
    shell:
        "avsbench native --dataset {wildcards.dataset} --split {wildcards.split} --shard {wildcards.shard} "
        "{params.options} --log {log}"


rule index:
    input:
        shards=lambda w: PLAN.shards(w.dataset, w.split),
        faults=lambda w: PLAN.faults(w.dataset, w.split),
    output:
        PATHS.index("{dataset}", "{split}"),
    log:
        PATHS.log("index", "{dataset}", "{split}"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        options=OPTIONS,
        code=digest.stage("index"),
    message:
        "index {wildcards.dataset} {wildcards.split}"
    shell:
        "avsbench index --dataset {wildcards.dataset} --split {wildcards.split} {params.options} --log {log}"


# Whoever waits for this file takes it as `ancient`: a mended clip of test, or another mind about allow_incomplete, must
# not train anew.
rule check_split:
    input:
        index=PATHS.index("{dataset}", "{split}"),
        faults=lambda w: PLAN.faults(w.dataset, w.split),
    output:
        PATHS.complete("{dataset}", "{split}"),
    log:
        PATHS.log("check_split", "{dataset}", "{split}"),
    conda:
        "../../environment.yml"
    params:
        options=OPTIONS,
        code=digest.stage("check_split"),
        settings=lambda w: PLAN.count_settings(w.dataset, w.split),
        incomplete="--allow-incomplete" if PLAN.config.get("allow_incomplete") else "",
    message:
        "is {wildcards.dataset} {wildcards.split} complete?"
    shell:
        "avsbench check-split --dataset {wildcards.dataset} --split {wildcards.split} {params.incomplete} "
        "{params.options} --log {log}"
