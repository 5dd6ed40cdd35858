"""What a model is trained on: data sets, samplers and transforms."""
