"""Explain sentences and categories: a network that takes text and words as they are, with the lookup inside.

A review is a text, with the shop's name and the price beside it. What decides is one word of the text ("good", "bad",
turned around by "not" before it) and whether the shop is "corner"; price and all other words say nothing.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tf_lrp

SHOPS, FILLING = ["corner", "market", "online"], ["the", "box", "came", "and", "was", "so", "today"]


def reviews(n, seed):
    """A dict of texts (n, 1), shops (n, 1) and prices (n, 1), and whether each is a praise."""
    rng = np.random.default_rng(seed)
    negated, word, shop = rng.random(n) < 0.4, rng.choice(["good", "bad"], n), rng.choice(SHOPS, n)
    texts = []
    for turned, judging in zip(negated, word, strict=True):
        words = list(rng.choice(FILLING, 5))
        place = rng.integers(0, 6)
        texts.append(" ".join([*words[:place], *["not"] * int(turned), judging, *words[place:]]))
    odds = 3 * np.where((word == "good") != negated, 1, -1) + 1.5 * (shop == "corner")
    inputs = {"text": np.array(texts)[:, None], "shop": shop[:, None], "price": rng.uniform(1, 9, (n, 1)).astype("float32")}
    return inputs, (rng.logistic(0, 1, n) < odds).astype("int32")


keras.utils.set_random_seed(1)
x, labels = reviews(6000, seed=0)
text, shop = keras.Input((1,), dtype="string", name="text"), keras.Input((1,), dtype="string", name="shop")
price = keras.Input((1,), name="price")
tokens = layers.TextVectorization(output_sequence_length=8, name="tokens")
tokens.adapt(x["text"])
words = layers.Embedding(tokens.vocabulary_size(), 8)(tokens(text))
read = layers.GlobalMaxPooling1D()(layers.Conv1D(24, 2, activation="relu", padding="same")(words))
features = [read, layers.StringLookup(vocabulary=SHOPS, output_mode="one_hot")(shop), layers.Rescaling(1 / 9)(price)]
score = layers.Dense(1, activation="sigmoid")(layers.Dense(16, activation="relu")(layers.Concatenate()(features)))
model = keras.Model({"text": text, "shop": shop, "price": price}, score)
model.compile(keras.optimizers.Adam(0.003), "binary_crossentropy", metrics=["accuracy"])
as_tensors = {name: tf.constant(values) for name, values in x.items()}
model.fit(as_tensors, labels, epochs=4, batch_size=64, verbose=0)

x, labels = reviews(500, seed=1)
as_tensors = {name: tf.constant(values) for name, values in x.items()}
print(f"accuracy on new reviews: {model.evaluate(as_tensors, labels, verbose=0)[1]:.0%}, as labels are partly chance\n")

analyzer = tf_lrp.Analyzer(model, "epsilon", verbose=False)
maps = analyzer.analyze(x, layers=["tokens"])
for n in range(3):
    sentence = x["text"][n, 0].split()
    by_word = "  ".join(f"{word} {r:+.2f}" for word, r in zip(sentence, maps["tokens"][n], strict=False))
    print(by_word, *(f"| {name} {maps['input'][name][n, 0]:+.2f}" for name in ("shop", "price")))

# How much of all relevance lies where it has to, without its sign.
judging = np.array([[word in ("good", "bad", "not") for word in [*s[0].split(), "", ""][:8]] for s in x["text"]])
on_words = np.abs(maps["tokens"])
of_input = {name: np.abs(r).sum() for name, r in maps["input"].items()}
on_judging = on_words[judging].sum() / on_words.sum()
print(f"\nof the words' relevance on the judging ones: {on_judging:.0%}; they are {judging.mean():.0%}")
print(f"relevance of the price: {of_input['price'] / sum(of_input.values()):.0%} of all")
