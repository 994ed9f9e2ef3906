# VPO-style sets from COCO and VGGSound; only for a configuration that runs on one (its `acquire` waits for them).


rule vpo_mini_sources:
    output:
        directory(PATHS.vpo_sources()),
    log:
        PATHS.log("vpo_mini_sources"),
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        options=OPTIONS,
        code=digest.stage("vpo_sources"),
    message:
        "render pictures and sounds to build from"
    shell:
        "avsbench vpo-mini-sources {params.options} --threads {threads} --log {log}"


rule vpo_candidates:
    input:
        PLAN.rendered_sources,
    output:
        PATHS.vpo_candidates(),
    log:
        PATHS.log("vpo_candidates"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        options=OPTIONS,
        code=digest.stage("vpo_candidates"),
        sources=PLAN.vpo_sources("coco", "masks", "min_area", "max_area"),
    message:
        "find annotations of COCO that may sound"
    shell:
        "avsbench vpo-candidates --sources {params.sources:q} {params.options} --log {log}"


rule vpo_audio_pool:
    input:
        PLAN.rendered_sources,
    output:
        PATHS.vpo_audio_pool(),
        PATHS.vpo_dropped_audio(),
    log:
        PATHS.log("vpo_audio_pool"),
    conda:
        "../../environment.yml"
    threads: 4
    resources:
        mem_mb=3000,
        runtime=240,
    params:
        options=OPTIONS,
        code=digest.stage("vpo_audio_pool"),
        sources=PLAN.vpo_sources("vggsound"),
    message:
        "listen to the clips of VGGSound"
    shell:
        "avsbench vpo-audio-pool --sources {params.sources:q} {params.options} --threads {threads} --log {log}"


for BUILT in PLAN.built_sets:

    rule:
        name:
            BUILT.removesuffix("_rebuilt")
        input:
            PATHS.vpo_candidates(),
            PATHS.vpo_audio_pool(),
            PLAN.extended_set(BUILT),
        output:
            PATHS.vpo_manifest(BUILT),
        log:
            PATHS.log("vpo_build", BUILT),
        conda:
            "../../environment.yml"
        threads: 4
        resources:
            mem_mb=4000,
            runtime=120,
        params:
            options=OPTIONS,
            code=digest.stage("vpo_build"),
            sources=PLAN.vpo_sources(),
            dataset=BUILT,
        message:
            "build {params.dataset}"
        shell:
            "avsbench vpo-build --dataset {params.dataset} --sources {params.sources:q} "
            "{params.options} --threads {threads} --log {log}"
