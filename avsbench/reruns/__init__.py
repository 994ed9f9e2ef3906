"""What Snakemake would run again, because of what, and how to keep weights all the same."""
