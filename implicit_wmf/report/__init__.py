"""What a person looks at: plots, and the report of a model as one file."""
