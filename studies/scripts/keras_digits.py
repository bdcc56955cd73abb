"""An ordinary Keras script: a small network on scikit-learn's handwritten digits. What `hpo` needs are
its parameters and a callback, which reports every epoch, saves checkpoints and goes on from them.

    pip install keras torch scikit-learn ./python
    KERAS_BACKEND=torch hpo run studies/keras.yaml
"""

import hpo
import hpo.keras
import keras
from sklearn.datasets import load_digits

params = hpo.params(optimizer="adam", lr=1e-3, units=64, batch_size=32)

keras.utils.set_random_seed(hpo.seed())
images, labels = load_digits(return_X_y=True)
images = (images / 16).astype("float32")

model = keras.Sequential(
    [keras.Input((64,)), keras.layers.Dense(params.units, activation="relu"), keras.layers.Dense(10)]
)
optimizers = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}
model.compile(
    optimizer=optimizers[params.optimizer](learning_rate=params.lr),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(
    images,
    labels,
    validation_split=0.25,
    epochs=hpo.horizon(9),
    batch_size=params.batch_size,
    verbose=0,
    callbacks=[hpo.keras.HpoCallback()],
)
