"""An ordinary PyTorch script: a small network on scikit-learn's handwritten digits. What `hpo` needs
are the two lines with `hpo.` in them; without `hpo` the script runs just the same. The last two are only there so
that `hpo set 7 lr=1e-4` changes the rate of a trial that runs.

    pip install torch scikit-learn ./python
    hpo run studies/torch.yaml          or          python studies/scripts/torch_digits.py
"""

import hpo
import torch
from sklearn.datasets import load_digits

params = hpo.params(optimizer="adam", lr=1e-3, momentum=0.9, batch_size=32, dropout=0.1, epochs=27)

torch.manual_seed(hpo.seed())
torch.set_num_threads(1)
images, labels = load_digits(return_X_y=True)
images, labels = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
train, validation = order[:1400], order[1400:]

model = torch.nn.Sequential(
    torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Dropout(params.dropout), torch.nn.Linear(64, 10)
)
if params.optimizer == "sgd":
    optimizer = torch.optim.SGD(model.parameters(), lr=params.lr, momentum=params.momentum)
else:
    optimizer = torch.optim.Adam(model.parameters(), lr=params.lr)

for epoch in range(1, params.epochs + 1):
    model.train()
    for batch in train[torch.randperm(len(train))].split(params.batch_size):
        loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        output = model(images[validation])
    val_loss = torch.nn.functional.cross_entropy(output, labels[validation])
    val_accuracy = (output.argmax(1) == labels[validation]).float().mean()
    lr = optimizer.param_groups[0]["lr"]
    changed = hpo.report(epoch, val_loss=val_loss, val_accuracy=val_accuracy, train_loss=loss, lr=lr)
    for group in optimizer.param_groups:
        group["lr"] = changed.get("lr", group["lr"])
