"""Preprocessing inside the model: relevance of categories, tokens and texts, against models that start behind it."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lrp
from tf_lrp import rules

pytestmark = pytest.mark.eager

WORDS = ["cat", "dog", "emu"]
STRINGS = np.array([["cat", "dog", "cat"], ["dog", "", "yak"], ["emu", "emu", "emu"]], object)
CODES = np.array([[1, 2, 1], [2, 0, 4], [3, 3, 3]])


def dense_head(units, seed=0):
    rng = np.random.default_rng(seed)
    hidden, scores = keras.layers.Dense(5, activation="relu"), keras.layers.Dense(2)
    for layer, shape in ((hidden, (units, 5)), (scores, (5, 2))):
        layer.build((None, shape[0]))
        layer.set_weights([rng.normal(size=shape), rng.normal(size=shape[1])])
    return lambda x: scores(hidden(x))


def vectors_relevance(head, vectors, preset):
    """Relevance of what the layer returns, by a model that takes that as its input."""
    inputs = keras.Input(vectors.shape[1:])
    return tf_lrp.Analyzer(keras.Model(inputs, head(inputs)), preset).analyze(vectors, 1)


def explained(layer, x, head, preset, flat=False):
    inputs = keras.Input(x.shape[1:], dtype="string" if x.dtype == object else x.dtype.name)
    made = layer(inputs)
    model = keras.Model(inputs, head(keras.layers.Flatten()(made) if flat else made))
    return tf_lrp.Analyzer(model, preset).analyze(x, 1, layers=[layer.name])


def members_shared(relevance, categories):
    """By hand: R of a category is shared by the entries in it, R of those that do not occur by all entries."""
    shared = np.zeros(categories.shape)
    for n, row in enumerate(categories):
        for k in range(relevance.shape[1]):
            members = [i for i, category in enumerate(row) if category == k]
            for i in members or range(len(row)):
                shared[n, i] += relevance[n, k] / len(members or row)
    return shared


MEMBERS = {
    "encoding": (lambda mode: keras.layers.CategoryEncoding(5, mode), CODES, CODES),
    "integers": (
        lambda mode: keras.layers.IntegerLookup(vocabulary=[1, 2, 3], output_mode=mode),
        CODES,
        np.where(CODES == 4, 0, CODES),
    ),
    "strings": (
        lambda mode: keras.layers.StringLookup(vocabulary=WORDS, output_mode=mode),
        STRINGS,
        np.array([[1, 2, 1], [2, 0, 0], [3, 3, 3]]),
    ),
    "masked": (
        lambda mode: keras.layers.StringLookup(vocabulary=WORDS, mask_token="", output_mode=mode),
        STRINGS,
        np.array([[1, 2, 1], [2, -1, 0], [3, 3, 3]]),
    ),
    "bins": (
        lambda mode: keras.layers.Discretization([0.5, 2.5], output_mode=mode),
        CODES.astype("float32"),
        np.digitize(CODES, [0.5, 2.5]),
    ),
    "texts": (
        lambda mode: keras.layers.TextVectorization(vocabulary=WORDS, split=None, output_mode=mode),
        STRINGS,
        np.array([[1, 2, 1], [2, -1, 0], [3, 3, 3]]),
    ),
}


@pytest.mark.parametrize(("mode", "preset"), [("multi_hot", rules.Flat()), ("count", rules.Epsilon(1e-6))], ids=str)
@pytest.mark.parametrize("case", MEMBERS)
def test_entries_share_what_their_category_received(case, mode, preset):
    make, x, categories = MEMBERS[case]
    layer = make(mode)
    vectors = np.asarray(layer(tf.constant(x)), "float32")
    head = dense_head(vectors.shape[1])
    expected = vectors_relevance(head, vectors, preset)
    maps = explained(layer, x, head, preset)
    np.testing.assert_allclose(maps[layer.name], expected, atol=1e-6)
    assert maps["input"].shape == x.shape
    np.testing.assert_allclose(maps["input"], members_shared(expected, categories), atol=2e-6)


ONE_HOT = {
    "encoding": (keras.layers.CategoryEncoding(5, "one_hot"), CODES),
    "integers": (keras.layers.IntegerLookup(vocabulary=[1, 2, 3], output_mode="one_hot"), CODES),
    "one integer": (keras.layers.IntegerLookup(vocabulary=[1, 2, 3], output_mode="one_hot"), CODES[:, :1]),
    "strings": (keras.layers.StringLookup(vocabulary=WORDS, output_mode="one_hot"), STRINGS),
    "one string": (keras.layers.StringLookup(vocabulary=WORDS, output_mode="one_hot"), STRINGS[:, 0]),
    "hashes": (keras.layers.Hashing(7, output_mode="one_hot", salt=5), STRINGS[:, :1]),
    "bins": (keras.layers.Discretization([0.5, 2.5], output_mode="one_hot"), CODES.astype("float32")),
}


@pytest.mark.parametrize("case", ONE_HOT)
def test_one_hot_vectors_are_summed(case):
    layer, x = ONE_HOT[case]
    preset = rules.AlphaBeta(2, 1) if "one" in case else rules.Flat()
    vectors = np.asarray(layer(tf.constant(x)), "float32")
    head = dense_head(vectors[0].size)
    expected = vectors_relevance(head, vectors.reshape(len(x), -1), preset)
    maps = explained(layer, x, head, preset, flat=True)
    np.testing.assert_allclose(maps[layer.name].reshape(len(x), -1), expected, atol=1e-6)
    np.testing.assert_allclose(maps["input"], expected.reshape(*x.shape, -1).sum(-1), atol=1e-6)


def embedded(codes, preset):
    """(head with an embedding, relevance of each code by a model that takes the embedded vectors)."""
    table = keras.layers.Embedding(9, 3, name="table")
    table.build()
    table.set_weights([np.random.default_rng(3).normal(size=(9, 3))])
    vectors = np.asarray(table(codes))
    head = dense_head(vectors[0].size)
    relevance = vectors_relevance(head, vectors.reshape(len(codes), -1), preset)
    return lambda made: head(keras.layers.Flatten()(table(made))), relevance.reshape(vectors.shape).sum(-1)


INT = {
    "integers": (keras.layers.IntegerLookup(vocabulary=[1, 2, 3]), CODES),
    "large integers": (keras.layers.IntegerLookup(vocabulary=[2**40 + 1, 2**40 + 2, 2**40 + 3]), CODES + 2**40),
    "strings": (keras.layers.StringLookup(vocabulary=WORDS, mask_token=""), STRINGS),
    "hashes": (keras.layers.Hashing(8), STRINGS),
    "hashed large integers": (keras.layers.Hashing(8), CODES + 2**40),
    "bins": (keras.layers.Discretization([0.5, 2.5]), CODES.astype("float32")),
}


@pytest.mark.parametrize("case", INT)
def test_codes_that_are_embedded(case):
    layer, x = INT[case]
    codes = np.asarray(layer(tf.constant(x)))
    head, expected = embedded(codes, "epsilon")
    maps = explained(layer, x, head, "epsilon")
    np.testing.assert_allclose(maps[layer.name], expected, atol=1e-6)
    np.testing.assert_allclose(maps["input"], expected, atol=1e-6)


def test_a_layer_called_by_keyword():
    words = keras.Input((3,), dtype="string")
    layer = keras.layers.StringLookup(vocabulary=WORDS, output_mode="count")
    head = dense_head(4)
    found = [
        tf_lrp.Analyzer(keras.Model(words, head(vectors)), "epsilon").analyze(STRINGS, 1)
        for vectors in (layer(words), layer(inputs=words))
    ]
    np.testing.assert_array_equal(*found)


TEXTS = np.array([["Cat, dog! cat"], ["a dog"], ["emu"]], object)


@pytest.mark.compiled
@pytest.mark.parametrize("shape", [(1,), ()], ids=["(N, 1)", "(N,)"])
@pytest.mark.parametrize("length", [4, None])
def test_texts_that_are_embedded(shape, length):
    layer = keras.layers.TextVectorization(vocabulary=WORDS, output_sequence_length=length)
    x = TEXTS.reshape(-1, *shape)
    codes = np.asarray(layer(tf.constant(x)))
    table, scores = keras.layers.Embedding(9, 3, mask_zero=True), keras.layers.Dense(2)
    tokens = keras.Input((None,), dtype="int64")
    vectors = table(tokens)
    by_tokens = keras.Model(tokens, scores(keras.layers.GlobalAveragePooling1D()(vectors)))
    expected = tf_lrp.Analyzer(by_tokens, "epsilon").analyze(codes, 1)
    maps = explained(layer, x, by_tokens, "epsilon")
    np.testing.assert_allclose(maps[layer.name], expected, atol=1e-7)
    np.testing.assert_allclose(maps["input"].ravel(), expected.sum(1), atol=1e-7)
    assert not expected[1, 2:].any()  # padding is masked


@pytest.mark.parametrize("options", [{"output_mode": "multi_hot"}, {"output_mode": "count", "ngrams": 2},
                                     {"output_mode": "tf_idf", "idf_weights": [0.5, 1.0, 2.0]}], ids=str)  # fmt: skip
def test_texts_as_vectors(options):
    layer = keras.layers.TextVectorization(vocabulary=WORDS, **options)
    vectors = np.asarray(layer(tf.constant(TEXTS)), "float32")
    head = dense_head(vectors.shape[1])
    expected = vectors_relevance(head, vectors, "epsilon")
    inputs = keras.Input((1,), dtype="string")
    scores = head(keras.ops.reshape(layer(inputs), (-1, vectors.shape[1])))  # Keras says (N, 1, words) for (N, words)
    analyzer = tf_lrp.Analyzer(keras.Model(inputs, scores), "epsilon")
    maps = analyzer.analyze(TEXTS, 1, layers=[layer.name])
    np.testing.assert_allclose(maps[layer.name], expected, atol=1e-6)
    np.testing.assert_allclose(maps["input"][:, 0], expected.sum(1), atol=2e-6)


@pytest.mark.compiled
def test_shapes_that_keras_does_not_tell():
    words = keras.Input((3,), dtype="string")
    model = keras.Model(words, keras.layers.Dense(2)(keras.layers.Hashing(7, output_mode="one_hot")(words)))
    analyzer = tf_lrp.Analyzer(model, "epsilon")
    assert analyzer.twin.output.shape == (None, 3, 2) and np.shape(model(tf.constant(STRINGS))) == (3, 3, 2)
    assert analyzer.analyze(STRINGS, "all").shape == (3, 3)


def test_a_sparse_vector_is_explained_as_a_dense_one():
    head = dense_head(4)
    maps = [
        explained(
            keras.layers.StringLookup(vocabulary=WORDS, output_mode="multi_hot", sparse=s, name="w"), STRINGS, head, "epsilon"
        )
        for s in (False, True)
    ]
    np.testing.assert_array_equal(maps[0]["input"], maps[1]["input"])


def test_a_pair_shares_evenly():
    pair = [keras.Input((1,), dtype="string", name="a"), keras.Input((1,), dtype="int64", name="b")]
    crossing = keras.layers.HashedCrossing(7, output_mode="one_hot", name="crossing")
    head = dense_head(7)
    x = [STRINGS[:, :1], CODES[:, :1] + 2**40]
    expected = vectors_relevance(head, np.asarray(crossing([tf.constant(v) for v in x])), "epsilon").sum(1, keepdims=True)
    relevance = tf_lrp.Analyzer(keras.Model(pair, head(crossing(pair))), "epsilon").analyze(x, 1)
    np.testing.assert_allclose(relevance[0], expected / 2, atol=1e-6)
    np.testing.assert_allclose(relevance[1], expected / 2, atol=1e-6)


@pytest.mark.parametrize("preset", [rules.Epsilon(1e-6), rules.Flat()], ids=["epsilon", "flat"])
def test_weights_of_counts_take_all(preset):
    weights = np.random.default_rng(0).uniform(1, 2, CODES.shape).astype("float32")
    inputs = keras.Input((3,), dtype="int32", name="categories"), keras.Input((3,), name="weights")
    head = dense_head(5)
    vectors = np.zeros((3, 5), "float32")
    for n, i in np.ndindex(*CODES.shape):
        vectors[n, CODES[n, i]] += weights[n, i]
    received = vectors_relevance(head, vectors, preset)
    model = keras.Model(inputs, head(keras.layers.CategoryEncoding(5, "count")(inputs[0], count_weights=inputs[1])))
    of_categories, of_weights = tf_lrp.Analyzer(model, preset).analyze([CODES, weights], 1)
    expected = np.repeat(np.where(vectors == 0, received, 0).sum(1, keepdims=True) / 3, 3, 1)
    for n, i in np.ndindex(*CODES.shape):
        expected[n, i] += weights[n, i] / vectors[n, CODES[n, i]] * received[n, CODES[n, i]]
    np.testing.assert_allclose(of_weights, expected, atol=2e-6)
    assert not of_categories.any()


def test_strings_are_moved_around():
    words = keras.Input((3,), dtype="string")
    codes = np.asarray(keras.layers.StringLookup(vocabulary=WORDS)(tf.constant(STRINGS)))
    head_of, expected = embedded(codes[:, 1::-1], "epsilon")
    swapped = keras.Model(
        words, head_of(keras.layers.StringLookup(vocabulary=WORDS)(keras.layers.Reshape((3,))(keras.ops.flip(words, 1))[:, 1:]))
    )
    relevance = tf_lrp.Analyzer(swapped, "epsilon").analyze(STRINGS, 1)
    np.testing.assert_allclose(relevance, np.c_[expected[:, ::-1], np.zeros(3)], atol=1e-6)


def test_an_input_that_is_a_category_and_a_number():
    inputs = keras.Input((1,), dtype="int64")
    lookup = keras.layers.IntegerLookup(vocabulary=[1, 2, 3], output_mode="one_hot")
    head = dense_head(5)
    model = keras.Model(inputs, head(keras.layers.Concatenate()([lookup(inputs), keras.layers.Rescaling(0.5)(inputs)])))
    vectors = np.c_[np.asarray(lookup(CODES[:, :1])), 0.5 * CODES[:, :1]].astype("float32")
    expected = vectors_relevance(head, vectors, "epsilon").sum(1, keepdims=True)
    np.testing.assert_allclose(tf_lrp.Analyzer(model, "epsilon").analyze(CODES[:, :1], 1), expected, atol=1e-6)


# ---- a model of text and numbers, everywhere ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    text, numbers = keras.Input((1,), dtype="string", name="text"), keras.Input((2,), name="numbers")
    tokens = keras.layers.TextVectorization(vocabulary=WORDS, output_sequence_length=4, name="tokens")(text)
    hidden = keras.layers.Concatenate()([keras.layers.Flatten()(keras.layers.Embedding(5, 3, name="vectors")(tokens)), numbers])
    scores = keras.layers.Dense(3, name="scores")(keras.layers.Dense(8, activation="relu")(hidden))
    return keras.Model({"text": text, "numbers": numbers}, scores)


@pytest.fixture(scope="module")
def x():
    return {"text": TEXTS, "numbers": np.random.default_rng(0).normal(size=(3, 2)).astype("float32")}


@pytest.fixture(scope="module")
def analyzer(model):
    return tf_lrp.Analyzer(model, "epsilon")


def test_inner_layers_targets_and_books(analyzer, model, x):
    maps = analyzer.analyze(x, layers=["tokens", "vectors"])
    np.testing.assert_allclose(maps["tokens"], maps["vectors"].sum(-1), atol=1e-6)
    np.testing.assert_allclose(maps["input"]["text"][:, 0], maps["tokens"].sum(-1), atol=1e-6)
    books = analyzer.conservation(x)
    total = sum(float(r.sum()) for r in maps["input"].values())
    assert abs(books.rounding) < 1e-5 and abs(books.input - total) < 1e-5
    assert abs(books.output - books.input - books.bias - books.stabilizer) < 1e-5
    two = analyzer.analyze(x, np.array([[0, 1], [1, 2], [2, 0]]))
    one = analyzer.analyze(x, np.array([1, 2, 0]))
    assert two["text"].shape == (3, 2, 1)
    for name in x:
        np.testing.assert_allclose(two[name][:, 1], one[name], atol=1e-6)
    np.testing.assert_allclose(np.asarray(analyzer.twin(x)), np.asarray(model(x)), atol=1e-6)
    assert not any("entries" in row[0] for row in analyzer.rules())


@pytest.mark.compiled
def test_pipelines_and_layers(analyzer, x):
    expected = analyzer.analyze(x)
    batches = list(tf.data.Dataset.from_tensor_slices(x).batch(2).map(analyzer))
    found = np.concatenate([b["text"] for b in batches])
    np.testing.assert_allclose(found, expected["text"], atol=1e-6)
    inputs = {"text": keras.Input((1,), dtype="string", name="text"), "numbers": keras.Input((2,), name="numbers")}
    as_layer = keras.Model(inputs, analyzer(inputs))({k: tf.constant(v) for k, v in x.items()})
    np.testing.assert_allclose(as_layer["text"], expected["text"], atol=1e-6)


@pytest.mark.compiled
def test_a_saved_model_looks_strings_up(analyzer, x, tmp_path):
    expected = analyzer.analyze(x, layers=["tokens"])
    analyzer.export(tmp_path / "saved", layers=["tokens"])
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    tensors = {k: tf.constant(v) for k, v in x.items()}
    found = loaded.signatures["serving_default"](**tensors)
    np.testing.assert_allclose(found["relevance_text"], expected["input"]["text"], atol=1e-6)
    np.testing.assert_allclose(found["tokens"], expected["tokens"], atol=1e-6)
    chosen = np.array([0, 1, 2], "int32")
    found = loaded.signatures["select"](**tensors, neuron_selection=tf.constant(chosen))
    np.testing.assert_allclose(found["relevance_text"], analyzer.analyze(x, chosen)["text"], atol=1e-6)


def test_formats_of_numbers_refuse_strings(analyzer, tmp_path):
    with pytest.raises(ValueError, match="'tokens' looks up strings or integers"):
        analyzer.export(tmp_path / "x.onnx", "onnx")


def test_compilation_is_refused(model):
    with pytest.raises(ValueError, match="XLA does not compile 'tokens'"):
        tf_lrp.Analyzer(model, "epsilon", jit_compile=True)


def test_wrong_strings(analyzer, x):
    with pytest.raises(TypeError, match="'text' needs strings, got an array of type float64"):
        analyzer.analyze({**x, "text": np.ones((3, 1))})
    with pytest.raises(TypeError, match="'text' needs strings, got NoneType None"):
        analyzer.analyze({**x, "text": np.array([["a"], [None], ["b"]], object)})
    with pytest.raises(TypeError, match=r"'numbers' needs numbers.*dtype='string'"):
        analyzer.analyze({**x, "numbers": [["a", "b"]] * 3})
    np.testing.assert_array_equal(analyzer.analyze({**x, "text": TEXTS.tolist()})["text"], analyzer.analyze(x)["text"])


def test_methods_say_what_has_no_derivative(model, x):
    with pytest.warns(tf_lrp.methods.MethodWarning, match="'tokens' looks up the input 'text', and that has no derivative"):
        gradient = tf_lrp.methods.Gradient(model)
    maps = gradient.analyze(x, layers=["vectors"])
    assert not maps["input"]["text"].any() and maps["input"]["numbers"].any() and maps["vectors"].any()
    for method in (tf_lrp.methods.Occlusion, tf_lrp.methods.IntegratedGradients):
        with pytest.raises(ValueError, match="'text' holds strings or integers that are looked up"):
            method(model, check=False)


def test_derivatives_of_integer_pictures():
    pictures = keras.Input((4, 4, 3), dtype="uint8")
    scores = keras.layers.Dense(2)
    values = np.random.default_rng(0).integers(0, 255, (2, 4, 4, 3)).astype("uint8")
    for scaled in (keras.layers.Rescaling(1 / 255)(pictures), keras.ops.cast(pictures, "float32") / 255):
        model = keras.Model(pictures, scores(keras.layers.Flatten()(scaled)))
        expected = np.asarray(scores.kernel)[:, 1].reshape(4, 4, 3) / 255
        found = tf_lrp.methods.Gradient(model).analyze(values, 1)
        np.testing.assert_allclose(found, np.stack([expected] * 2), rtol=1e-5)


# ---- what is refused -----------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("tests")
class Lower(keras.layers.Layer):
    def call(self, words):
        return tf.strings.lower(words)

    def compute_output_spec(self, words):
        return keras.KerasTensor(words.shape, "string")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda w: keras.layers.StringLookup(vocabulary=WORDS, output_mode="multi_hot")(Lower()(w)),
            "'lower'.*changes strings",
        ),
        (
            lambda w: keras.layers.Flatten()(keras.layers.Embedding(5, 3)(keras.layers.StringLookup()(w))),
            "has no vocabulary yet",
        ),
        (
            lambda w: keras.layers.TextVectorization(vocabulary=WORDS, split=None, ngrams=2, output_mode="count")(w),
            "n-grams join several",
        ),
        (
            lambda w: keras.layers.GlobalMaxPooling1D()(
                keras.layers.Embedding(5, 3)(keras.layers.TextVectorization(vocabulary=WORDS, ragged=True)(w[:, 0]))
            ),
            "ragged=False",
        ),
        (
            lambda w: keras.layers.Flatten()(
                keras.layers.StringLookup(vocabulary=WORDS, output_mode="count")(keras.layers.Reshape((3, 1))(w))
            ),
            "another axis",
        ),
    ],
    ids=["changed", "vocabulary", "n-grams", "ragged", "axes"],
)
def test_refusals_say_why(make, message):
    words = keras.Input((3,), dtype="string")
    model = keras.Model(words, keras.layers.Dense(2)(make(words)))
    with pytest.raises(tf_lrp.UnsupportedLayerError, match=message):
        tf_lrp.Analyzer(model, "epsilon")


def test_a_class_name_among_the_outputs():
    inputs = keras.Input((4,))
    scores = keras.layers.Dense(3, name="scores")(inputs)
    name = keras.layers.StringLookup(vocabulary=WORDS, invert=True, name="name")(keras.ops.argmax(scores, -1) + 1)
    analyzer = tf_lrp.Analyzer(keras.Model(inputs, [scores, name]), "epsilon")
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    assert analyzer.analyze(x, output="scores").any()
    with pytest.raises(ValueError, match="'name' is of type string, which has no relevance: explain the scores"):
        analyzer.analyze(x, output="name")


def tokens_model(make):
    ids = keras.Input((6,), dtype="int32", name="ids")
    return keras.Model(ids, keras.layers.Dense(2)(keras.layers.Flatten()(make(ids))))


@pytest.mark.parametrize(("value", "shown"), [(20, "20"), (-1, "-1"), (3.7, "3.7")])
@pytest.mark.parametrize("explain", [lambda m, x: tf_lrp.Analyzer(m, "epsilon").analyze(x),
                                     lambda m, x: tf_lrp.Analyzer(m, "epsilon").conservation(x),
                                     lambda m, x: tf_lrp.methods.Gradient(m, check=False).analyze(x)],
                         ids=["analyze", "conservation", "method"])  # fmt: skip
def test_tokens_that_do_not_exist(explain, value, shown):
    ids = np.array([[0, 19, 3, 4, 5, 6], [1, 2, 3, 4, value, 6]])
    message = rf"'ids' passes {shown} to 'table' at \(1, 4\), which accepts integers from 0 to 19"
    with pytest.raises(ValueError, match=message):
        explain(tokens_model(keras.layers.Embedding(20, 3, name="table")), ids)


def test_each_column_has_tokens_of_its_own():
    small, large = keras.layers.Embedding(4, 3, name="small"), keras.layers.Embedding(100, 3, name="large")
    analyzer = tf_lrp.Analyzer(tokens_model(lambda i: keras.layers.Concatenate()([small(i[:, 0]), large(i[:, 5])])), "epsilon")
    assert analyzer.analyze(np.array([[3, 999, 999, 999, 999, 99]])).any()
    with pytest.raises(ValueError, match=r"passes 100 to 'large' at \(1,\), which accepts integers from 0 to 99"):
        analyzer.analyze(np.array([[3, 0, 0, 0, 0, 99], [0, 0, 0, 0, 0, 100]]))


def test_words_without_a_code():
    words = keras.Input((3,), dtype="string", name="words")
    vectors = keras.layers.StringLookup(vocabulary=WORDS, num_oov_indices=0, mask_token="", output_mode="count", name="lookup")(
        words
    )
    analyzer = tf_lrp.Analyzer(keras.Model(words, keras.layers.Dense(2)(vectors)), "epsilon")
    assert analyzer.analyze(np.array([["cat", "", "dog"]])).any()
    with pytest.raises(
        ValueError, match=r"'words' passes 'yak' to 'lookup' at \(1, 2\), which accepts values in its vocabulary"
    ):
        analyzer.analyze(STRINGS[:2])
    codes = keras.layers.StringLookup(vocabulary=WORDS)(words)
    too_few = tf_lrp.Analyzer(
        keras.Model(words, keras.layers.Dense(2)(keras.layers.Flatten()(keras.layers.Embedding(3, 2, name="few")(codes)))),
        "epsilon",
    )
    with pytest.raises(ValueError, match=r"passes 3 to 'few' at \(2, 0\) \(3 such values in all\)"):
        too_few.analyze(STRINGS)


# ---- nothing to explain --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "name"), [
    (lambda x: keras.ops.cast(keras.ops.argmax(x, -1), "float32"), r"'argmax\w*' \(Argmax\)"),
    (lambda x: keras.layers.Flatten()(keras.ops.cast(x > 0, "float32")), r"'greater\w*' \(Greater\)"),
    (lambda x: keras.layers.Flatten()(keras.ops.ones_like(x)), r"'ones_like\w*' \(OnesLike\)"),
], ids=["argmax", "comparison", "ones"])  # fmt: skip
def test_maps_that_are_zero_everywhere_are_announced_once(make, name, recwarn):
    inputs = keras.Input((4, 6))
    analyzer = tf_lrp.Analyzer(keras.Model(inputs, keras.layers.Dense(3)(make(inputs))), "epsilon")
    x = np.random.default_rng(0).normal(size=(2, 4, 6)).astype("float32")
    for selection in (None, 1, "all"):
        assert not analyzer.analyze(x, selection).any()
    (warning,) = [w for w in recwarn if "No relevance" in str(w.message)]
    assert re.search(f"every path passes through {name}", str(warning.message))


def test_no_warning_where_relevance_arrives_or_was_stopped(recwarn):
    inputs = keras.Input((4,))
    scores = keras.layers.Dense(3, name="scores")(inputs)
    model = keras.Model(inputs, [scores, keras.ops.cast(keras.ops.argmax(scores, -1), "float32")])
    x = np.ones((1, 4), "float32")
    tf_lrp.Analyzer(model, "epsilon").analyze(x, output=0)
    stopped = tf_lrp.Preset([(tf_lrp.select.name("scores"), rules.Stop()), (tf_lrp.select.all(), rules.Epsilon(1e-6))])
    tf_lrp.Analyzer(model, stopped).analyze(x, output=0)
    assert not [w for w in recwarn if "No relevance" in str(w.message)]


# ---- a whole feature space -----------------------------------------------------------------------------------------


@pytest.mark.compiled
def test_a_feature_space():
    space = keras.utils.FeatureSpace
    features = space(
        features={
            "age": space.float_normalized(),
            "sex": space.string_categorical(num_oov_indices=0),
            "district": space.integer_categorical(),
            "income": space.float_discretized(num_bins=3),
            "street": space.string_hashed(num_bins=5),
        },
        crosses=[space.cross(("sex", "district"), crossing_dim=8)],
        output_mode="concat",
    )
    rng = np.random.default_rng(0)
    data = {
        "age": rng.uniform(20, 60, (12, 1)).astype("float32"),
        "sex": rng.choice(["f", "m"], (12, 1)),
        "district": rng.integers(1, 4, (12, 1)),
        "income": rng.normal(size=(12, 1)).astype("float32"),
        "street": rng.choice(["u", "v", "w"], (12, 1)),
    }
    features.adapt(tf.data.Dataset.from_tensor_slices(data).batch(4))
    encoded = features.get_encoded_features()
    head = dense_head(encoded.shape[-1])
    relevance = tf_lrp.Analyzer(keras.Model(features.get_inputs(), head(encoded)), "epsilon").analyze(data, 1)
    vectors = np.asarray(features(data))
    parts, start = {}, 0
    of_vectors = vectors_relevance(head, vectors, "epsilon")
    # Features in the order of their names, and the crossing at the end.
    for name, width in (("age", 1), ("district", 4), ("income", 3), ("sex", 2), ("street", 5), ("crossing", 8)):
        parts[name] = of_vectors[:, start : start + width].sum(1, keepdims=True)
        start += width
    assert start == vectors.shape[1]
    parts["sex"], parts["district"] = parts["sex"] + parts["crossing"] / 2, parts["district"] + parts["crossing"] / 2
    for name in data:
        np.testing.assert_allclose(relevance[name], parts[name], atol=2e-6, err_msg=name)
