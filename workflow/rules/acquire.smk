# Raw data in the official folder layout, and published weights.


rule acquire:
    output:
        PATHS.acquired("{dataset}"),
    params:
        code=digest.stage("acquire"),
        settings=lambda w: PLAN.acquire_settings(w.dataset),
        root=lambda w: f"--root {PLAN.root(w.dataset)}" if PLAN.root(w.dataset) else "",
    threads: 4
    log:
        PATHS.log("acquire", "{dataset}"),
    conda:
        "../../environment.yml"
    message:
        "acquire {wildcards.dataset}"
    shell:
        "avsbench acquire --dataset {wildcards.dataset} {params.root} {OPTIONS} --threads {threads} --log {log}"


for DATASET in cards.dataset_cards():

    rule:
        name:
            f"manifests_{DATASET}"
        input:
            PATHS.acquired(DATASET),
        output:
            PLAN.manifests(DATASET),
        params:
            code=digest.stage("manifests"),
            dataset=DATASET,
        log:
            PATHS.log("manifests", DATASET),
        conda:
            "../../environment.yml"
        message:
            "share out the clips of {params.dataset}"
        shell:
            "avsbench manifests --dataset {params.dataset} {OPTIONS} --log {log}"


rule fetch_weights:
    output:
        PATHS.weights("{file}"),
    wildcard_constraints:
        file=r"[^/]+\.(pth|pt|safetensors)",
    retries: 2
    log:
        PATHS.log("weights", "{file}"),
    conda:
        "../../environment.yml"
    message:
        "fetch {wildcards.file}"
    shell:
        "avsbench fetch-weights {wildcards.file} {OPTIONS} --log {log}"
