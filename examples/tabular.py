"""Explain rows of a table: which columns made a network call a customer risky. Only two of the six columns matter.

The network holds its own `Normalization`, so it is given years and money as they are, and relevance is that of the columns.
"""

import keras
import numpy as np
from keras import layers

import tf_lrp

COLUMNS = ("age", "income", "debt", "children", "distance", "late payments")


def table(n, seed):
    """Rows (n, 6) and labels: debt and late payments raise the odds of being risky, the other columns say nothing."""
    rng = np.random.default_rng(seed)
    x = rng.normal([45, 3000, 10000, 1.5, 20, 6], [12, 800, 4000, 1, 8, 2], (n, 6)).astype("float32")
    log_odds = 2 * (x[:, 2] - 10000) / 4000 + 2 * (x[:, 5] - 6) / 2
    return x, (rng.logistic(0, 1, n) < log_odds).astype("int32")


keras.utils.set_random_seed(1)
x, labels = table(10000, seed=0)
normalization = layers.Normalization()
normalization.adapt(x)
model = keras.Sequential(
    [
        keras.Input((len(COLUMNS),)),
        normalization,
        layers.Dense(16, activation="relu"),
        layers.Dense(16, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(keras.optimizers.Adam(0.003), "binary_crossentropy", metrics=["accuracy"])
model.fit(x, labels, epochs=3, batch_size=64, verbose=0)
x, labels = table(1000, seed=1)
print(f"accuracy on new rows: {model.evaluate(x, labels, verbose=0)[1]:.0%}, as labels are partly chance\n")

# The sigmoid is left out: relevance is in units of the score before it, positive for "risky", negative for "not risky".
analyzer = tf_lrp.Analyzer(model, preset="epsilon")
relevance = analyzer.analyze(x)  # (1000, 6)
score = analyzer.twin.predict(x, verbose=0)[:, 0]
share = np.abs(relevance).sum(axis=0) / np.abs(relevance).sum()

risky, safe = score.argmax(), score.argmin()
print(f"{'column':15}{'share of |R|':>13}{'the riskiest':>24}{'the safest':>24}")
for j, name in enumerate(COLUMNS):
    cells = [f"{x[i, j]:.0f} -> R = {relevance[i, j]:+.2f}" for i in (risky, safe)]
    print(f"{name:15}{share[j]:>13.0%}{cells[0]:>24}{cells[1]:>24}")
books = [analyzer.conservation(x[[i]]) for i in (risky, safe)]
print(f"{'kept by biases':28}" + "".join(f"{book.bias:>+24.2f}" for book in books))
print(f"{'score':28}" + "".join(f"{book.output:>+24.2f}" for book in books))
print(f"\ndebt and late payments together: {share[2] + share[5]:.0%} of the relevance")
