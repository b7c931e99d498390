"""``python -m bench.batch_job``: a long batch job, killed and resumed."""
