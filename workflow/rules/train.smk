# One rule a variant, so that `-R train_tpavi_r50` reruns that one alone. The test split is not among the inputs.
# A variant that keeps several epochs on some data sets alone has a second one: a rule's outputs are the same for all.
# Resume state is no output (Snakemake deletes the outputs of a failed job): it lies in an undeclared folder of the run.


rule pretrain_mini:
    input:
        lambda w: house.pretrain_inputs(PLAN, w.encoder),
    output:
        PATHS.stand_in("{encoder}"),
    log:
        PATHS.log("pretrain", "{encoder}"),
    benchmark:
        PATHS.benchmark("pretrain", "{encoder}")
    wildcard_constraints:
        encoder="|".join(cards.encoder_cards()),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1500,
        runtime=15,
    params:
        options=OPTIONS,
        code=digest.stage("pretrain"),
        settings=PLAN.image_size,
    message:
        "train the stand-in for {wildcards.encoder}"
    shell:
        "avsbench pretrain-mini --encoder {wildcards.encoder} {params.options} --log {log}"


for NAME, VARIANT, SETS, KEEPS in PLAN.train_rules:

    rule:
        name:
            NAME
        input:
            data=lambda w, v=VARIANT: PLAN.data(w.dataset, v, ("train", "val")),
            complete=[
                ancient(PATHS.complete("{dataset}", split))
                for split in ("val", "test")
            ],
            encoders=lambda w, v=VARIANT: PLAN.encoder_files(w.dataset, v),
            start=lambda w, v=VARIANT: PLAN.initial_run(w.dataset, v),
            negatives=lambda w, v=VARIANT: PLAN.negatives(w.dataset, v),
        output:
            **(
                {"top": directory(PATHS.weights_top("{dataset}", VARIANT, "{seed}"))}
                if KEEPS
                else {}
            ),
            weights=PATHS.run_weights("{dataset}", VARIANT, "{seed}"),
            run=PATHS.run_json("{dataset}", VARIANT, "{seed}"),
            curves=report(
                PATHS.curves("{dataset}", VARIANT, "{seed}"),
                caption="../report/curves.rst",
                category="Training",
                subcategory="{dataset}",
                labels={"variant": VARIANT, "seed": "{seed}"},
            ),
        log:
            PATHS.log("train", "{dataset}", VARIANT, "{seed}"),
        benchmark:
            PATHS.benchmark("train", "{dataset}", VARIANT, "{seed}")
        wildcard_constraints:
            seed=r"\d+",
            dataset="|".join(SETS),
        # A training that was cut off continues. What fails by itself fails again within minutes: it continues as well.
        # On a cluster the process that submits counts, not the one within the job.
        retries: config.get("retries", 2) if workflow.is_main_process else 0
        conda:
            "../../environment.yml"
        threads: cards.variant(VARIANT).resources(PLAN.scale)["threads"]
        resources:
            gpu=cards.variant(VARIANT).resources(PLAN.scale)["gpu"],
            mem_mb=cards.variant(VARIANT).resources(PLAN.scale)["mem_mb"],
            runtime=cards.variant(VARIANT).resources(PLAN.scale)["runtime"],
        params:
            options=OPTIONS,
            variant=VARIANT,
            code=lambda w, v=VARIANT: PLAN.train_code(w.dataset, v),
            settings=lambda w, v=VARIANT: PLAN.run_settings(w.dataset, v),
            recipe=lambda w, v=VARIANT: PLAN.recipe_json(w.dataset, v),
            arrays=lambda w, v=VARIANT: PLAN.arrays_option(w.dataset, v),
            features=lambda w, v=VARIANT: PLAN.features_option(v),
        message:
            "train {params.variant} on {wildcards.dataset}, seed {wildcards.seed}"
        shell:
            "avsbench train --dataset {wildcards.dataset} --variant {params.variant} --seed {wildcards.seed} "
            "--recipe {params.recipe:q} --code {params.code} --gpus {resources.gpu} "
            "{params.arrays}{params.features:q} {params.options} --log {log}"


rule official:
    input:
        checkpoint=lambda w: PLAN.official_file(w.variant, w.dataset),
        encoders=lambda w: PLAN.encoder_files(w.dataset, w.variant),
    output:
        weights=PATHS.run_weights("{dataset}", "{variant}", "official"),
        run=PATHS.run_json("{dataset}", "{variant}", "official"),
    log:
        PATHS.log("train", "{dataset}", "{variant}", "official"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=of_card("mem_mb"),
        runtime=30,
    params:
        options=OPTIONS,
        code=lambda w: digest.stage("official", cards.variant(w.variant).method.name),
        settings=lambda w: PLAN.run_settings(w.dataset, w.variant),
        features=lambda w: PLAN.features_option(w.variant),
    message:
        "take the authors' checkpoint of {wildcards.variant} on {wildcards.dataset}"
    shell:
        "avsbench official --dataset {wildcards.dataset} --variant {wildcards.variant} "
        "{params.features:q} {params.options} --log {log}"


rule describe:
    output:
        PATHS.run_json("{dataset}", "{variant}", plan.UNTRAINED),
    log:
        PATHS.log("train", "{dataset}", "{variant}", plan.UNTRAINED),
    wildcard_constraints:
        variant="|".join(PLAN.untrained_variants),
    conda:
        "../../environment.yml"
    params:
        options=OPTIONS,
        code=lambda w: digest.stage("predict", cards.variant(w.variant).method.name),
        settings=lambda w: PLAN.run_settings(w.dataset, w.variant),
        features=lambda w: PLAN.features_option(w.variant),
    message:
        "describe {wildcards.variant} on {wildcards.dataset}, which needs no training"
    shell:
        "avsbench describe --dataset {wildcards.dataset} --variant {wildcards.variant} "
        "{params.features:q} {params.options} --log {log}"
