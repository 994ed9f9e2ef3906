# Raw data in the official folder layout, and published weights.


rule acquire:
    input:
        lambda w: PLAN.built(w.dataset),
    output:
        PATHS.acquired("{dataset}"),
    log:
        PATHS.log("acquire", "{dataset}"),
    conda:
        "../../environment.yml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=720,
    params:
        options=OPTIONS,
        code=digest.stage("acquire"),
        settings=lambda w: PLAN.acquire_settings(w.dataset),
        sources=lambda w: PLAN.acquire_options(w.dataset),
    message:
        "acquire {wildcards.dataset}"
    shell:
        "avsbench acquire --dataset {wildcards.dataset} {params.sources:q} {params.options} "
        "--threads {threads} --log {log}"


# `snakemake -- verified` checks every clip of the data sets; what is wrong with them is no failure but the result.
rule verify_data:
    input:
        PATHS.acquired("{dataset}"),
    output:
        report(
            PATHS.verified("{dataset}", "txt"),
            caption="../report/verified.rst",
            category="Data",
            labels={"data set": "{dataset}"},
        ),
        PATHS.verified("{dataset}", "parquet"),
    log:
        PATHS.log("verify", "{dataset}"),
    conda:
        "../../environment.yml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        options=OPTIONS,
        code=digest.stage("verify"),
    message:
        "check every clip of {wildcards.dataset}"
    shell:
        "avsbench verify-data --dataset {wildcards.dataset} --jobs {threads} {params.options} --log {log} "
        "|| [ $? -eq 1 ]"


rule verified:
    input:
        [PATHS.verified(dataset, "txt") for dataset in PLAN.datasets],


for DATASET in cards.dataset_cards():

    rule:
        name:
            f"manifests_{DATASET}"
        input:
            PATHS.acquired(DATASET),
        output:
            PLAN.manifests(DATASET),
        log:
            PATHS.log("manifests", DATASET),
        localrule: True
        conda:
            "../../environment.yml"
        params:
            options=OPTIONS,
            code=digest.stage("manifests"),
            dataset=DATASET,
        message:
            "share out the clips of {params.dataset}"
        shell:
            "avsbench manifests --dataset {params.dataset} {params.options} --log {log}"


rule fetch_weights:
    output:
        PATHS.weights("{file}"),
    log:
        PATHS.log("weights", "{file}"),
    wildcard_constraints:
        file="|".join(re.escape(card.file) for card in cards.encoder_cards().values()),
    retries: 2
    localrule: True  # nodes of a cluster often see no internet
    conda:
        "../../environment.yml"
    params:
        # Not OPTIONS: another scale or image size must not remove what was downloaded, and fetch it again.
        options=f"--weights-root {PATHS.weights_root}",
    message:
        "fetch {wildcards.file}"
    shell:
        "avsbench fetch-weights {wildcards.file} {params.options} --log {log}"
