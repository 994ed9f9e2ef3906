# Sound of a shard -> front ends (log-mel and others), one file each. A job computes a whole group in one pass over the
# sound. Groups are kept (avsbench.plan), so a method with another front end adds a rule and reruns none.
for DATASET, GROUPS in PLAN.front_end_groups.items():
    for NUMBER, GROUP in enumerate(GROUPS, 1):

        rule:
            name:
                f"audio_{DATASET}_{NUMBER}"
            input:
                PATHS.shard(DATASET, "{split}", "{shard}", "{shards}"),
            output:
                [
                    PATHS.audio(DATASET, front_end, "{split}", "{shard}", "{shards}")
                    for front_end in GROUP
                ],
            log:
                PATHS.log("audio", DATASET, NUMBER, "{split}.{shard}of{shards}"),
            benchmark:
                PATHS.benchmark("audio", DATASET, NUMBER, "{split}.{shard}of{shards}")
            conda:
                "../../environment.yml"
            threads: 2
            resources:
                mem_mb=1500,
                runtime=60,
            params:
                options=OPTIONS,
                code=PLAN.audio_code(GROUP),
                settings=PLAN.audio_settings(DATASET),
                dataset=DATASET,
                front_ends=" ".join(f"--front-end {front_end}" for front_end in GROUP),
            message:
                "front ends of {params.dataset} {wildcards.split}, shard {wildcards.shard} of {wildcards.shards}"
            shell:
                "avsbench audio --dataset {params.dataset} --split {wildcards.split} --shard {wildcards.shard} "
                "{params.front_ends} --threads {threads} {params.options} --log {log}"
