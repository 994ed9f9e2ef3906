# Stored predictions -> pages that show a run clip by clip. Nobody needs them for a leaderboard, so they are made on demand:
# `snakemake --cores 2 explorer` for every run that has scores, or the page of a single one.


rule explorer:
    input:
        lambda w: house.explorers(PLAN),


# What the pages of a data set share; the media beside `clips.js` come with it.
rule explorer_media:
    input:
        index=PATHS.index("{dataset}", "test"),
        shards=lambda w: PLAN.shards(w.dataset, "test"),
    output:
        PATHS.explorer("{dataset}"),
    log:
        PATHS.log("explorer", "{dataset}"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        options=OPTIONS,
        code=digest.stage("explorer_media"),
    message:
        "write pictures and sounds of {wildcards.dataset} for its explorers"
    shell:
        "avsbench explore --dataset {wildcards.dataset} {params.options} --log {log}"


rule explore:
    input:
        shared=PATHS.explorer("{dataset}"),
        predictions=PATHS.predictions("{dataset}", "{variant}", "{seed}"),
        scores=PATHS.frame_scores("{dataset}", "{variant}", "{seed}"),
        negatives=lambda w: house.stored_negatives(PLAN, w.dataset, w.variant, w.seed),
    output:
        PATHS.explorer_page("{dataset}", "{variant}", "{seed}"),
    log:
        PATHS.log("explorer", "{dataset}", "{variant}", "{seed}"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        options=OPTIONS,
        code=digest.stage("explorer"),
        folder=subpath(output[0], ancestor=2),
    message:
        "show {wildcards.variant} on {wildcards.dataset}, seed {wildcards.seed}, clip by clip"
    shell:
        "avsbench explore {params.folder} {params.options} --log {log}"


use rule explore as explore_ensemble with:
    input:
        shared=PATHS.explorer("{dataset}"),
        predictions=PATHS.predictions("{dataset}", "{variant}", "{seed}", ensemble=True),
        scores=PATHS.frame_scores("{dataset}", "{variant}", "{seed}", ensemble=True),
        negatives=lambda w: house.stored_negatives(
            PLAN, w.dataset, w.variant, w.seed, True
        ),
    output:
        PATHS.explorer_page("{dataset}", "{variant}", "{seed}", True),
    log:
        PATHS.log("explorer", "{dataset}", "{variant}", "{seed}.ensemble"),
    message:
        "show the ensemble of {wildcards.variant} on {wildcards.dataset}, seed {wildcards.seed}, clip by clip"


use rule explore as explore_external with:
    input:
        shared=PATHS.explorer("{dataset}"),
        predictions=PATHS.predictions("{dataset}", EXTERNAL, "{submission}"),
        scores=PATHS.frame_scores("{dataset}", EXTERNAL, "{submission}"),
    output:
        PATHS.explorer_page("{dataset}", EXTERNAL, "{submission}"),
    log:
        PATHS.log("explorer", "{dataset}", EXTERNAL, "{submission}"),
    message:
        "show {wildcards.submission}, submitted to {wildcards.dataset}, clip by clip"
