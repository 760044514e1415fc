"""`joint_cnn_lstm` from raw inputs: an LSTM on words, a CNN on pictures, another on mel patches, trained end to end.

Run by `make bench-quality`. The protocol, all of it:

- 600 generated samples: a drawn picture, a sound and a sentence, each carrying the mood in part, as in `make evidence`;
  60 % train, 20 % dev, 20 % test, by sample; the tokenizer is fitted to the training split's sentences;
- the packaged recipe as it is, nothing chosen here: 10 epochs of 32, no early stopping, so dev plays no part;
- the gain over the majority of the training split on the test split, with its 95 % interval by paired bootstrap over
  samples, of the five seeds averaged; and the accuracy of each seed.
"""

from __future__ import annotations

import time

import numpy as np

from features.fusion.bootstrap import paired_bootstrap
from features.fusion.prediction import predict_outputs
from features.fusion.training import train
from features.synthetic.experiment import draw_examples

NUM_SAMPLES = 600
TARGET = 0.15


def main() -> None:
    """Print the gain over the majority."""
    begin = time.monotonic()
    recipe, examples = draw_examples(NUM_SAMPLES, recipe="joint_cnn_lstm")
    trained = train(recipe, examples)
    test, task = examples.of_split("test"), recipe.task.name
    positive = test.task.values == 1
    models = trained.models()
    said = [predict_outputs([model], test.inputs, test.place, trained.priors)[task][:, 1] > 0.5 for model in models]
    averaged = predict_outputs(models, test.inputs, test.place, trained.priors)[task][:, 1] > 0.5
    majority = np.full(len(positive), trained.priors[task][1] > 0.5)
    fused, most = (answers == positive for answers in (averaged, majority))
    low, high = paired_bootstrap(fused, most, test.groups)
    gain = fused.mean() - most.mean()
    print(
        f"joint_cnn_lstm, {len(positive)} held-out generated samples of {NUM_SAMPLES}, {time.monotonic() - begin:.0f} s"
    )
    print(f"  accuracy {fused.mean():.3f}, majority {most.mean():.3f}")
    print(f"  gain {gain:+.3f}, 95 % {low:+.3f} to {high:+.3f}  (target: at least +{TARGET}, the interval above 0)")
    of_seeds = zip(trained.members, said, strict=True)
    told = ", ".join(f"{member.seed}: {(answers == positive).mean():.3f}" for member, answers in of_seeds)
    print(f"  seeds alone  {told}")


if __name__ == "__main__":
    main()
